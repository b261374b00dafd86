"""TLS that fails: each bad certificate, TLS 1.1 only, and 220 to STARTTLS with no TLS behind it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

import mailbackends
from interop.clients import Access, Client
from interop.letters import Letter
from interop.place import CLIENTS, Place
from interop.table import Table
from interop.world import World
from support.scripted import Peer, ScriptedServer

# What is wrong -> what the error says of it, and of the mend.
CERTIFICATES = {
    "expired": "it has expired: the server's administrator must renew it",
    "self-signed": r"it is self-signed: give its file (as ssl_cafile|in context=.*) if",
    "wrong name": "it was issued for another address: connect by a name that stands in",
    "wrong CA": "its CA is unknown here: give the CA's file (as ssl_cafile|in context=.*) if",
}
HANDSHAKES = {
    "TLS 1.1": "it only speaks a TLS version that is too old: have it updated to TLS 1.2",
    "no cipher": "the server takes none of the ciphers offered, or wants a certificate of ours",
}


GO_AHEAD = b"220 go ahead\r\n"


def hangs_up(peer: Peer) -> None:
    """Ends the connection in the handshake."""
    peer.send(GO_AHEAD)
    peer.fill()


def goes_on_in_clear(peer: Peer) -> None:
    """Says what is no TLS, once the client has begun."""
    peer.send(GO_AHEAD)
    peer.fill()
    peer.send(b"250 mail.test still in clear\r\n")
    peer.read_to_end()


def says_more(peer: Peer) -> None:
    """Sends a reply to what was not asked yet, as somebody on the way would."""
    peer.send(GO_AHEAD + b"250-mail.test\r\n250 AUTH PLAIN\r\n")
    peer.read_to_end()


# What is done in place of TLS -> by whom, and what the error is and says.
BEHIND_220: dict[str, tuple[Callable[[Peer], None], type[Exception], str]] = {
    "220, then it hangs up": (
        hangs_up,
        mailbackends.SMTPTLSError,
        "the server closed the connection: look into its log",
    ),
    "220, then no TLS": (
        goes_on_in_clear,
        mailbackends.SMTPTLSError,
        "if it has just taken STARTTLS, look into its log",
    ),
    "220, and more in clear": (
        says_more,
        mailbackends.SMTPProtocolError,
        "bytes in clear followed the reply to STARTTLS",
    ),
}


def error_of(world: World, cafile: str, client: str, need: str) -> Exception:
    """What the caller is told by Postfix, once it is seen that nothing arrived."""
    place = Place(world.server("Postfix"), CLIENTS[client], cafile)
    letter = Letter()
    with place.client(need, security=need.rpartition(" ")[2]) as one:
        error = told(one, letter)
    assert not place.server.found(letter.token)
    return error


def told(client: Client, letter: Letter) -> Exception:
    """The error of a letter that was not sent."""
    sent = client.send(letter)
    assert sent.error is not None
    assert sent.outcome == "not_sent" or client.name == "SMTP"
    return sent.error


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("way", ["starttls", "tls"])
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_bad_certificate_is_told_of_with_what_to_do(
    kind: str, way: str, client: str, world: World, cafile: str, table: Table
) -> None:
    error = error_of(world, cafile, client, f"{kind} {way}")
    assert isinstance(error, mailbackends.SMTPCertificateError)
    assert re.search(CERTIFICATES[kind], str(error)), str(error)
    table.note_error(f"certificate: {kind}", client, error)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("need", ["TLS 1.1 starttls", "TLS 1.1 tls", "no cipher starttls"])
def test_a_handshake_that_fails_is_told_of_with_what_to_do(
    need: str, client: str, world: World, cafile: str, table: Table
) -> None:
    error = error_of(world, cafile, client, need)
    assert isinstance(error, mailbackends.SMTPTLSError)
    kind = need.rpartition(" ")[0]
    assert re.search(HANDSHAKES[kind], str(error)), str(error)
    table.note_error(
        {"TLS 1.1": "TLS 1.1 only", "no cipher": "220, then no common cipher"}[kind], client, error
    )


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", BEHIND_220)
def test_a_220_to_starttls_with_no_tls_behind_it_is_told_of_and_nothing_goes_in_clear(
    kind: str, client: str, cafile: str, table: Table
) -> None:
    act, error_type, text = BEHIND_220[kind]

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
            error = told(one, Letter())
    assert isinstance(error, error_type), repr(error)
    assert text in str(error)
    for peer in server.peers:
        _, _, behind = bytes(peer.received).upper().partition(b"STARTTLS\r\n")
        assert behind[:1] in (b"", b"\x16"), "this is no record of a handshake"
    table.note_error(kind, client, error)


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_the_same_server_with_a_good_certificate_takes_the_message(
    way: str, world: World, cafile: str
) -> None:
    place = Place(world.server("Postfix"), CLIENTS["Mailer"], cafile)
    with place.client("plain" if way == "starttls" else "tls", security=way) as client:
        assert dataclasses.asdict(client.access)["security"] == way
        place.deliver(client, Letter())
