"""The kinds of options: what each accepts, and how it is written as text in a URL.

A secret option is a `Secret` from the start. `hide_secrets` makes it one, together with everything
else that may contain a secret by mistake, before anything can fail: error reports show the
variables of every frame in a traceback.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mailbackends.dkim.given import hide_dkim
from mailbackends.dkim.settings import DKIM, keys_from
from mailbackends.errors import ConfigurationError
from mailbackends.mailer.url import SecretURL
from mailbackends.secret import NotText, Secret, SecretCallable
from mailbackends.texts import nearest, plain_text

__all__ = [
    "ADDRESS",
    "COUNT",
    "DKIM_KEYS",
    "FLAG",
    "HOST",
    "LOGIN",
    "NAMES",
    "NUMBER",
    "PATH",
    "PORT",
    "SECONDS",
    "SECRET",
    "SECRET_URL",
    "SUPPRESSION_LIST",
    "TEXT",
    "TLS_CONTEXT",
    "TOKEN_PROVIDER",
    "Kind",
    "hidden",
    "one_of",
]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What an option accepts."""

    label: str
    """For documentation, such as ``"seconds"``."""
    check: Callable[[str, Any], Any]
    """The value for a name and what was given for it. Raises `ConfigurationError`."""
    from_text: Callable[[str, str], Any] | None = None
    """Converts the text in a URL to a value, still to be checked; None: the text is the value."""
    is_object: bool = False
    """True if the value cannot be written as text."""
    is_secret: bool = False


def _wrong(name: str, expected: str, value: object, fix: str = "") -> ConfigurationError:
    return ConfigurationError(f"{name} must be {expected}, got {value!r}{fix and f': {fix}'}")


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    # Environment variables are text, and some loaders parse them as JSON.
    text = str(value).strip().lower() if type(value) is int else (plain_text(value) or "").lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise _wrong(name, "True or False", value)


# Few numbers may be zero: a timeout of 0 means "non-blocking" to a socket, and a pool of no
# connections can send nothing.


def _integer(name: str, value: Any, highest: int | None = None, least: int = 1) -> int:
    number: int | None = None
    text = plain_text(value)
    if type(value) is int:
        number = value
    elif text is not None and text.strip().lstrip("+-").isdecimal():
        number = int(text)
    if number is None:
        raise _wrong(name, "an integer", value)
    if number < least or (highest is not None and number > highest):
        limits = f"from {least} to {highest}" if highest else f"{least} or more"
        raise _wrong(name, limits, value)
    return number


def _number(name: str, value: Any) -> int:
    return _integer(name, value, least=0)


def _port(name: str, value: Any) -> int:
    return _integer(name, value, 65535)


def _seconds(name: str, value: Any) -> float:
    number: float | None = None
    if not isinstance(value, bool) and isinstance(value, int | float):
        number = float(value)
    elif (text := plain_text(value)) is not None:
        try:
            number = float(text)
        except ValueError:
            number = None
    if number is None:
        raise _wrong(name, "a number of seconds", value)
    if not 0 < number < 10**9:
        raise _wrong(name, "more than 0 and less than 1e9 seconds", value)
    return number


def _text(name: str, value: Any) -> str:
    text = plain_text(os.fspath(value) if isinstance(value, os.PathLike) else value)
    if text is None:
        raise _wrong(name, "text", value)
    if not text:
        raise ConfigurationError(f"{name} is empty: give a value, or leave it out")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
        raise ConfigurationError(f"{name}={text!r} contains a control character: remove it")
    return text


def _host(name: str, value: Any) -> str:
    if isinstance(value, Secret):  # see `hidden`
        raise ConfigurationError(
            f"{name} must be a host name, and contains '@' or '://': write only the host here; "
            "a URL and a user name have settings of their own"
        )
    text = _text(name, value)
    # Only an IPv6 address contains a colon.
    if any(c in text for c in " /<>") or text.count(":") == 1:
        raise _wrong(name, "a host name", text, "write it without port or path")
    return text


def _login(name: str, value: Any) -> str:
    # A user name of digits arrives as a number where a loader parses the environment as JSON.
    text = str(value) if type(value) is int else plain_text(value)
    if text is None:
        raise _wrong(name, "text", value, "write it in quotes")
    return text


def _secret(name: str, value: Any) -> Secret:
    if isinstance(value, NotText):
        raise ConfigurationError(f"{name} must be text, got {value.kind}: write it in quotes")
    return value if isinstance(value, Secret) else Secret(value)


def _names(name: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if not is_list or not all(isinstance(item, str) for item in value):
        raise _wrong(name, "a list of names", value)
    return tuple(item.upper() for item in value)


def _names_in(name: str, text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _address(name: str, value: Any) -> tuple[str, int]:
    try:
        host, port = value
        return _host("host", host) if host else "", _port("port", port) if port else 0
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}={value!r}: {error}") from None
    except (TypeError, ValueError):
        raise _wrong(name, "a pair of host and port", value, "write ('10.0.0.1', 0)") from None


def _address_in(name: str, text: str) -> tuple[str, Any]:
    host, _, port = text.rpartition(":")
    return (host or text, port if host and port != "0" else 0)


def _context(name: str, value: Any) -> Any:
    if not hasattr(value, "wrap_socket"):
        raise ConfigurationError(f"{name} must be an ssl.SSLContext, got {type(value).__name__}")
    return value


def _suppression_list(name: str, value: Any) -> Any:
    if not callable(getattr(value, "suppressed", None)):
        raise ConfigurationError(
            f"{name} must be a suppression list, which has the method suppressed(addresses, "
            f"stream), got {type(value).__name__}: see mailbackends.suppression"
        )
    return value


def _token_provider(name: str, value: Any) -> SecretCallable:
    if isinstance(value, NotText):
        raise ConfigurationError(
            f"{name} must be a callable that returns an access token, got {value.kind}"
        )
    return value if isinstance(value, SecretCallable) else SecretCallable(value)


def _dkim_keys(name: str, value: Any) -> tuple[DKIM, ...]:
    try:
        return keys_from(hide_dkim(value))
    except ConfigurationError as error:
        text = str(error.args[0])
    raise ConfigurationError(f"{name}{text.removeprefix('dkim')}")


def one_of(*choices: str) -> Kind:
    """One of a few words."""

    def check(name: str, value: Any) -> str:
        text = plain_text(value)
        if text not in choices:
            near = nearest(text, choices) if text else None
            fix = f"did you mean {near!r}?" if near else ""
            raise _wrong(name, f"one of {', '.join(map(repr, choices))}", value, fix)
        return text

    return Kind(" | ".join(choices), check)


FLAG = Kind("true or false", _flag)
COUNT = Kind("number", _integer)
NUMBER = Kind("number", _number)
PORT = Kind("port", _port)
SECONDS = Kind("seconds", _seconds)
TEXT = Kind("text", _text)
PATH = Kind("path", _text)
HOST = Kind("host name", _host)
LOGIN = Kind("text", _login)
SECRET = Kind("secret text", _secret, is_secret=True)
SECRET_URL = Kind("secret URL", _secret, is_secret=True)
NAMES = Kind("names, separated by commas", _names, _names_in)
ADDRESS = Kind("host:port", _address, _address_in)
TLS_CONTEXT = Kind("ssl.SSLContext", _context, is_object=True)
TOKEN_PROVIDER = Kind("callable", _token_provider, is_object=True, is_secret=True)

SUPPRESSION_LIST = Kind("suppression list", _suppression_list, is_object=True)

DKIM_KEYS = Kind("dictionary or list", _dkim_keys, is_object=True, is_secret=True)


def hidden(kind: Kind | None, value: Any) -> Any:
    """The value in a form that a traceback may show, until it is checked.

    ``kind`` is None for an unknown name, which may be a misspelled ``password``.
    """
    if kind is DKIM_KEYS:
        return hide_dkim(value)
    if type(value) is str:  # nearly always, and once for each message in Django
        text: str | None = value
    elif value is None or isinstance(value, Secret | SecretCallable | NotText):
        return value
    else:
        text = str(value) if type(value) is int else plain_text(value)
    if kind is HOST:
        # A URL, or a user name and a password, in the wrong place.
        return Secret(text) if text is not None and ("@" in text or "://" in text) else value
    if kind is not None and not kind.is_secret:
        return value
    if kind is TOKEN_PROVIDER and callable(value):
        return SecretCallable(value)
    if kind is TOKEN_PROVIDER or text is None:
        return NotText(type(value).__name__)
    return SecretURL(text) if kind is SECRET_URL else Secret(text)
