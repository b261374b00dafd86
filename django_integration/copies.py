"""Copies and pickles of backends: a message keeps its backend, and queues pickle messages."""

from __future__ import annotations

from typing import Any, Self

from django_integration.compat import mailer_options
from django_integration.configuration import Configuration, InvalidConfiguration, configuration
from django_integration.settings import ATTRIBUTES, hide
from mailbackends import Secret

__all__ = ["Copyable"]


class Copyable:
    """The part of `EmailBackend` that makes copies. A copy is closed, and shares the pool."""

    alias: str | None
    connection: Any
    _given: dict[str, Any]
    _per_call: frozenset[str]
    _configuration: Configuration | InvalidConfiguration
    _configured: tuple[Any, ...] = ()
    """The values of the attributes as the configuration has them."""

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self), connection=None)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # What is shared is never changed, and a TLS context cannot be copied.
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle, without what the settings contain.

        So no password of the settings is stored with a message. A password that was given
        for this backend is part of the state.
        """
        state = vars(self) | {"connection": None}
        del state["_configuration"]
        for name, value in zip(ATTRIBUTES, state.pop("_configured", ()), strict=False):
            if state.get(name) is value:
                del state[name]
        from_settings = mailer_options(self.alias)
        state["_given"] = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in self._given.items()
            if value is not None and (name in self._per_call or name not in from_settings)
        }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._given = hide(mailer_options(self.alias) | self._given)
        self._configuration = configuration(self._given, alias=self.alias, per_call=self._per_call)
        attributes = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in self._configuration.attributes.items()
        }
        vars(self).update({**attributes, **state, "_given": self._given})
        self._configured = tuple(map(attributes.get, ATTRIBUTES))
