"""From Django's settings to the options of a `Mailer`.

Everything is brought to the names of Django's own backend (``host``, ``use_tls``, ...)
and, beside these, the names of `mailbackends.Options`. Settings that contradict each
other are refused; what is given for one call goes before the settings.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from django.conf import settings

from django_integration.cache_key import Told
from django_integration.compat import (
    configuration_error,
    is_said,
    mailers_configured,
    settings_now,
)
from mailbackends import ConfigurationError, Options

__all__ = [
    "ATTRIBUTES",
    "BEHAVIOUR",
    "KNOWN",
    "Fallbacks",
    "Read",
    "gather",
    "hint",
    "make_options",
    "partial_refusal",
    "read_settings",
    "strategy",
    "unknown",
]

ATTRIBUTES = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
}
"""The attributes of Django's own backend, and the setting of each."""

BEHAVIOUR = ("on_partial_refusal", "redirect_all_to", "allowed_recipients")
"""What concerns the backend and not the `Mailer`."""

_FIELDS = {field.name: field for field in dataclasses.fields(Options)}
KNOWN = frozenset({*_FIELDS, *ATTRIBUTES, *BEHAVIOUR, "url", "strategy"})
"""All names that ``OPTIONS``, ``MAILBACKENDS`` and the constructor take."""

# A URL says who the server is: a user name meant for another one must not go there.
_SAID_BY_URL = ("host", "port", "username", "password", "use_tls", "use_ssl")
_TLS = ("ssl_context", "ssl_cafile", "ssl_certfile", "ssl_keyfile")
_SAYS_WHERE = frozenset({"url", "security", "protocol", "socket_path", "host"})


class Read(NamedTuple):
    """The settings at one moment."""

    email: dict[str, Any]
    """What ``EMAIL_*`` say, by the names of the attributes."""
    mailbackends: dict[str, Any]


def read_settings() -> Read | None:
    """What the settings say now; None where ``MAILERS`` are set, and they say nothing.

    Raises:
        SettingsError: ``MAILBACKENDS`` is no dictionary.
    """
    if mailers_configured():
        return None
    more = getattr(settings, "MAILBACKENDS", None) or {}
    if not isinstance(more, Mapping):
        raise configuration_error(f"MAILBACKENDS must be a dictionary, not {more!r}.", None)
    # Django's defaults (localhost, 25) step back where MAILBACKENDS says who the server is.
    elsewhere = not _SAYS_WHERE.isdisjoint(more)
    now = settings_now()
    email = {
        name: getattr(now, setting)
        for name, setting in ATTRIBUTES.items()
        if not elsewhere or is_said(setting)
    }
    return Read(email, dict(more))


def gather(
    given: Mapping[str, Any], *, alias: str | None, per_call: frozenset[str], settings: Read | None
) -> dict[str, Any]:
    """All that is said for one backend: settings, and over them what one call was given.

    Under an ``alias`` ``given`` is its OPTIONS, save for the names in ``per_call``;
    without, it is what the constructor was given, beside the ``settings``.

    Raises:
        SettingsError: without an alias. InvalidMailer: with one. Names value and mend.
    """
    if alias is not None:
        fixed = {name: value for name, value in given.items() if name not in per_call}
        call = {name: value for name, value in given.items() if name in per_call}
        said = _merge(_sources(fixed, "OPTIONS", alias), alias)
    else:
        call = dict(given)
        said = {} if settings is None else _merge(_settings(settings), alias)
    if call.get("url") is not None:
        for name in _SAID_BY_URL:
            said.pop(name, None)
    if any(call.get(name) is not None for name in ("url", *_SAID_BY_URL)):
        said.pop("fallbacks", None)  # they are not a tenant's
    said |= _merge(_sources(call, "the arguments", alias), alias)
    return _completed(said, alias)


def _settings(read: Read) -> Iterable[tuple[str, dict[str, Any]]]:
    strange = [name for name in read.mailbackends if name not in KNOWN]
    if strange:
        raise configuration_error(f"MAILBACKENDS: {unknown(strange)}", None)
    for name, value in read.email.items():
        if value is not None:
            yield ATTRIBUTES[name], {name: value}
    yield from _sources(read.mailbackends, "MAILBACKENDS", None)


def _sources(
    options: Mapping[str, Any], where: str, alias: str | None
) -> list[tuple[str, dict[str, Any]]]:
    """What ``options`` says itself, and what its ``url`` and its ``security`` say."""
    # None is Django's way of saying nothing, for the names that are Django's.
    plain = {
        name: value
        for name, value in options.items()
        if name not in ("url", "security") and not (name in ATTRIBUTES and value is None)
    }
    found = [(where, plain)]
    if options.get("security") is not None:
        found.append((f"{where}['security']", _from_security(options["security"], alias)))
    if options.get("url") is not None:
        found.append((f"{where}['url']", _from_urls(options["url"], alias)))
    return found


def _from_security(security: Any, alias: str | None) -> dict[str, Any]:
    if security not in ("none", "starttls", "tls"):
        raise configuration_error(
            f"'security' must be 'none', 'starttls' or 'tls', not {security!r}.", alias
        )
    return {"use_tls": security == "starttls", "use_ssl": security == "tls"}


def _from_urls(value: Any, alias: str | None) -> dict[str, Any]:
    # No URL holds white space: so several fit into one environment variable.
    urls = value.split() if isinstance(value, str) else value
    if not isinstance(urls, list | tuple) or not urls:
        raise configuration_error(f"'url' must be a URL or a list of them, not {value!r}.", alias)
    said = _from_url(urls[0], alias)
    if len(urls) > 1:
        for url in urls[1:]:
            _from_url(url, alias)
        said["fallbacks"] = Fallbacks(tuple(urls[1:]), shares_login="username" not in said)
    return said


def _from_url(url: Any, alias: str | None) -> dict[str, Any]:
    try:
        said = Options.parse_url(url)
    except (ConfigurationError, TypeError) as error:
        raise configuration_error(f"'url': {error}", alias) from error
    return said | _from_security(said.pop("security", "none"), alias)


def _merge(sources: Iterable[tuple[str, dict[str, Any]]], alias: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {}
    by: dict[str, str] = {}
    for where, values in sources:
        for name, value in values.items():
            if name in said and said[name] != value:
                shown = "" if name == "password" else f": {said[name]!r} and {value!r}"
                raise configuration_error(
                    f"{by[name]} and {where} contradict each other about {name!r}{shown}. "
                    "Say it in one of them only.",
                    alias,
                )
            said[name], by[name] = value, where
    return said


def _completed(said: dict[str, Any], alias: str | None) -> dict[str, Any]:
    """With the defaults that depend on something else, and on Django's rules for them."""
    if said.get("use_tls") and said.get("use_ssl"):
        raise configuration_error(
            "EMAIL_USE_TLS/EMAIL_USE_SSL are mutually exclusive, so only set one of those "
            "settings to True."
            if alias is None
            else "The 'use_ssl' and 'use_tls' OPTIONS are incompatible. Set at most one of "
            "them to True.",
            alias,
        )
    if not said.get("host") and not said.get("socket_path"):
        if alias is not None or mailers_configured():
            raise configuration_error("OPTIONS must define 'host'.", alias)
        said["host"] = "localhost"
    said.setdefault("use_tls", False)
    said.setdefault("use_ssl", False)
    if said.get("port") is None and said.get("protocol") != "lmtp":
        said["port"] = 465 if said["use_ssl"] else 587 if said["use_tls"] else 25
    return said


def make_options(said: Mapping[str, Any], *, alias: str | None) -> Options:
    """The `Options` for what `gather` found, or for the attributes of a backend.

    Raises: as `gather`.
    """
    values = {
        name: value
        for name, value in said.items()
        if name in _FIELDS and not (name in ATTRIBUTES and value in (None, ""))
    }
    if said.get("use_ssl"):
        values["security"] = "tls"
    elif said.get("use_tls"):
        values["security"] = "starttls"
    else:  # Django asks for them only where there is TLS; `manage.py check` says so
        values.pop("ssl_certfile", None)
        values.pop("ssl_keyfile", None)
    # Django logs in only where there is both a name and a password.
    means = ("password", "token_provider", "auth_mechanisms")
    if "username" not in values or not any(values.get(name) for name in means):
        values.pop("username", None)
        values.pop("password", None)
    told = Told.of(values)
    try:
        try:
            return _remembered(told)
        except TypeError:  # something that cannot be a key
            return _made(told)
    except ConfigurationError as error:
        raise configuration_error(str(error), alias) from error


def _made(told: Told) -> Options:
    return Options.from_mapping(told.said())


# A subclass may set attributes of its own on each backend.
_remembered = lru_cache(maxsize=64)(_made)


@dataclasses.dataclass(frozen=True)
class Fallbacks:
    """Further servers, for what the first one does not take for now."""

    urls: tuple[str, ...] = dataclasses.field(repr=False)
    shares_login: bool
    """The login stands beside the URLs, and not in the first one's: it is for all."""

    def options(self, said: Mapping[str, Any], *, alias: str | None) -> tuple[Options, ...]:
        """The options of each: its URL's, and of the first server what is not its own."""
        own = set(_SAID_BY_URL) | {"protocol", "socket_path"}
        if self.shares_login:
            own -= {"username", "password"}
        shared = {name: value for name, value in said.items() if name not in own}
        without_tls = {name: shared[name] for name in shared if name not in _TLS}
        found: list[Options] = []
        for url in self.urls:
            server = _from_url(url, alias)
            uses_tls = server["use_tls"] or server["use_ssl"]
            whole = (shared if uses_tls else without_tls) | server
            found.append(make_options(_completed(whole, alias), alias=alias))
        return tuple(found)


def strategy(said: Mapping[str, Any], alias: str | None) -> Literal["ordered", "round_robin"]:
    """``strategy``: which of several servers comes first. Raises: as `gather`."""
    value = said.get("strategy") or "ordered"
    if value == "ordered":
        return "ordered"
    if value == "round_robin":
        return "round_robin"
    raise configuration_error(
        f"'strategy' must be 'ordered' or 'round_robin', not {value!r}.", alias
    )


def partial_refusal(said: Mapping[str, Any], alias: str | None) -> str:
    """``on_partial_refusal``: ``"log"``, the default, or ``"raise"``. Raises: as `gather`."""
    value = said.get("on_partial_refusal") or "log"
    if value not in ("log", "raise"):
        raise configuration_error(
            f"'on_partial_refusal' must be 'log' or 'raise', not {value!r}.", alias
        )
    return str(value)


def unknown(names: Iterable[str]) -> str:
    """The text for names that are no options: ``Unknown options 'pool_sise'. Did you ...?``"""
    return f"Unknown options {', '.join(map(repr, names))}.{hint(names)}"


def hint(names: Iterable[str]) -> str:
    """``" Did you mean ...?"`` for names that are nearly known, or an empty string."""
    meant = [difflib.get_close_matches(str(name), sorted(KNOWN), n=1) for name in names]
    found = [repr(match[0]) for match in meant if match]
    return f" Did you mean {', '.join(found)}?" if found else ""
