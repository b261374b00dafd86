"""What one backend was told, worked out once for all backends that are told the same.

Django makes a backend for each message. The settings are read each time, so that a change
holds at once; what follows from them is kept, under all that it follows from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Literal

from django_integration import options
from django_integration.cache_key import Told
from django_integration.registry import Route
from django_integration.staging import Staging
from mailbackends import Options

__all__ = ["Configuration", "configuration"]


@dataclass(frozen=True, eq=False)
class Configuration:
    """Shared by many backends, which change nothing of it."""

    alias: str | None
    attributes: Mapping[str, Any] = field(repr=False)
    """Those of Django's own backend, by their names."""
    further: Mapping[str, Any] = field(repr=False)
    """The other options of the `Mailer`."""
    staging: Staging
    on_partial_refusal: str
    strategy: Literal["ordered", "round_robin"]
    fallbacks: options.Fallbacks | None

    @classmethod
    def of(cls, said: dict[str, Any], alias: str | None) -> Configuration:
        """From what `options.gather` found. Raises: as that."""
        return cls(
            alias=alias,
            attributes=MappingProxyType({name: said.get(name) for name in options.ATTRIBUTES}),
            further=MappingProxyType(
                {
                    name: value
                    for name, value in said.items()
                    if name in Options.known() and name not in options.ATTRIBUTES
                }
            ),
            staging=Staging.from_options(said, alias),
            on_partial_refusal=options.partial_refusal(said, alias),
            strategy=options.strategy(said, alias),
            fallbacks=said.get("fallbacks"),
        )

    @cached_property
    def values(self) -> tuple[Any, ...]:
        """The values of ``attributes``, for a look at whether a backend still has them."""
        return tuple(self.attributes.values())

    @cached_property
    def route(self) -> Route:
        """The route of a backend whose attributes are as they were given.

        Raises:
            SettingsError, InvalidMailer: with this, no mail can be sent.
        """
        said = {**self.further, **self.attributes}
        return self.route_by(options.make_options(said, alias=self.alias), said)

    def route_by(self, first: Options, said: Mapping[str, Any]) -> Route:
        """The route over this first server and the fallbacks. Raises: as `route`."""
        further: tuple[Options, ...] = ()
        if self.fallbacks is not None:
            further = self.fallbacks.options(said, alias=self.alias)
        return Route((first, *further), self.strategy)


def configuration(
    given: Mapping[str, Any], *, alias: str | None, per_call: frozenset[str] = frozenset()
) -> Configuration:
    """The configuration for these arguments, and for the settings as they are at this moment.

    Raises: as `options.gather`.
    """
    read = options.read_settings() if alias is None else None
    settings = None if read is None else (Told.of(read.email), Told.of(read.mailbackends))
    told = Told.of(given)
    try:
        return _remembered(alias, per_call, told, settings)
    except TypeError:  # something that cannot be a key
        return _made(alias, per_call, told, settings)


def _made(
    alias: str | None, per_call: frozenset[str], given: Told, settings: tuple[Told, Told] | None
) -> Configuration:
    read = None if settings is None else options.Read(*(told.said() for told in settings))
    said = options.gather(given.said(), alias=alias, per_call=per_call, settings=read)
    return Configuration.of(said, alias)


_remembered = lru_cache(maxsize=64)(_made)
