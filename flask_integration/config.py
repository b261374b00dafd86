"""An application's ``MAIL_`` configuration, read and checked."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flask_integration.addresses import Address, bare_addresses
from flask_integration.backends import Backend, find_backend
from flask_integration.errors import ConfigurationWarning
from flask_integration.html import require_libraries
from flask_integration.keys import INHERITED, KEYS, OPTION_OF, PREFIX, unknown_key
from flask_integration.rendering import Rendering
from mailbackends import ConfigurationError, Options

__all__ = ["Settings", "flag", "read"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_CERTIFICATE = ("ssl_certfile", "ssl_keyfile")
_TLS = ("ssl_context", "ssl_cafile", *_CERTIFICATE)


@dataclass(frozen=True)
class Settings:
    """What an application says of one mailer; ``mailers`` are the named ones beside it."""

    options: Options
    """Where and how to deliver."""
    fallbacks: tuple[Options, ...]
    """Further servers, for what that one does not take for now."""
    strategy: Literal["ordered", "round_robin"]
    backend: type[Backend]
    rendering: Rendering = field(default_factory=Rendering)
    default_sender: Address | None = None
    debug: int = 0
    max_emails: int | None = None
    suppress: bool | None = None
    file_path: str | None = None
    mail_options: tuple[str, ...] = ()
    client_certificate: Mapping[str, str] = field(default_factory=dict)
    """Set aside where there is no TLS to use it."""
    mailers: Mapping[str, Settings] = field(default_factory=dict)


def read(config: Mapping[str, Any]) -> Settings:
    """The settings in an application's configuration.

    Warns:
        ConfigurationWarning: a ``MAIL_`` key is unknown, or a login is incomplete.

    Raises:
        ConfigurationError: a value cannot be used, or contradicts another. The text names
            the key, the value (secrets excepted) and the mend.
    """
    values = {
        key.removeprefix(PREFIX): value
        for key, value in config.items()
        if isinstance(key, str) and key.startswith(PREFIX)
    }
    for name in values.keys() - KEYS:
        # An application may have keys of its own that begin with MAIL_: no error.
        _warn(unknown_key(name))
    mailers = values.pop("MAILERS", None) or {}
    if not isinstance(mailers, Mapping):
        raise ConfigurationError(
            f"MAIL_MAILERS must map names to settings, as {{'bulk': {{'URL': 'smtps://...'}}}}, "
            f"not {type(mailers).__name__}"
        )
    common = {name: value for name, value in values.items() if name in INHERITED}
    named = {
        str(name): _settings({**common, **_named(str(name), given)}, f"MAIL_MAILERS[{name!r}]: ")
        for name, given in mailers.items()
    }
    if "default" not in named:
        return _settings(values, PREFIX, named)
    if clash := sorted(values.keys() - INHERITED - {"SUPPRESS_SEND"}):
        raise ConfigurationError(
            f"MAIL_MAILERS['default'] and {PREFIX}{clash[0]} contradict each other: "
            "put it into MAIL_MAILERS['default']"
        )
    return replace(named["default"], mailers=named)


def _named(mailer: str, given: object) -> dict[str, Any]:
    """One mailer's settings by the names that the keys have behind ``MAIL_``."""
    if isinstance(given, str):
        return {"URL": given}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"MAIL_MAILERS[{mailer!r}] must be a URL or a mapping, not {type(given).__name__}"
        )
    values = {str(key).upper().removeprefix(PREFIX): value for key, value in given.items()}
    for name in values.keys() - (KEYS - {"MAILERS"}):
        raise ConfigurationError(unknown_key(name, prefix=f"MAIL_MAILERS[{mailer!r}]: "))
    return values


def _settings(
    values: Mapping[str, Any], label: str, named: Mapping[str, Settings] | None = None
) -> Settings:
    inline_css = bool(flag(f"{label}INLINE_CSS", values.get("INLINE_CSS")))
    text_from_html = flag(f"{label}TEXT_FROM_HTML", values.get("TEXT_FROM_HTML"))
    require_libraries(inline_css=inline_css, text_from_html=text_from_html)
    local_time = flag(f"{label}USE_LOCALTIME", values.get("USE_LOCALTIME"))
    max_emails = _count(f"{label}MAX_EMAILS", values.get("MAX_EMAILS"))
    backend = values.get("BACKEND") or "smtp"
    options, *fallbacks = _servers(values, label, max_emails)
    uses_tls = any(server.security != "none" for server in (options, *fallbacks))
    certificate = {} if uses_tls else _certificate(values, label)
    return Settings(
        options=options,
        fallbacks=tuple(fallbacks),
        strategy=_strategy(f"{label}STRATEGY", values.get("STRATEGY")),
        backend=find_backend(backend),
        rendering=Rendering(
            charset=values.get("DEFAULT_CHARSET") or "utf-8",
            ascii_filenames=bool(
                flag(f"{label}ASCII_ATTACHMENTS", values.get("ASCII_ATTACHMENTS"))
            ),
            local_time=local_time is not False,
            inline_css=inline_css,
            text_from_html=text_from_html,
        ),
        default_sender=_sender(f"{label}DEFAULT_SENDER", values.get("DEFAULT_SENDER")),
        debug=_debug(f"{label}DEBUG", values.get("DEBUG")),
        max_emails=max_emails,
        suppress=flag(f"{label}SUPPRESS_SEND", values.get("SUPPRESS_SEND")),
        file_path=values.get("FILE_PATH") or None,
        mail_options=_words(values.get("SEND_OPTIONS")),
        client_certificate=certificate,
        mailers=named or {},
    )


def _servers(values: Mapping[str, Any], label: str, max_emails: int | None) -> list[Options]:
    """The options of each server: one for each URL, or one without any."""
    options = {OPTION_OF[name]: values[name] for name in _given(values) if name in OPTION_OF}
    for one, two in (("SERVER", "HOST"), ("MAX_EMAILS", "MAX_MESSAGES_PER_CONNECTION")):
        if {one, two} <= _given(values) and str(values[one]) != str(values[two]):
            raise ConfigurationError(
                f"{label}{one} and {label}{two} are two names for one setting, and contradict "
                "each other: give one"
            )
    if values.get("DEADLINE", "") is None:
        options["deadline"] = None  # the one setting that can be switched off so
    if security := _security(values, label):
        options["security"] = security
    if max_emails is not None:
        options.setdefault("max_messages_per_connection", max_emails)
    if "auth_mechanisms" in options:
        options["auth_mechanisms"] = _words(options["auth_mechanisms"])
    # No URL holds white space, so that is how several fit into one environment variable.
    urls = _words(values.get("URL"), separators="")
    if not all(isinstance(url, str) for url in urls):
        raise ConfigurationError(f"{label}URL must be a URL or a list of them, not {urls[0]!r}")
    if urls and (clash := sorted({"HOST", "PORT", "SECURITY", "SERVER"} & _given(values))):
        raise ConfigurationError(
            f"{label}URL and {label}{clash[0]} contradict each other: put it into the URL"
        )
    if not urls:
        _complete_login(options, label)
    try:
        servers = [Options.parse_url(url) for url in urls] or [{}]
        with_tls = [(said | options).get("security", "none") != "none" for said in servers]
        # Files for TLS are for those servers that have it; and where none has, there is a
        # word about a certificate elsewhere.
        unused = _TLS if any(with_tls) else _CERTIFICATE
        clear = {name: value for name, value in options.items() if name not in unused}
        return [
            Options.from_mapping(said | (options if has_tls else clear))
            for said, has_tls in zip(servers, with_tls, strict=True)
        ]
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error} (from the configuration of the Flask application, "
            f"where the option 'name' is {label}NAME)"
        ) from error


def _given(values: Mapping[str, Any]) -> set[str]:
    # An environment variable that is not set often arrives as None or as an empty string.
    return {name for name, value in values.items() if value is not None and value != ""}


def _strategy(key: str, value: object) -> Literal["ordered", "round_robin"]:
    if value in (None, "", "ordered"):
        return "ordered"
    if value == "round_robin":
        return "round_robin"
    raise ConfigurationError(f"{key} is {value!r}: it must be 'ordered' or 'round_robin'")


def _security(values: Mapping[str, Any], label: str) -> str | None:
    use_tls = flag(f"{label}USE_TLS", values.get("USE_TLS"))
    use_ssl = flag(f"{label}USE_SSL", values.get("USE_SSL"))
    if use_tls and use_ssl:
        raise ConfigurationError(
            f"{label}USE_TLS and {label}USE_SSL contradict each other: USE_TLS is STARTTLS "
            "(port 587), USE_SSL is TLS from the first byte (port 465); set one to False"
        )
    wanted = "starttls" if use_tls else "tls" if use_ssl else None
    if wanted and values.get("URL"):
        raise ConfigurationError(
            f"{label}USE_TLS or {label}USE_SSL contradicts the scheme of {label}URL: "
            "leave it out, and write smtp+starttls:// or smtps://"
        )
    if wanted and (given := values.get("SECURITY")) not in (None, "", wanted):
        raise ConfigurationError(
            f"{label}SECURITY={given!r} contradicts {label}USE_TLS or {label}USE_SSL: "
            "leave those out"
        )
    return wanted


def _certificate(values: Mapping[str, Any], label: str) -> dict[str, str]:
    """That of the client, for whom there is no TLS: Flask-Mailman keeps it, and does not ask."""
    found = {n: values[n.upper()] for n in _CERTIFICATE if n.upper() in _given(values)}
    if found:
        keys = " and ".join(f"{label}{name.upper()}" for name in found)
        _warn(f"{keys} will not be used, for there is no TLS: set {label}USE_TLS or {label}USE_SSL")
    return found


def _complete_login(options: dict[str, Any], label: str) -> None:
    """Flask-Mail logs in only where both name and password are given: so here, not silently."""
    if "token_provider" in options or options.get("auth_mechanisms"):
        return
    if ("username" in options) != ("password" in options):
        present, missing = ("USERNAME", "PASSWORD")
        if "password" in options:
            present, missing = missing, present
        _warn(f"{label}{present} is set and {label}{missing} is not: there will be no login")
        options.pop("username", None)
        options.pop("password", None)


def flag(key: str, value: object) -> bool | None:
    """True, False, or None where nothing is said. Text is read, not taken for true.

    Raises:
        ConfigurationError: it is neither.
    """
    if value is None or value == "":
        return None
    text = str(value).strip().lower()
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ConfigurationError(f"{key} is {value!r}, which is neither true nor false")


def _warn(text: str) -> None:
    """Warn of the line in the application that set up mail."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, ConfigurationWarning, stacklevel=level)


def _words(value: Any, *, separators: str = ",") -> tuple[str, ...]:
    """The strings in a list, or in a text where white space or a comma is between them."""
    if isinstance(value, str):
        for separator in separators:
            value = value.replace(separator, " ")
        return tuple(value.split())
    try:
        return tuple(value or ())
    except TypeError:
        return (value,)  # Options tells what is wrong with it


def _debug(key: str, value: object) -> int:
    """Flask-Mail has levels, as `smtplib.SMTP.set_debuglevel`; here there is one."""
    return value if isinstance(value, int) else int(flag(key, value) or 0)


def _count(key: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigurationError(f"{key} is {value!r}: give a whole number, 1 or more, or None")
    return number


def _sender(key: str, value: Any) -> Address | None:
    if not value:
        return None
    sender: Address = tuple(value) if isinstance(value, list) else value
    if not isinstance(sender, str) and not (isinstance(sender, tuple) and len(sender) == 2):
        raise ConfigurationError(f"{key} is {value!r}: give an address, or ('Name', 'address')")
    try:
        bare_addresses([sender], key)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return sender
