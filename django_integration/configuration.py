"""The configuration of one backend, computed once for all backends with equal options.

Django makes a backend for each message. The settings are read each time, so that a change
takes effect at once; what follows from them is cached, with all of them as the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType, NoneType
from typing import Any, Literal

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_integration.compat import (
    LAZY,
    configuration_error,
    resolve_lazy,
)
from django_integration.registry import MailerKey
from django_integration.rendering import Rendering, rendering_from
from django_integration.settings import (
    ATTRIBUTES,
    SERVER_OPTIONS,
    CurrentSettings,
    collect_options,
    has_secret_in_clear,
    options_from_url,
    read_settings,
    with_defaults,
)
from django_integration.staging import Staging, staging_from
from django_integration.suppression.lists import list_of
from mailbackends import ConfigurationError, Options, Secret
from mailbackends.integration import Wording

__all__ = ["CacheKey", "Configuration", "InvalidConfiguration", "configuration", "make_options"]


# The types of nearly all options, which are neither lazy nor lists.
_PLAIN = frozenset({str, int, float, bool, NoneType, tuple, Secret})


class CacheKey(tuple[Any, ...]):
    """Given options as a key: their names, values and types, since ``1 == True``.

    Lazy values are evaluated, since they may change with the language or the thread.

    A key with an unhashable value is unhashable too, except for lists.
    """

    __slots__ = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> CacheKey:
        """The key for these options, in this order."""
        values: Iterable[Any] = given.values()
        types = tuple(map(type, values))
        if not _PLAIN.issuperset(types):
            evaluated = [
                resolve_lazy(value) if issubclass(type(value), LAZY) else value for value in values
            ]
            types = tuple(map(type, evaluated))
            values = [tuple(value) if type(value) is list else value for value in evaluated]
        return cls((tuple(given), tuple(values), types))

    def given(self) -> dict[str, Any]:
        """The options that this key was made from."""
        return {
            name: list(value) if kind is list else value
            for name, value, kind in zip(*self, strict=True)
        }

    def __repr__(self) -> str:
        return f"<CacheKey {', '.join(self[0])}>"


@dataclass(frozen=True, eq=False)
class Configuration:
    """What the options of a backend mean. Shared by many backends and never changed."""

    alias: str | None
    attributes: Mapping[str, Any] = field(repr=False)
    """The attributes of Django's own backend, by name; the password is a `Secret`."""
    other_options: Mapping[str, Any] = field(repr=False)
    """The other options of the `Mailer`."""
    staging: Staging
    rendering: Rendering
    on_partial_refusal: str
    on_suppressed: str
    strategy: Literal["ordered", "round_robin"]
    fallback_urls: tuple[Any, ...]
    """Further servers, for mail that the first one does not accept for now."""
    fallbacks_share_login: bool
    """The login was given beside the URLs and not in the first one: it is for all servers."""
    wording: Wording = field(repr=False)

    @classmethod
    def of(cls, options: dict[str, Any], wording: Wording, alias: str | None) -> Configuration:
        """From the result of `collect_options`. Raises: as that."""
        return cls(
            alias=alias,
            attributes=MappingProxyType({name: options.get(name) for name in ATTRIBUTES}),
            other_options=MappingProxyType(
                {
                    name: value
                    for name, value in options.items()
                    if name in Options.known() and name not in ATTRIBUTES
                }
            ),
            staging=staging_from(options, alias),
            rendering=rendering_from(options, alias),
            on_partial_refusal=_one_of("on_partial_refusal", ("log", "raise"), options, alias),
            on_suppressed=_one_of("on_suppressed", ("log", "raise"), options, alias),
            strategy=_one_of("strategy", ("ordered", "round_robin"), options, alias),
            fallback_urls=options.get("fallback_urls", ()),
            fallbacks_share_login=options.get("fallbacks_share_login", False),
            wording=wording,
        )

    @cached_property
    def of_backend(self) -> Mapping[str, Any]:
        """What each backend has as its attributes, except for `secrets`."""
        own = ("staging", "rendering", "on_partial_refusal", "on_suppressed")
        secrets = dict(self.secrets)
        return {
            **{name: value for name, value in self.attributes.items() if name not in secrets},
            **{name: getattr(self, name) for name in own},
        }

    @cached_property
    def secrets(self) -> tuple[tuple[str, Secret], ...]:
        """The attributes of a backend that contain a secret as text."""
        return tuple(
            (name, value) for name, value in self.attributes.items() if isinstance(value, Secret)
        )

    @cached_property
    def mailer_key(self) -> MailerKey:
        """The key of the Mailer for a backend whose attributes were not changed.

        Raises:
            SettingsError, InvalidMailer: mail cannot be sent with these options.
        """
        options = {**self.other_options, **self.attributes}
        return self.mailer_key_for(make_options(options, self.wording, self.alias), options)

    def mailer_key_for(self, first: Options, options: Mapping[str, Any]) -> MailerKey:
        """The key for this first server, and the fallbacks with ``options`` as theirs.

        Raises: as `mailer_key`.
        """
        fallbacks = self._fallbacks(options) if self.fallback_urls else ()
        return MailerKey((first, *fallbacks), self.strategy)

    def _fallbacks(self, options: Mapping[str, Any]) -> tuple[Options, ...]:
        """Each fallback has its URL's options, and the first server's unless they are its own."""
        own = {*SERVER_OPTIONS, "protocol", "socket_path"}
        if self.fallbacks_share_login:
            own -= {"username", "password"}
        shared = {name: value for name, value in options.items() if name not in own}
        without_tls = {name: shared[name] for name in shared if name not in _TLS}
        found: list[Options] = []
        for url in self.fallback_urls:
            server = options_from_url(url, self.alias)
            uses_tls = server["use_tls"] or server["use_ssl"]
            whole = (shared if uses_tls else without_tls) | server
            whole = with_defaults(whole, self.alias)
            found.append(make_options(whole, self.wording, self.alias))
        return tuple(found)


class InvalidConfiguration:
    """In place of a `Configuration`: raises the error of its options whenever it is used."""

    def __init__(self, error: ImproperlyConfigured) -> None:
        self._error = error.with_traceback(None)

    @classmethod
    def instead_of(cls, error: ImproperlyConfigured, alias: str | None) -> InvalidConfiguration:
        """Postpone the error of a backend that Django makes, or raise it where that is safe.

        Django has the OPTIONS in a variable then, and error pages would show a password in it.
        """
        if alias is None or not has_secret_in_clear(alias):
            raise error
        return cls(error)

    def __getattr__(self, name: str) -> Any:
        raise self._error.with_traceback(None)


_TLS = ("ssl_context", "ssl_cafile", "ssl_certfile", "ssl_keyfile")


def _one_of(name: str, choices: tuple[str, ...], options: dict[str, Any], alias: str | None) -> Any:
    """The value of an option; the first of ``choices`` is its default."""
    value = options.get(name) or choices[0]
    if value not in choices:
        raise configuration_error(
            f"{name!r} must be {' or '.join(map(repr, choices))}, got {value!r}.", alias
        )
    return value


def configuration(
    given: Mapping[str, Any], *, alias: str | None, per_call: frozenset[str] = frozenset()
) -> Configuration:
    """The configuration for these arguments and the current settings.

    Raises: as `collect_options`.
    """
    current = read_settings() if alias is None else None
    settings = None if current is None else tuple(map(CacheKey.of, current))
    key = CacheKey.of(given)
    try:
        return _cached(alias, per_call, key, settings)
    except TypeError:  # an unhashable value
        return _made(alias, per_call, key, settings)


def _made(
    alias: str | None,
    per_call: frozenset[str],
    given: CacheKey,
    settings: tuple[CacheKey, ...] | None,
) -> Configuration:
    current = None if settings is None else CurrentSettings(*(key.given() for key in settings))
    options, wording = collect_options(
        given.given(), alias=alias, per_call=per_call, current=current
    )
    return Configuration.of(options, wording, alias)


_cached = lru_cache(maxsize=64)(_made)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "INSTALLED_APPS":  # with or without the suppression list
        _cached.cache_clear()


setting_changed.connect(_forget, dispatch_uid="mailbackends_configuration")


def make_options(options: Mapping[str, Any], wording: Wording, alias: str | None) -> Options:
    """The `Options` from the result of `collect_options`, or from a backend's attributes.

    Raises: as `collect_options`.
    """
    known = Options.known()
    values = {
        name: value
        for name, value in options.items()
        if name in known and not (name in ATTRIBUTES and _is_empty(value))
    }
    if options.get("use_ssl"):
        values["security"] = "tls"
    elif options.get("use_tls"):
        values["security"] = "starttls"
    else:  # Django uses them with TLS only; `manage.py check` warns
        values.pop("ssl_certfile", None)
        values.pop("ssl_keyfile", None)
    # Django logs in only with both a user name and a password.
    means = ("password", "token_provider", "oauth", "auth_mechanisms")
    if "username" not in values or not any(values.get(name) for name in means):
        values.pop("username", None)
        values.pop("password", None)
    try:
        values["suppression"] = list_of(values.get("suppression"))
        key = CacheKey.of({**values, "wording": wording})
        try:
            return _cached_options(key)
        except TypeError:  # an unhashable value
            return _made_options(key)
    except ConfigurationError as error:
        raise configuration_error(str(error), alias) from error


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, Secret) and not value)


def _made_options(key: CacheKey) -> Options:
    return Options.from_mapping(key.given())


# A subclass may set attributes on each backend.
_cached_options = lru_cache(maxsize=64)(_made_options)
