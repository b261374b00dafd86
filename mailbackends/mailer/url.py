"""A server as a URL: ``smtp+starttls://user:secret@mail.example.com:587?pool_size=8``.

======================  ==========================================================
``smtp://``             no TLS, port 25
``smtp+starttls://``    TLS by STARTTLS, port 587
``smtps://``            TLS from the first byte, port 465 (RFC 8314)
``lmtp://``             LMTP, port 24
``lmtp+unix:///path``   LMTP over a Unix socket
======================  ==========================================================

User name and password are percent-encoded where they hold one of ``/ ? # [ ] @ : %``.
The query holds any other option by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mailbackends.errors import ConfigurationError
from mailbackends.mailer import option_values
from mailbackends.mailer.option_values import unknown_option

__all__ = ["masked", "parse"]

_SCHEMES: dict[str, dict[str, str]] = {
    "smtp": {"security": "none"},
    "smtp+starttls": {"security": "starttls"},
    "smtps": {"security": "tls"},
    "lmtp": {"protocol": "lmtp"},
    "lmtp+unix": {"protocol": "lmtp"},
}

_ENCODE = "write / as %2F, ? as %3F and # as %23"


def masked(url: str) -> str:
    """The URL without its password, for people to see."""
    shown = re.sub(r"(//[^:@/?#]*):.*@", r"\1:***@", url, flags=re.S)
    return re.sub(r"([?&](?:password|rate_storage)=)[^&#]*", r"\1***", shown)


def parse(url: str, types: Mapping[str, str]) -> dict[str, Any]:
    """The options that a URL stands for; ``types`` are those of all options by name.

    Raises:
        ConfigurationError: scheme, port or a query parameter is wrong. The password is
            never shown.
    """
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ConfigurationError(
            f"the URL {masked(url)!r} holds white space or a control character"
        )
    if "://" not in url:
        # The URL is not shown: it may begin with a password.
        raise ConfigurationError(
            "the URL has no '://': write smtp://host, or give the name as host='...'"
        )
    parts, port = _split(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(unknown_option(parts.scheme, tuple(_SCHEMES), label="URL scheme"))
    options: dict[str, Any] = dict(_SCHEMES[parts.scheme])
    if parts.scheme == "lmtp+unix":
        if parts.netloc or len(parts.path) < 2:
            raise ConfigurationError(
                f"the URL {masked(url)!r} names no socket: write lmtp+unix:///path/to/socket"
            )
        options["socket_path"] = unquote(parts.path)
    else:
        options |= _server(url, parts, port)
    for name, value in _query(parts, types).items():
        if name in options:
            raise ConfigurationError(
                f"{name} stands in the query of the URL {masked(url)!r}, and before it: "
                "write it once"
            )
        options[name] = value
    return options


def _split(url: str) -> tuple[SplitResult, int | None]:
    problem = "it is no URL"
    try:
        parts = urlsplit(url)
        problem = "its port is no number from 1 to 65535"
        if "@" in url[url.index("//") + 2 + len(parts.netloc) :]:
            # What looks like a port is the beginning of a password.
            problem = f"user name and password end at the first / ? or #: {_ENCODE}"
        port = parts.port
    except ValueError:
        # What the standard library says may show the password.
        raise ConfigurationError(f"the URL {masked(url)!r} is wrong: {problem}") from None
    if port == 0:
        raise ConfigurationError(f"the URL {masked(url)!r} is wrong: {problem}")
    return parts, port


def _server(url: str, parts: SplitResult, port: int | None) -> dict[str, Any]:
    if not parts.hostname:
        raise ConfigurationError(
            f"the URL {masked(url)!r} names no host: write {parts.scheme}://host"
        )
    if parts.path not in ("", "/") or parts.fragment:
        raise ConfigurationError(
            f"the URL {masked(url)!r} has a path or a fragment: if that is part of the "
            f"password, {_ENCODE}"
        )
    options: dict[str, Any] = {"host": parts.hostname}
    if port is not None:
        options["port"] = port
    if parts.username is not None:
        options["username"] = unquote(parts.username)
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    return options


def _query(parts: SplitResult, types: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in types:
            raise ConfigurationError(unknown_option(name, tuple(types)))
        if name in options:
            raise ConfigurationError(f"the option {name!r} stands twice in the URL")
        options[name] = option_values.from_text(name, text, types[name])
    return options
