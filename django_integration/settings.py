"""From Django's settings to the options of a `Mailer`.

Every source is translated to the names of Django's own backend (``host``, ``use_tls``, ...)
and, for everything else, to the names of `mailbackends.Options`. Settings that contradict
each other are refused; arguments of one call take precedence over settings.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.conf import settings

from django_integration.compat import (
    configuration_error,
    current_settings,
    is_overridden,
    mailer_options,
    mailers_configured,
)
from django_integration.wording import ARGUMENTS, ATTRIBUTES, wording_for
from mailbackends import ConfigurationError, Options, Secret
from mailbackends.integration import Wording, hide_secrets, nearest, server_urls

__all__ = [
    "ATTRIBUTES",
    "BEHAVIOUR",
    "BOOLEANS",
    "KNOWN",
    "SERVER_OPTIONS",
    "CurrentSettings",
    "collect_options",
    "did_you_mean",
    "has_secret_in_clear",
    "hide",
    "options_from_url",
    "read_settings",
    "unknown_options",
    "with_defaults",
]

BEHAVIOUR = (
    "on_partial_refusal", "on_suppressed", "redirect_all_to", "allowed_recipients", "inline_css",
    "text_from_html",
)  # fmt: skip
"""Options of the backend itself, which the `Mailer` does not have."""

KNOWN = frozenset({*Options.known(), *ATTRIBUTES, *BEHAVIOUR, "url", "strategy"})
"""All names that ``OPTIONS``, ``MAILBACKENDS`` and the constructor accept."""

_WITHOUT_SECRETS = KNOWN - {*Options.known(), "url"} | {"alias", "_ignore_unknown_kwargs"}

SERVER_OPTIONS = ("host", "port", "username", "password", "use_tls", "use_ssl")
"""What a URL decides as a whole: a login meant for another server must not go to this one."""

BOOLEANS = ("use_tls", "use_ssl")
"""The attributes that are True or False."""

_SWITCHES = (*BOOLEANS, "inline_css", "text_from_html")

_TEXT_AS_BOOL = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", ""), False),
}
_NAMES_THE_SERVER = frozenset({"url", "security", "protocol", "socket_path", "host"})


hide: functools.partial[dict[str, Any]] = functools.partial(
    hide_secrets, plain=_WITHOUT_SECRETS, urls=frozenset({"url", "fallback_urls"})
)
"""Makes each password among given options, and each value that may contain one, a `Secret`.

Django's debug page and error reporters show the variables of each function in a traceback:
those that hold options are rebound to the result before anything can fail.
"""


def has_secret_in_clear(alias: str) -> bool:
    """True if the OPTIONS of the alias contain a password or the like as plain text."""
    for name, value in mailer_options(alias).items():
        hidden = hide({name: value})[name]
        if name == "url":
            if any(isinstance(url, Secret) and "***" in str(url) for url in server_urls(value)):
                return True
        elif hidden is not value and (name in KNOWN or not isinstance(value, int | float)):
            return True
    return False


class CurrentSettings(NamedTuple):
    """The settings at one moment."""

    email: dict[str, Any]
    """The values of ``EMAIL_*``, by the names of the attributes."""
    mailbackends: dict[str, Any]


def read_settings() -> CurrentSettings | None:
    """The settings now; None with ``MAILERS``, since the others are not read then.

    Raises:
        SettingsError: ``MAILBACKENDS`` is not a dictionary.
    """
    if mailers_configured():
        return None
    kind = type(getattr(settings, "MAILBACKENDS", None) or {})
    if not issubclass(kind, Mapping):
        raise configuration_error(
            f"MAILBACKENDS must be a dictionary of options, got {kind.__name__}: "
            "write MAILBACKENDS = {'pool_size': 8}.",
            None,
        )
    given = dict(getattr(settings, "MAILBACKENDS", None) or {})
    given.pop("outbox", None)  # read by `django_integration.outbox`
    more = hide(given)
    # Django's defaults (localhost, 25) do not count once MAILBACKENDS names the server.
    elsewhere = not _NAMES_THE_SERVER.isdisjoint(more)
    now = current_settings()
    email = hide(
        {
            name: getattr(now, setting)
            for name, setting in ATTRIBUTES.items()
            if not elsewhere or is_overridden(setting)
        }
    )
    return CurrentSettings(email, more)


def collect_options(
    given: Mapping[str, Any],
    *,
    alias: str | None,
    per_call: frozenset[str],
    current: CurrentSettings | None,
) -> tuple[dict[str, Any], Wording]:
    """All options of one backend: the settings, overridden by the arguments of one call.

    Also what their settings are called, for the texts of errors.

    With an ``alias``, ``given`` is its OPTIONS, except for the names in ``per_call``.
    Without one, ``given`` holds the constructor's arguments, and ``current`` the settings.

    Raises:
        SettingsError: without an alias. InvalidMailer: with one. Both name value and fix.
    """
    if alias is not None:
        fixed = {name: value for name, value in given.items() if name not in per_call}
        call = {name: value for name, value in given.items() if name in per_call}
        options, origin = _merge(_sources(fixed, "OPTIONS", alias), alias)
    else:
        call = dict(given)
        options, origin = ({}, {}) if current is None else _merge(_settings_sources(current), alias)
    if call.get("url") is not None:
        for name in SERVER_OPTIONS:
            options.pop(name, None)
    if any(call.get(name) is not None for name in ("url", *SERVER_OPTIONS)):
        options.pop("fallback_urls", None)  # they belong to the settings' server, not to this one
    of_the_call, from_the_call = _merge(_sources(call, ARGUMENTS, alias), alias)
    origin |= from_the_call
    options = with_defaults(options | of_the_call, alias)
    return options, wording_for(options, origin, alias)


def _settings_sources(current: CurrentSettings) -> Iterable[tuple[str, dict[str, Any]]]:
    unknown = [name for name in current.mailbackends if name not in KNOWN]
    if unknown:
        raise configuration_error(f"MAILBACKENDS: {unknown_options(unknown)}", None)
    for name, value in current.email.items():
        if value is not None:
            setting = ATTRIBUTES[name]
            yield setting, {name: _as_bool(setting, value, None) if name in _SWITCHES else value}
    yield from _sources(current.mailbackends, "MAILBACKENDS", None)


def _sources(
    options: Mapping[str, Any], where: str, alias: str | None
) -> list[tuple[str, dict[str, Any]]]:
    """The values in ``options``, those of its ``url``, and those of its ``security``."""
    # For Django's own names, None means "not given".
    plain = {
        name: _as_bool(f"{where}[{name!r}]", value, alias) if name in _SWITCHES else value
        for name, value in options.items()
        if name not in ("url", "security") and not (name in ATTRIBUTES and value is None)
    }
    found = [(where, plain)]
    if options.get("security") is not None:
        found.append((f"{where}['security']", _from_security(options["security"], alias)))
    if options.get("url") is not None:
        found.append((f"{where}['url']", _from_urls(options["url"], alias, f"{where}['url']")))
    return found


def _as_bool(where: str, value: Any, alias: str | None) -> bool:
    """``use_tls`` or ``use_ssl``; text comes from the environment, and ``"False"`` is not TLS."""
    if isinstance(value, bool | int):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _TEXT_AS_BOOL:
        return _TEXT_AS_BOOL[value.strip().lower()]
    raise configuration_error(f"{where} must be True or False, got {value!r}.", alias)


def _from_security(security: Any, alias: str | None) -> dict[str, Any]:
    if security not in ("none", "starttls", "tls"):
        raise configuration_error(
            f"'security' must be 'none', 'starttls' or 'tls', got {security!r}.", alias
        )
    return {"use_tls": security == "starttls", "use_ssl": security == "tls"}


def _from_urls(value: Any, alias: str | None, where: str) -> dict[str, Any]:
    urls = server_urls(value)
    wrong = [url.kind for url in urls if not isinstance(url, Secret)]
    if wrong or not urls:
        raise configuration_error(
            f"{where} must be a URL or a list of URLs, got {wrong[0] if wrong else 'none'}: write "
            "'smtp+starttls://user:password@smtp.example.com:587'.",
            alias,
        )
    options = options_from_url(urls[0], alias, where)
    if len(urls) > 1:
        for url in urls[1:]:
            options_from_url(url, alias, where)
        options["fallback_urls"] = tuple(urls[1:])
        options["fallbacks_share_login"] = "username" not in options
    return options


def options_from_url(url: Any, alias: str | None, where: str = "'url'") -> dict[str, Any]:
    """The options in one URL, set at ``where``. Raises: as `collect_options`."""
    try:
        options = Options.parse_url(url)
    except ConfigurationError as error:
        raise configuration_error(f"{where}: {error}", alias) from error
    return options | _from_security(options.pop("security", "none"), alias)


def _merge(
    sources: Iterable[tuple[str, dict[str, Any]]], alias: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options of all sources, and where each is from."""
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, values in sources:
        for name, value in values.items():
            if name in merged and merged[name] != value:
                is_secret = isinstance(merged[name], Secret) or isinstance(value, Secret)
                shown = "" if is_secret else f": {merged[name]!r} and {value!r}"
                raise configuration_error(
                    f"{origin[name]} and {where} set {name!r} to different values{shown}. "
                    "Set it in one of them only.",
                    alias,
                )
            merged[name], origin[name] = value, where
    return merged, origin


def with_defaults(options: dict[str, Any], alias: str | None) -> dict[str, Any]:
    """The options with the defaults that depend on other options, by Django's rules.

    Raises: as `collect_options`.
    """
    if options.get("use_tls") and options.get("use_ssl"):
        raise configuration_error(
            "EMAIL_USE_TLS/EMAIL_USE_SSL are mutually exclusive, so only set one of those "
            "settings to True."
            if alias is None
            else "The 'use_ssl' and 'use_tls' OPTIONS are incompatible. Set at most one of "
            "them to True.",
            alias,
        )
    if not options.get("host") and not options.get("socket_path"):
        if alias is not None or mailers_configured():
            raise configuration_error("OPTIONS must define 'host'.", alias)
        options["host"] = "localhost"
    options.setdefault("use_tls", False)
    options.setdefault("use_ssl", False)
    if options.get("port") is None and options.get("protocol") != "lmtp":
        options["port"] = 465 if options["use_ssl"] else 587 if options["use_tls"] else 25
    return options


# What people write into OPTIONS: the names of the settings, of Flask's, and of nodemailer.
_BY_SETTING = {
    **{setting: name for name, setting in ATTRIBUTES.items()},
    **{setting.removeprefix("EMAIL_"): name for name, setting in ATTRIBUTES.items()},
    **{"USER": "username", "PASS": "password", "SERVER": "host", "TLS": "use_tls"},
    **{"SSL": "use_ssl", "STARTTLS": "use_tls", "HOSTNAME": "host"},
}


def unknown_options(names: Iterable[str]) -> str:
    """The error text: ``Unknown options 'pool_sise'. Did you mean 'pool_size'?``"""
    return f"Unknown options {', '.join(map(repr, names))}.{did_you_mean(names)}"


def did_you_mean(names: Iterable[str]) -> str:
    """``" Did you mean ...?"`` for names that are close to known ones, else an empty string."""
    found: list[str] = []
    for name in map(str, names):
        setting = _BY_SETTING.get(name.upper().removeprefix("MAIL_"))
        if meant := setting or nearest(name, KNOWN):
            found.append(repr(meant))
    return f" Did you mean {', '.join(found)}?" if found else ""
