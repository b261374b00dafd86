"""The options of a Mailer, described once: name, type, kind, default, text."""

# ruff: noqa: RUF009 - _option() returns a dataclasses.Field

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mailbackends.dkim import DKIM
from mailbackends.mailer import option_kinds as kinds
from mailbackends.mailer.option_kinds import Kind
from mailbackends.mailer.url import hide_urls
from mailbackends.secret import Secret
from mailbackends.suppression.store import SuppressionList
from mailbackends.texts import did_you_mean

__all__ = ["Option", "OptionTable", "hide_secrets", "unknown_option"]

Security = Literal["none", "starttls", "tls"]
Protocol = Literal["smtp", "lmtp"]
AutoSubmitted = Literal["auto-generated", "auto-replied"]
OAuth = Literal["microsoft", "google", "refresh_token"]


@dataclass(frozen=True, slots=True)
class Option:
    """The description of one option, from which documentation and checks can be made."""

    name: str
    kind: Kind
    default: Any
    accepts_none: bool
    text: str
    """What it does, as a sentence or two in reStructuredText."""


def _option(kind: Kind, default: Any, text: str) -> Any:
    return field(default=default, repr=not kind.is_secret, metadata={"kind": kind, "text": text})


@dataclass(frozen=True, kw_only=True)
class OptionTable:
    """The fields of `Options`. Times are in seconds."""

    host: str = _option(kinds.HOST, "localhost", "The server's name or address.")
    port: int | None = _option(
        kinds.PORT, None, "None: 25, 587 (``starttls``), 465 (``tls``), or 24 for LMTP."
    )
    security: Security = _option(
        kinds.one_of("none", "starttls", "tls"),
        "none",
        "``none``, ``starttls``, or ``tls`` from the first byte. Certificate and host name are "
        "verified; without an offer of STARTTLS nothing is sent.",
    )
    protocol: Protocol = _option(
        kinds.one_of("smtp", "lmtp"),
        "smtp",
        "``smtp``, or ``lmtp`` to deliver to a mail store such as Dovecot.",
    )
    socket_path: str | None = _option(
        kinds.PATH, None, "A Unix socket in place of host and port, for LMTP."
    )

    username: str | None = _option(
        kinds.LOGIN, None, "The user name of the login. Both or neither."
    )
    password: str | Secret | None = _option(
        kinds.SECRET, None, "The password of the login. It is stored as a `Secret`."
    )
    token_provider: Callable[[], str] | None = _option(
        kinds.TOKEN_PROVIDER,
        None,
        "A function that returns an OAuth 2.0 access token, instead of a password. Called for each "
        "login, and once more after a 535, because the token may have expired.",
    )
    oauth: OAuth | None = _option(
        kinds.one_of("microsoft", "google", "refresh_token"),
        None,
        "Log in with an OAuth 2.0 token from this provider: ``microsoft``, ``google`` or "
        "``refresh_token``.",
    )
    tenant: str | None = _option(kinds.TEXT, None, "Microsoft: the tenant's id or domain.")
    client_id: str | None = _option(kinds.TEXT, None, "The id of the OAuth client.")
    client_secret: str | Secret | None = _option(
        kinds.SECRET, None, "Its secret. Default: ``MAILBACKENDS_CLIENT_SECRET``."
    )
    client_secret_file: str | None = _option(
        kinds.PATH, None, "A file whose first line is the client's secret."
    )
    certificate_file: str | None = _option(
        kinds.PATH, None, "Microsoft: a PEM file with key and certificate, instead of a secret."
    )
    managed_identity: bool = _option(
        kinds.FLAG, False, "Microsoft: use the managed identity of this Azure machine."
    )
    service_account_file: str | None = _option(
        kinds.PATH, None, "Google: the key of the service account, a JSON file."
    )
    token_url: str | None = _option(kinds.TEXT, None, "Refresh token: the token endpoint.")
    refresh_token: str | Secret | None = _option(
        kinds.SECRET, None, "The refresh token. Default: ``MAILBACKENDS_REFRESH_TOKEN``."
    )
    refresh_token_file: str | None = _option(
        kinds.PATH,
        None,
        "A file whose first line is the refresh token. A token that replaces it is written there.",
    )
    auth_mechanisms: tuple[str, ...] | None = _option(
        kinds.NAMES, None, "The mechanisms allowed. None: all that fit, from strong to weak."
    )
    allow_cleartext_auth: bool = _option(
        kinds.FLAG,
        False,
        "Log in without TLS to a server on another machine too. Anybody in between can read the "
        "password.",
    )

    local_hostname: str | None = _option(
        kinds.HOST, None, "The name given in EHLO. None: this host's full name, or its address."
    )
    source_address: tuple[str, int] | None = _option(
        kinds.ADDRESS, None, "The local address and port (0: any) to connect from."
    )

    timeout: float | None = _option(
        kinds.SECONDS,
        30.0,
        "The longest wait for one reply. RFC 5321 allows minutes, but users do not wait that long.",
    )
    connect_timeout: float | None = _option(
        kinds.SECONDS,
        None,
        "The longest wait for the TCP connection, and for the TLS handshake. None: ``timeout``.",
    )
    content_timeout: float | None = _option(
        kinds.SECONDS,
        120.0,
        "The longest wait for the reply to the content. Servers scan it first, and giving up "
        "leaves the outcome unknown.",
    )
    deadline: float | None = _option(
        kinds.SECONDS, 180.0, "The longest time for one message, all waits included."
    )

    pool_size: int = _option(
        kinds.COUNT,
        4,
        "The most connections at a time. Many providers allow ten or twenty from one client, and "
        "several processes may share that number.",
    )
    pool_timeout: float | None = _option(
        kinds.SECONDS, 30.0, "The longest wait for a connection while all are busy."
    )
    max_messages_per_connection: int = _option(
        kinds.COUNT,
        100,
        "Messages on one connection, after which it is closed: the number at which common servers "
        "close.",
    )
    max_lifetime: float = _option(
        kinds.SECONDS,
        600.0,
        "Time since it was opened after which a connection is closed, so that a change of the "
        "server's address or certificate is noticed.",
    )
    max_idle: float = _option(
        kinds.SECONDS,
        60.0,
        "Time unused after which a connection is closed. Servers close idle connections after one "
        "to five minutes.",
    )

    min_idle: int = _option(
        kinds.NUMBER,
        0,
        "Connections that are opened ahead, checked and renewed in the background, so that no "
        "message waits for a cold or dead one. 0: none.",
    )

    ssl_context: ssl.SSLContext | None = _option(
        kinds.TLS_CONTEXT,
        None,
        "Used as it is. The other ``ssl_`` options have no meaning with it and are refused.",
    )
    ssl_cafile: str | None = _option(
        kinds.PATH, None, "A file of CA certificates (PEM) to trust in place of the system's."
    )
    ssl_certfile: str | None = _option(
        kinds.PATH, None, "A file with our own certificate (PEM), for servers that ask for one."
    )
    ssl_keyfile: str | None = _option(
        kinds.PATH, None, "The file with its key, where ``ssl_certfile`` does not contain it."
    )
    tls_minimum_version: str = _option(
        kinds.TEXT, "TLSv1.2", "``TLSv1.2`` or ``TLSv1.3``; older versions are refused."
    )

    pipelining: bool = _option(
        kinds.FLAG, True, "Send commands in groups where the server announces it (RFC 2920)."
    )
    chunking: bool = _option(
        kinds.FLAG, True, "Send content by BDAT where the server announces it (RFC 3030)."
    )
    fast_paths: bool = _option(
        kinds.FLAG,
        True,
        "Serialise plain messages with our own code, which gives the same bytes as the email "
        "package. False leaves all to that package.",
    )
    batch_connections: int = _option(
        kinds.COUNT, 1, "How many connections a batch may use side by side."
    )
    batch_pipeline: int = _option(
        kinds.COUNT,
        1,
        "How many messages a batch may send over one connection before the first of them was "
        "answered. More than 1 only for a server that is known to accept that.",
    )

    dkim: tuple[DKIM, ...] | None = _option(
        kinds.DKIM_KEYS,
        None,
        "The key that signs messages (RFC 6376), as a dictionary or a `DKIM`; a list for several.",
    )

    auto_submitted: AutoSubmitted | None = _option(
        kinds.one_of("auto-generated", "auto-replied"),
        None,
        "Mark messages as automatic, so that no absence note answers them: Auto-Submitted (RFC "
        "3834) and X-Auto-Response-Suppress, unless a message has them.",
    )

    suppression: SuppressionList | None = _option(
        kinds.SUPPRESSION_LIST,
        None,
        "The list of addresses that get no mail, asked once for each message or batch: a "
        "``SuppressionStore``, or any object with ``suppressed(addresses, stream)``.",
    )

    rate: str | None = _option(
        kinds.TEXT,
        None,
        "How many messages may go in which time: ``100/minute``, ``14/second; 50000/day``.",
    )
    rate_storage: str | Secret | None = _option(
        kinds.SECRET_URL,
        None,
        "A store in which many processes count together, such as ``redis://localhost``. The "
        "URL is stored as a `Secret`, since it may contain a password.",
    )

    circuit_failures: int = _option(
        kinds.COUNT, 3, "With several servers: faults in a row after which this one comes last."
    )
    circuit_pause: float = _option(
        kinds.SECONDS, 30.0, "The time after which a message is tried there again."
    )

    @classmethod
    @functools.cache
    def table(cls) -> Mapping[str, Option]:
        """The description of each option, by name, in the order of the documentation."""
        return {
            each.name: Option(
                each.name,
                each.metadata["kind"],
                each.default,
                str(each.type).endswith("| None"),
                each.metadata["text"],
            )
            for each in fields(cls)
            if "kind" in each.metadata
        }


_NONE: frozenset[str] = frozenset()


def hide_secrets(
    options: Mapping[str, Any], *, plain: frozenset[str] = _NONE, urls: frozenset[str] = _NONE
) -> dict[str, Any]:
    """The same options, with each secret as a `Secret`.

    So are the values of unknown names, since one may be a misspelled password; ``plain`` are
    further names that are known, and ``urls`` names whose values are URLs of servers.
    A caller rebinds its variable to the result in its first line:
    ``options = hide_secrets(options)``.
    """
    hidden = dict(options)
    for name in set(hidden).difference(_harmless(plain)):
        if (value := hidden[name]) is None:
            continue
        if name in urls:
            hidden[name] = hide_urls(value)
        else:
            known = OptionTable.table().get(name)
            hidden[name] = kinds.hidden(known.kind if known else None, value)
    return hidden


@functools.cache
def _harmless(plain: frozenset[str]) -> frozenset[str]:
    table = OptionTable.table().items()
    harmless = {name for name, each in table if each.kind is not kinds.HOST}
    secret = {name for name, each in table if each.kind.is_secret}
    return (plain | harmless | {"wording"}) - secret


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


_SCHEME_FOR = {
    "security='starttls'": "smtp+starttls://",
    "security='tls'": "smtps://",
    "security='starttls', or 'tls' from the first byte": "smtp+starttls:// or smtps://",
}


def unknown_option(name: str, *, in_url: bool = False) -> str:
    """The text for an unknown option: what it is called here, or the nearest name."""
    if name.lower() in _ELSEWHERE:
        if in_url and (scheme := _SCHEME_FOR.get(_ELSEWHERE[name.lower()])):
            return f"unknown option {name!r}: write {scheme} in the URL"
        return f"unknown option {name!r}: use {_ELSEWHERE[name.lower()]}"
    return f"unknown option {name!r}: {did_you_mean(name, OptionTable.table())}"
