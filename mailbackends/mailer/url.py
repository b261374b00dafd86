"""A server as a URL: ``smtp+starttls://user:secret@mail.example.com:587?pool_size=8``.

======================  ==========================================================
``smtp://``             no TLS, port 25
``smtp+starttls://``    TLS by STARTTLS, port 587
``smtps://``            TLS from the first byte, port 465 (RFC 8314)
``lmtp://``             LMTP, port 24
``lmtp+unix:///path``   LMTP over a Unix socket
======================  ==========================================================

In user name and password, ``/ ? # % :`` and, in the password, ``@`` are percent-encoded, as UTF-8.
The query sets any other option by its name.

One grammar both parses a URL and masks it for people. Of a URL that does not match it, only the
scheme is shown: its password could begin or end anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

from mailbackends.secret import NotText, Secret
from mailbackends.texts import did_you_mean, plain_text

__all__ = ["SCHEMES", "ParsedURL", "SecretURL", "hide_urls", "is_loopback", "parsed", "server_urls"]

SCHEMES: dict[str, dict[str, str]] = {
    "smtp": {"security": "none"},
    "smtp+starttls": {"security": "starttls"},
    "smtps": {"security": "tls"},
    "lmtp": {"protocol": "lmtp"},
    "lmtp+unix": {"protocol": "lmtp"},
}
"""The options that each scheme sets."""

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://"
    r"(?:(?P<user>[^:/?#]*)(?P<colon>:(?P<password>[^/?#]*))?@)?"
    r"(?P<host>\[[0-9a-f:.%]*\]|[^@:,/?#\[\]]*)(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<more>,[^@/?#]*)?"  # stores for the rate may name several hosts
    r"(?P<path>/[^@?#]*)?"
    r"(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_NAME = re.compile(r"[a-z_]{1,40}")

_ENCODE = (
    "a user name or a password ends at the first / ? or #: write / as %2F, ? as %3F and # as %23"
)
_BOTH_KINDS = (
    "write smtp+starttls:// for STARTTLS (port 587), or smtps:// for TLS from the first byte "
    "(port 465)"
)
_FORM = "write smtp+starttls://user:password@smtp.example.com:587"


Query: TypeAlias = tuple[tuple[str, str | Secret], ...]


class SecretURL(Secret):
    """A URL that may contain a password. As text it is shown without it."""

    __slots__ = ()

    def __str__(self) -> str:
        return _masked(self.reveal())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def masked_in(self, text: str) -> str:
        """The text of a library that was given the URL, without it and without its password."""
        match = _URL.fullmatch(self.reveal())
        hidden = [self.reveal()]
        if match is not None and match["password"]:
            hidden += [match["password"], unquote(match["password"], errors="replace")]
        for each in hidden:
            text = text.replace(each, "***")
        return text


def hide_urls(given: Any, *, other: tuple[type, ...] = ()) -> Any:
    """A `SecretURL` for a URL, and a list of them for a list.

    None and instances of ``other`` are returned as they are. Anything else is replaced by its type
    (`NotText`), since it may contain a URL.
    """
    if given is None or isinstance(given, (SecretURL, NotText, *other)):
        return given
    if isinstance(given, Secret):
        return SecretURL(given)
    if (text := plain_text(given)) is not None:
        return SecretURL(text)
    if isinstance(given, Iterable) and not isinstance(given, bytes | Mapping):
        return [hide_urls(each, other=other) for each in given]
    return NotText(type(given).__name__)


def is_loopback(host: str) -> bool:
    """True for this machine's own name and addresses."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def server_urls(given: Any) -> list[Any]:
    """Several URLs: a text with white space between them, as in a variable, or a list.

    What is not text is left in as a `NotText`, for `Options.parse_url` to refuse.
    """
    hidden = hide_urls(given)
    if isinstance(hidden, SecretURL):
        return [SecretURL(each) for each in hidden.reveal().split()]
    if isinstance(hidden, list):
        return hidden
    return [] if hidden is None else [hidden]


@dataclass(frozen=True, slots=True)
class ParsedURL:
    """The parts of a URL, or what is wrong with it."""

    scheme: str = ""
    host: str = ""
    port: int | None = None
    socket_path: str | None = None
    username: str | None = None
    password: Secret | None = None
    query: Query = ()
    """Names and values, both decoded, in the order given."""
    problem: str | None = None


def parsed(url: SecretURL, *, known: Collection[str], secret: Collection[str]) -> ParsedURL:
    """The parts of a URL of a server. Never raises: see `ParsedURL.problem`.

    So the frame of an error that is raised for it has no variable with the password.
    ``known`` are the names of all options, ``secret`` those whose values are secrets.
    """
    text = url.reveal()
    if _UNSAFE.search(text):
        return ParsedURL(
            problem="contains white space or a control character: percent-encode it, a space as %20"
        )
    if "://" not in text:
        return ParsedURL(problem="has no '://': write smtp://host, or give the name as host='...'")
    match = _URL.fullmatch(text)
    if match is None:
        return ParsedURL(problem=_why_not(text))
    scheme = match["scheme"].lower()
    if scheme not in SCHEMES:
        # "tls" alone means STARTTLS to some, and TLS from the first byte to others.
        fix = _BOTH_KINDS if re.search("tls|ssl", scheme) else did_you_mean(scheme, SCHEMES)
        return ParsedURL(problem=f"has the unknown scheme {scheme!r}: {fix}")
    try:
        query = _query(match["query"], known, secret)
        return (
            _decoded(scheme, match, query)
            if not isinstance(query, str)
            else ParsedURL(problem=query)
        )
    except UnicodeDecodeError:
        return ParsedURL(problem="is not percent-encoded UTF-8: write é as %C3%A9")


def _decoded(scheme: str, match: re.Match[str], query: Query) -> ParsedURL:
    path, more = match["path"] or "", match["more"]
    if scheme == "lmtp+unix":
        authority = match["user"] is not None or match["host"] or match["port"] is not None
        if authority or more or len(path) < 2:
            return ParsedURL(problem="names no socket: write lmtp+unix:///path/to/socket")
        return ParsedURL(scheme, socket_path=_unquoted(path), query=query)
    if path not in ("", "/"):
        return ParsedURL(problem=f"has a path: {_ENCODE}")
    host = match["host"].strip("[]").lower()
    if not host:
        return ParsedURL(problem=f"names no host: write {scheme}://host")
    port = match["port"]
    if more or (port and not 1 <= int(port) <= 65535):
        return ParsedURL(problem="has a wrong port: write a number from 1 to 65535")
    user, password = match["user"], match["password"]
    return ParsedURL(
        scheme,
        host=host,
        port=int(port) if port else None,
        username=None if user is None else _unquoted(user),
        password=None if password is None else Secret(_unquoted(password)),
        query=query,
    )


def _query(text: str | None, known: Collection[str], secret: Collection[str]) -> Query | str:
    """Names and values, or what is wrong. A name could be the end of a password: see below."""
    found: list[tuple[str, str | Secret]] = []
    has_secret = False
    for pair in filter(None, (text or "").split("&")):
        name, _, value = pair.partition("=")
        if not _NAME.fullmatch(name):
            return f"has a query that is not name=value&name=value: {_ENCODE}"
        if has_secret and name not in known:
            return "has an unknown option after a password: write & in a password as %26"
        decoded = _unquoted(value)
        has_secret = has_secret or name in secret
        found.append((name, Secret(decoded) if name in secret else decoded))
    return tuple(found)


def _unquoted(text: str) -> str:
    return unquote(text, errors="strict")


def _why_not(text: str) -> str:
    """Why the text does not match the grammar, without quoting any of it."""
    rest = text.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "#" in rest or "@" in rest[len(authority) :]:
        return f"has a path or a fragment: {_ENCODE}"
    if not _SCHEME.match(text):
        return f"does not begin with a scheme: {_FORM}"
    if "[" in authority or "]" in authority:
        return "has a wrong IPv6 address: write it as [2001:db8::1]"
    return f"has a wrong port: write a number from 1 to 65535, and the whole as in {_FORM[6:]}"


def _masked(text: str) -> str:
    """The URL without its password, and without anything else that may be a secret."""
    match = _URL.fullmatch(text)
    if match is None or _UNSAFE.search(text):
        scheme = _SCHEME.match(text)
        return f"{scheme[1]}://***" if scheme else "***"
    user = ""
    if match["user"] is not None:
        user = f"{match['user']}:***@" if match["colon"] else "***@"
    port = "" if match["port"] is None else f":{match['port']}"
    query = "" if match["query"] is None else "?***"
    return (
        f"{match['scheme']}://{user}{match['host']}{port}{match['more'] or ''}"
        f"{match['path'] or ''}{query}"
    )
