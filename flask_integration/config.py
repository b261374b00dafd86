"""An application's ``MAIL_`` configuration, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flask_integration.addresses import Address, bare_addresses, evaluated
from flask_integration.backends import Backend, find_backend
from flask_integration.rendering import Rendering
from flask_integration.server_config import (
    OPTION_OF,
    client_certificate,
    count,
    flag,
    read_servers,
    warn,
    words,
)
from mailbackends import ConfigurationError, Options
from mailbackends.integration import Staging, nearest, require_libraries

__all__ = ["KEYS", "PREFIX", "Settings", "read", "unknown_key", "without_secrets"]

PREFIX = "MAIL_"

# The modules whose functions have the configuration in their variables.
_WITH_SECRETS = ("flask_integration.", "mailbackends.")

# What messages look like and which kind of backend they go to. A named mailer inherits
# these from the application unless it sets its own.
INHERITED = frozenset(
    {
        "ALLOWED_RECIPIENTS",
        "ASCII_ATTACHMENTS",
        "BACKEND",
        "DEBUG",
        "DEFAULT_CHARSET",
        "DEFAULT_SENDER",
        "FILE_PATH",
        "INLINE_CSS",
        "MAX_EMAILS",
        "REDIRECT_ALL_TO",
        "SEND_OPTIONS",
        "SUPPRESSION",
        "TEXT_FROM_HTML",
        "USE_LOCALTIME",
    }
)

KEYS = (
    frozenset(OPTION_OF)
    | INHERITED
    | {"MAILERS", "STRATEGY", "SUPPRESS_SEND", "URL", "USE_SSL", "USE_TLS"}
    | {"UNSUBSCRIBE_MAX_AGE", "UNSUBSCRIBE_URL"}
    | {"BOUNCE_ADDRESS", "OUTBOX_BLOBS", "OUTBOX_DATABASE"}
    | {"SUPPRESSION_DATABASE", "SUPPRESSION_EXEMPT", "SUPPRESSION_POLICY"}
)


@dataclass(frozen=True)
class Settings:
    """The settings of one mailer; ``mailers`` are the named ones of the application."""

    options: Options
    """Where and how to deliver."""
    fallbacks: tuple[Options, ...]
    """The servers to try when that one cannot take a message."""
    strategy: Literal["ordered", "round_robin"]
    backend: type[Backend]
    rendering: Rendering = field(default_factory=Rendering)
    staging: Staging = field(default_factory=Staging)
    default_sender: Address | None = None
    debug: int = 0
    max_emails: int | None = None
    suppress: bool | None = None
    file_path: str | None = None
    mail_options: tuple[str, ...] = ()
    client_certificate: Mapping[str, str] = field(default_factory=dict)
    """Not in ``options`` if no server uses TLS."""
    mailers: Mapping[str, Settings] = field(default_factory=dict)


def read(config: Mapping[str, Any]) -> Settings:
    """Return the settings in an application's configuration.

    The traceback of an exception shows none of the functions here: their variables contain
    the configuration with its secrets, and debug pages and error reporters print variables.

    Warns:
        ConfigurationWarning: a ``MAIL_`` key is unknown, or a login is incomplete.

    Raises:
        ConfigurationError: a value cannot be used, or contradicts another. The text names
            the key, the value (unless it is a secret) and what to write.
    """
    try:
        return _read(config)
    except Exception as error:
        raised = without_secrets(error)
    del config
    raise raised


def _read(config: Mapping[str, Any]) -> Settings:
    values = _evaluated(
        {
            key.removeprefix(PREFIX): value
            for key, value in config.items()
            if isinstance(key, str) and key.startswith(PREFIX)
        }
    )
    for name in values.keys() - KEYS:
        # Not an error: an application may have other keys that begin with MAIL_.
        warn(unknown_key(name))
    mailers = values.pop("MAILERS", None) or {}
    if not isinstance(mailers, Mapping):
        raise ConfigurationError(
            "MAIL_MAILERS must map names to settings, for example "
            f"{{'bulk': {{'URL': 'smtps://...'}}}}, got {type(mailers).__name__}"
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
            f"MAIL_MAILERS['default'] and {PREFIX}{clash[0]} cannot both be set: "
            f"put {clash[0]} into MAIL_MAILERS['default']"
        )
    return replace(named["default"], mailers=named)


def _named(mailer: str, given: object) -> dict[str, Any]:
    """Return one mailer's settings by the names of the keys without ``MAIL_``."""
    if isinstance(given := evaluated(given), str):
        return {"URL": given}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"MAIL_MAILERS[{mailer!r}] must be a URL or a mapping, got {type(given).__name__}"
        )
    values = _evaluated(
        {str(key).upper().removeprefix(PREFIX): value for key, value in given.items()}
    )
    for name in values.keys() - (KEYS - {"MAILERS"}):
        raise ConfigurationError(unknown_key(name, prefix=f"MAIL_MAILERS[{mailer!r}]: "))
    return values


def _evaluated(values: Mapping[str, Any]) -> dict[str, Any]:
    # The default sender stays lazy: it may be translated for each request.
    return {
        name: value if name == "DEFAULT_SENDER" else evaluated(value)
        for name, value in values.items()
    }


def _settings(
    values: Mapping[str, Any], label: str, named: Mapping[str, Settings] | None = None
) -> Settings:
    if values.get("SUPPRESSION") is False:  # a mailer that asks no list
        values = {name: value for name, value in values.items() if name != "SUPPRESSION"}
    inline_css = bool(flag(f"{label}INLINE_CSS", values.get("INLINE_CSS")))
    text_from_html = flag(f"{label}TEXT_FROM_HTML", values.get("TEXT_FROM_HTML"))
    require_libraries(
        inline_css="MAIL_INLINE_CSS" if inline_css else None,
        text_from_html="MAIL_TEXT_FROM_HTML" if text_from_html else None,
    )
    local_time = flag(f"{label}USE_LOCALTIME", values.get("USE_LOCALTIME"))
    max_emails = count(f"{label}MAX_EMAILS", values.get("MAX_EMAILS"))
    backend = values.get("BACKEND") or "smtp"
    options, *fallbacks = read_servers(values, label, max_emails)
    uses_tls = any(server.security != "none" for server in (options, *fallbacks))
    certificate = {} if uses_tls else client_certificate(values, label)
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
        staging=_staging(values, label),
        default_sender=_sender(f"{label}DEFAULT_SENDER", values.get("DEFAULT_SENDER")),
        debug=_debug(f"{label}DEBUG", values.get("DEBUG")),
        max_emails=max_emails,
        suppress=flag(f"{label}SUPPRESS_SEND", values.get("SUPPRESS_SEND")),
        file_path=values.get("FILE_PATH") or None,
        mail_options=words(values.get("SEND_OPTIONS")),
        client_certificate=certificate,
        mailers=named or {},
    )


def _strategy(key: str, value: object) -> Literal["ordered", "round_robin"]:
    if value in (None, "", "ordered"):
        return "ordered"
    if value == "round_robin":
        return "round_robin"
    raise ConfigurationError(f"{key} must be 'ordered' or 'round_robin', got {value!r}")


def _staging(values: Mapping[str, Any], label: str) -> Staging:
    return Staging.of(
        _addresses(values.get("REDIRECT_ALL_TO") or None),
        _addresses(values.get("ALLOWED_RECIPIENTS")),
        bare=lambda address: bare_addresses([address], f"{label}REDIRECT_ALL_TO")[0],
        name=lambda option: f"{label}{option.upper()}",
    )


def _addresses(value: Any) -> Any:
    """Several in one environment variable are separated by commas or white space."""
    if not isinstance(value, str):
        return value
    return words(value) if "," in value or value.count("@") > 1 else value or None


def _debug(key: str, value: object) -> int:
    """Return MAIL_DEBUG. Flask-Mail has levels, as `smtplib.SMTP`; here there is only one."""
    return value if isinstance(value, int) else int(flag(key, value) or 0)


def _sender(key: str, value: Any) -> Address | None:
    if not value:
        return None
    sender: Address = tuple(value) if isinstance(value, list) else value
    is_pair = isinstance(sender, tuple) and len(sender) == 2
    if not is_pair and not isinstance(evaluated(sender), str):
        raise ConfigurationError(f"{key} must be an address or ('Name', 'address'), got {value!r}")
    try:
        bare_addresses([sender], key)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return sender


def unknown_key(name: str, *, prefix: str = PREFIX, known: Iterable[str] = KEYS) -> str:
    """Return the message for a key that has no effect, with the nearest one that has."""
    meant = nearest(name, known)
    hint = f"did you mean {prefix}{meant}?" if meant else "it has no effect"
    return f"unknown configuration key {prefix}{name}: {hint}"


def without_secrets(error: Exception) -> Exception:
    """Return ``error`` without the frames and the causes whose variables may contain secrets."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").startswith(_WITH_SECRETS):
        frames = frames.tb_next
    if isinstance(error, ConfigurationError):
        error.__cause__ = error.__context__ = frames = None
    return error.with_traceback(frames)
