"""TLS that fails: bad certificates, TLS 1.1 only, and 220 to STARTTLS without TLS after it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

import mailbackends
from interop.cell import CLIENTS, Cell
from interop.clients import Access, Client
from interop.mails import Mail
from interop.servers.all import AllServers
from interop.table import Table
from support.scripted import Peer, ScriptedServer

# What each client calls the file of a CA.
CAFILE = (
    r"(ssl_cafile|context=ssl\.create_default_context\(cafile=\.\.\.\)|MAIL_SSL_CAFILE|"
    r"(OPTIONS|MAILBACKENDS)\['ssl_cafile'\])"
)
# The fault -> what the error says about it and its fix.
CERTIFICATES = {
    "expired": "it has expired: the server's administrator must renew it",
    "self-signed": rf"it is self-signed: give its file as {CAFILE} if",
    "wrong name": "it was issued for another address: connect by a name that the certificate",
    "wrong CA": rf"its CA is unknown here: give the CA's file as {CAFILE} if",
}
HANDSHAKES = {
    "TLS 1.1": "it only speaks a TLS version that is too old: have it updated to TLS 1.2",
    "no cipher": "the server takes none of the ciphers offered, or wants a certificate of ours",
}


GO_AHEAD = b"220 go ahead\r\n"


def hangs_up(peer: Peer) -> None:
    """Close the connection during the handshake."""
    peer.send(GO_AHEAD)
    peer.fill()


def goes_on_in_clear(peer: Peer) -> None:
    """Send a reply in clear text after the client has begun the handshake."""
    peer.send(GO_AHEAD)
    peer.fill()
    peer.send(b"250 mail.test still in clear\r\n")
    peer.read_to_end()


def sends_more(peer: Peer) -> None:
    """Send a reply before it was asked for, as an attacker on the path would."""
    peer.send(GO_AHEAD + b"250-mail.test\r\n250 AUTH PLAIN\r\n")
    peer.read_to_end()


# What the server does instead of TLS -> by which function, the error and its text.
AFTER_220: dict[str, tuple[Callable[[Peer], None], type[Exception], str]] = {
    "220, then it hangs up": (
        hangs_up,
        mailbackends.SMTPTLSError,
        "the server closed the connection: look into its log",
    ),
    "220, then no TLS": (
        goes_on_in_clear,
        mailbackends.SMTPTLSError,
        "the server does not speak TLS here: look into its log",
    ),
    "220, and more in clear": (
        sends_more,
        mailbackends.SMTPProtocolError,
        "bytes in clear followed the reply to STARTTLS",
    ),
}


def error_of(all_servers: AllServers, cafile: str, client: str, need: str) -> Exception:
    """The error that the caller gets for Postfix, after checking that nothing arrived."""
    cell = Cell(all_servers.server("Postfix"), CLIENTS[client], cafile)
    mail = Mail()
    with cell.client(need, security=need.rpartition(" ")[2]) as one:
        error = failure(one, mail)
    assert not cell.server.found(mail.token)
    return error


def failure(client: Client, mail: Mail) -> Exception:
    """The error of a mail that was not sent."""
    sent = client.send(mail)
    assert sent.error is not None
    assert sent.outcome == "not_sent" or client.name == "SMTP"
    return sent.error


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("way", ["starttls", "tls"])
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_bad_certificate_is_reported_with_a_fix(
    kind: str, way: str, client: str, all_servers: AllServers, cafile: str, table: Table
) -> None:
    error = error_of(all_servers, cafile, client, f"{kind} {way}")
    assert isinstance(error, mailbackends.SMTPCertificateError)
    assert re.search(CERTIFICATES[kind], str(error)), str(error)
    table.note_error(f"certificate: {kind}", client, error)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("need", ["TLS 1.1 starttls", "TLS 1.1 tls", "no cipher starttls"])
def test_a_failed_handshake_is_reported_with_a_fix(
    need: str, client: str, all_servers: AllServers, cafile: str, table: Table
) -> None:
    error = error_of(all_servers, cafile, client, need)
    assert isinstance(error, mailbackends.SMTPTLSError)
    kind = need.rpartition(" ")[0]
    assert re.search(HANDSHAKES[kind], str(error)), str(error)
    table.note_error(
        {"TLS 1.1": "TLS 1.1 only", "no cipher": "220, then no common cipher"}[kind], client, error
    )


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", AFTER_220)
def test_a_220_to_starttls_without_tls_is_reported_and_nothing_is_sent_in_clear(
    kind: str, client: str, cafile: str, table: Table
) -> None:
    act, error_type, text = AFTER_220[kind]

    def play(peer: Peer) -> None:
        peer.send(b"220 mail.test\r\n")
        assert peer.read_line().upper().startswith(b"EHLO")
        peer.send(b"250-mail.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
        assert peer.read_line() == b"STARTTLS"
        act(peer)

    with ScriptedServer(play) as server:
        access = Access(
            server.port, security="starttls", cafile=cafile, username="user", password="secret"
        )
        with CLIENTS[client](access) as one:
            error = failure(one, Mail())
    assert isinstance(error, error_type), repr(error)
    assert text in str(error)
    for peer in server.peers:
        _, _, after = bytes(peer.received).upper().partition(b"STARTTLS\r\n")
        assert after[:1] in (b"", b"\x16"), "not a record of a handshake"
    table.note_error(kind, client, error)


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_the_same_server_with_a_good_certificate_accepts_the_message(
    way: str, all_servers: AllServers, cafile: str
) -> None:
    cell = Cell(all_servers.server("Postfix"), CLIENTS["Mailer"], cafile)
    with cell.client("plain" if way == "starttls" else "tls", security=way) as client:
        assert dataclasses.asdict(client.access)["security"] == way
        cell.deliver(client, Mail())
