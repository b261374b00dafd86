"""One option's value: its type, its range, and its form as text in a URL."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from typing import Any

from mailbackends.errors import ConfigurationError

__all__ = ["checked", "from_text", "unknown_option"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_NONE = frozenset({"", "none"})


def checked(name: str, value: Any, annotation: Any) -> Any:
    """The value, a number as text made a number.

    ``annotation`` is the option's type as written in `Options`.

    Raises:
        ConfigurationError: it has another type or is out of range.
    """
    kind = str(annotation)
    if value is None:
        if "None" in kind:
            return None
        raise ConfigurationError(f"{name}=None: a value is needed")
    return _CHECKS[_base(kind)](name, value)


def from_text(name: str, text: str, annotation: Any) -> Any:
    """The value that ``text`` in a URL's query stands for.

    Raises:
        ConfigurationError: it stands for none.
    """
    kind = str(annotation)
    if "None" in kind and text.lower() in _NONE:
        return None
    base = _base(kind)
    if base == "bool":
        return _bool(name, text)
    if base == "tuple[str, ...]":
        return tuple(item.strip() for item in text.split(",") if item.strip())
    if base == "tuple[str, int]":
        host, _, port = text.rpartition(":")
        return (host or text, _int_or_zero(name, port) if host else 0)
    if base in ("ssl.SSLContext", "Callable[[], str]"):
        raise ConfigurationError(f"{name} is an object: give it as an argument, not in a URL")
    return text


def _base(kind: str) -> str:
    return kind.removesuffix(" | None")


def _bool(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ConfigurationError(f"{name}={value!r} is neither true nor false")


# No number may be zero: a timeout of 0 means "non-blocking" to a socket, and a pool of no
# connections can send nothing.


def _int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigurationError(f"{name}={value!r} is no whole number")
    try:
        number = int(value)
    except ValueError:
        raise ConfigurationError(f"{name}={value!r} is no whole number") from None
    highest = 65535 if name == "port" else None
    if number < 1 or (highest and number > highest):
        limits = f"from 1 to {highest}" if highest else "1 or more"
        raise ConfigurationError(f"{name}={value!r} is out of range: it must be {limits}")
    return number


def _int_or_zero(name: str, value: str) -> int:
    return 0 if value in ("", "0") else _int(name, value)


def _float(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigurationError(f"{name}={value!r} is no number of seconds")
    try:
        number = float(value)
    except ValueError:
        raise ConfigurationError(f"{name}={value!r} is no number of seconds") from None
    if not 0 < number < 10**9:
        raise ConfigurationError(
            f"{name}={value!r} is out of range: it must be more than 0 seconds"
        )
    return number


def _str(name: str, value: Any) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        # The value itself is not shown: it may be a password.
        raise ConfigurationError(f"{name} must be text, not {type(value).__name__}")
    if name not in ("username", "password"):
        if not text:
            raise ConfigurationError(f"{name} is empty: give a value, or leave it out")
        if any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
            raise ConfigurationError(f"{name}={text!r} holds a control character: take it out")
    # A colon is an address of IPv6, and nothing else.
    if name in ("host", "local_hostname") and (
        any(c in text for c in " /@<>") or text.count(":") == 1
    ):
        raise ConfigurationError(f"{name}={text!r} is no host name: write it without port or path")
    return text


def _strings(name: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if not is_list or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{name}={value!r} must be a list of names")
    return tuple(item.upper() for item in value)


def _address(name: str, value: Any) -> tuple[str, int]:
    try:
        host, port = value
        return _str("host", host) if host else "", _int("port", port) if port else 0
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}={value!r}: {error}") from None
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}={value!r} must be a pair of host and port") from None


def _context(name: str, value: Any) -> Any:
    if not hasattr(value, "wrap_socket"):
        raise ConfigurationError(f"{name} must be an ssl.SSLContext, not {type(value).__name__}")
    return value


def _callable(name: str, value: Any) -> Any:
    if not callable(value):
        raise ConfigurationError(f"{name} must be callable, not {type(value).__name__}")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "Security": _str,
    "Protocol": _str,
    "tuple[str, ...]": _strings,
    "tuple[str, int]": _address,
    "ssl.SSLContext": _context,
    "Callable[[], str]": _callable,
}


# What these are called elsewhere: in Django, Flask-Mail, smtplib and other URLs.
_ELSEWHERE = {
    "use_tls": "security='starttls'",
    "use_starttls": "security='starttls'",
    "starttls": "security='starttls'",
    "use_ssl": "security='tls'",
    "ssl": "security='tls'",
    "tls": "security='starttls', or 'tls' from the first byte",
    "user": "username",
    "server": "host",
    "hostname": "host",
}


def unknown_option(name: str, known: tuple[str, ...], *, label: str = "option") -> str:
    """The text for an unknown name: the nearest known one, or all of them."""
    if label == "option" and name.lower() in _ELSEWHERE:
        return f"unknown option {name!r}: here it is {_ELSEWHERE[name.lower()]}"
    nearest = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
    return f"unknown {label} {name!r}: {mend}"
