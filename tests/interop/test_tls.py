"""Postfix with each bad certificate, with TLS 1.1 only, and with no cipher after its 220."""

from __future__ import annotations

import dataclasses
import re

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

import mailbackends
from interop.letters import Letter
from interop.place import CLIENTS, Place
from interop.world import World

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


def error_of(world: World, cafile: str, client: str, need: str) -> Exception:
    """What the caller is told, once it is seen that nothing arrived."""
    place = Place(world.server("Postfix"), CLIENTS[client], cafile)
    letter = Letter()
    with place.client(need, security=need.rpartition(" ")[2]) as one:
        sent = one.send(letter)
    assert sent.error is not None
    assert sent.outcome == "not sent" or client == "SMTP"
    assert not place.server.found(letter.token)
    return sent.error


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("way", ["starttls", "tls"])
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_bad_certificate_is_told_of_with_what_to_do(
    kind: str, way: str, client: str, world: World, cafile: str
) -> None:
    error = error_of(world, cafile, client, f"{kind} {way}")
    assert isinstance(error, mailbackends.SMTPCertificateError)
    assert re.search(CERTIFICATES[kind], str(error)), str(error)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("need", ["TLS 1.1 starttls", "TLS 1.1 tls", "no cipher starttls"])
def test_a_handshake_that_fails_is_told_of_with_what_to_do(
    need: str, client: str, world: World, cafile: str
) -> None:
    error = error_of(world, cafile, client, need)
    assert isinstance(error, mailbackends.SMTPTLSError)
    assert re.search(HANDSHAKES[need.rpartition(" ")[0]], str(error)), str(error)


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_the_same_server_with_a_good_certificate_takes_the_message(
    way: str, world: World, cafile: str
) -> None:
    place = Place(world.server("Postfix"), CLIENTS["Mailer"], cafile)
    with place.client("plain" if way == "starttls" else "tls", security=way) as client:
        assert dataclasses.asdict(client.access)["security"] == way
        place.deliver(client, Letter())
