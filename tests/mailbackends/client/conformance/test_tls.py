"""STARTTLS and SMTP_SSL: as the standard library has them, and safe by default."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from mailbackends.known_errors import INJECTED
from support import certs
from support.conformance import OURS, Raised, Scenario, World, on_client
from support.peer import Peer
from support.talk import HANG_UP, SILENCE, Talk, TalkServer

OFFERED = "250-mail.test\r\n250-STARTTLS\r\n250 SIZE 10"
STARTTLS = Talk(ehlo=[OFFERED, "250-mail.test\r\n250 AUTH PLAIN"])
IMPLICIT = Talk(implicit_tls=True)
BEFORE = b"ehlo client.test\r\nSTARTTLS\r\n"


KNOWN = {
    "ehlo_resp": b"mail.test\nSTARTTLS\nSIZE 10",
    "esmtp_features": {"starttls": "", "size": "10"},
    "does_esmtp": True,
}


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certs.cafile())


def unverified() -> ssl.SSLContext:
    context = trusting()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def upgraded(client: Any, **options: Any) -> Any:
    reply = client.starttls(context=trusting(), **options)
    known = client.ehlo_resp, client.helo_resp, client.esmtp_features, client.does_esmtp
    return reply, known, client.sock.cipher() is not None, client.login("u", "p")


def over_ssl(call: Any, **changes: Any) -> Any:
    def run(world: World) -> Any:
        given = world.options({"context": trusting(), **changes})
        return call(world.keep(world.lib.SMTP_SSL(**given)))

    return run


def in_clear_behind(peer: Peer) -> None:
    peer.send(b"220 go\r\n250-evil\r\n")
    peer.start_tls(certs.server_context())


SCENARIOS = [
    Scenario("starttls", on_client(upgraded), STARTTLS),
    Scenario("starttls after EHLO", on_client(lambda c: (c.ehlo(), upgraded(c))), STARTTLS),
    Scenario(
        "starttls, and the features vanish",
        on_client(lambda c: (upgraded(c), c.has_extn("starttls"))),
        STARTTLS,
    ),
    Scenario("starttls not offered", on_client(lambda c: c.starttls())),
    Scenario("starttls by helo", on_client(lambda c: c.starttls()), Talk(ehlo="500 x")),
    Scenario(
        "starttls refused",
        on_client(lambda c: c.starttls()),
        Talk(ehlo=OFFERED, starttls="454 later"),
    ),
    Scenario(
        "starttls refused, and a command",
        on_client(lambda c: (Raised.by(c.starttls), c.noop())),
        Talk(ehlo=OFFERED, starttls="501 no"),
    ),
    Scenario(
        "the end in place of the reply",
        on_client(lambda c: c.starttls()),
        Talk(ehlo=OFFERED, starttls=HANG_UP),
    ),
    Scenario(
        "an unverified context", on_client(lambda c: c.starttls(context=unverified())), STARTTLS
    ),
    Scenario(
        "a message under tls",
        on_client(lambda c: (upgraded(c), c.sendmail("a@a.test", "b@b.test", "x"))),
        STARTTLS,
    ),
    Scenario("quit under tls", on_client(lambda c: (upgraded(c), c.quit())), STARTTLS),
    Scenario(
        "smtp_ssl",
        over_ssl(lambda c: (c.noop(), c.sendmail("a@a.test", "b@b.test", "x"), c.quit())),
        IMPLICIT,
    ),
    Scenario("smtp_ssl, unverified", over_ssl(lambda c: c.noop(), context=unverified()), IMPLICIT),
    Scenario(
        "smtp_ssl keeps its context", lambda w: w.lib.SMTP_SSL(context=CONTEXT).context is CONTEXT
    ),
    Scenario("smtp_ssl with timeout 0", over_ssl(lambda c: 0, timeout=0), IMPLICIT),
    Scenario(
        "smtp_ssl and a refusal", over_ssl(lambda c: 0), Talk(implicit_tls=True, connect="554 no")
    ),
    Scenario(
        "smtp_ssl and its timeout", over_ssl(lambda c: c.sock.gettimeout(), timeout=3), IMPLICIT
    ),
    # Deliberate differences
    Scenario(
        "the name is that of connect()",
        lambda w: (
            client := w.keep(w.lib.SMTP(local_hostname="client.test", timeout=5)),
            client.connect(w.host, w.port)[0],
            client.starttls(context=trusting()),
        )[1:],
        STARTTLS,
        differs="tls-name",
        ours={
            "result": (220, (220, b"2.0.0 Go ahead")),
            "esmtp_features": {},
            "does_esmtp": False,
            "ehlo_resp": None,
        },
    ),
    Scenario(
        "the name is without the port",
        lambda w: w.client(host=f"{w.host}:{w.port}", port=0).starttls(context=trusting()),
        STARTTLS,
        differs="tls-name",
        ours={
            "result": (220, b"2.0.0 Go ahead"),
            "esmtp_features": {},
            "does_esmtp": False,
            "ehlo_resp": None,
        },
    ),
    Scenario(
        "bytes in clear after the reply to STARTTLS",
        on_client(lambda c: c.starttls(context=unverified())),
        Talk(ehlo=OFFERED, starttls=in_clear_behind),
        differs="tls-injection",
        ours={
            "result": Raised(
                "SMTPProtocolError",
                (500, INJECTED),
                f"(500, {INJECTED!r})",
            ),
            "closed": True,
            **KNOWN,
        },
    ),
    Scenario(
        "starttls under tls",
        on_client(lambda c: (c.starttls(context=trusting()), c.starttls(context=trusting()))),
        Talk(ehlo=OFFERED),
        differs="tls-twice",
        ours={
            "result": Raised(
                "SMTPNotSupportedError",
                ("STARTTLS: the connection is under TLS already.",),
                "STARTTLS: the connection is under TLS already.",
            ),
            "wire": [BEFORE + b"ehlo client.test\r\n"],
            **KNOWN,
        },
    ),
]

CONTEXT = trusting()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_tls_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


# What only ours does


def connected(server: TalkServer, **options: Any) -> Any:
    return OURS.SMTP(server.host, server.port, "client.test", timeout=5, **options)


def test_starttls_verifies_the_certificate_by_default() -> None:
    """docs/smtplib.md: `tls-verified`"""
    with TalkServer(STARTTLS) as server:
        client = connected(server)
        with pytest.raises(OURS.SMTPCertificateError, match="create_default_context") as caught:
            client.starttls()
        assert client.sock is None
        assert isinstance(caught.value, ssl.SSLCertVerificationError)
        assert caught.value.verify_code == caught.value.__cause__.verify_code
        assert caught.value.reason == "CERTIFICATE_VERIFY_FAILED"


def test_smtp_ssl_verifies_the_certificate_by_default() -> None:
    """docs/smtplib.md: `tls-verified`"""
    with TalkServer(IMPLICIT) as server, pytest.raises(OURS.SMTPCertificateError):
        OURS.SMTP_SSL(server.host, server.port, "client.test", timeout=5)


@pytest.mark.parametrize("implicit", [True, False])
def test_the_name_in_the_certificate_must_be_the_servers(implicit: bool) -> None:
    """docs/smtplib.md: `tls-verified`"""

    def play(peer: Peer) -> None:
        if not implicit:
            peer.send(b"220 hi\r\n")
            peer.read_line()
            peer.send(OFFERED.encode() + b"\r\n")
            peer.read_line()
            peer.send(b"220 go\r\n")
        peer.start_tls(certs.server_context("other.test"))

    def connect(server: TalkServer) -> None:
        if implicit:
            OURS.SMTP_SSL(server.host, server.port, "a.test", timeout=5, context=trusting())
        else:
            connected(server).starttls(context=trusting())

    with (
        TalkServer(play) as server,
        pytest.raises(
            OURS.SMTPCertificateError, match="it was issued for another address: connect by a name"
        ),
    ):
        connect(server)


def test_a_final_dot_of_the_host_is_not_compared_with_the_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docs/smtplib.md: `tls-name`"""
    connect = socket.create_connection
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda address, *rest: connect((server.host, server.port), *rest),
    )
    with TalkServer(IMPLICIT) as server:
        options = {"timeout": 5, "context": trusting()}
        with OURS.SMTP_SSL("localhost.", server.port, "a.test", **options) as client:
            assert client.noop()[0] == 250


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        (lambda peer: peer.send(b"220 this is no TLS\r\n"), "SMTPTLSError"),
        (lambda peer: peer.read_to_end(), "SMTPTimeoutError"),
        (lambda peer: None, "SMTPTLSError"),
        (lambda peer: peer.reset(), "SMTPTLSError"),
    ],
    ids=["in clear", "silence", "end", "reset"],
)
def test_a_handshake_that_fails_is_a_documented_exception(play: Any, expected: str) -> None:
    """docs/smtplib.md: `tls-errors`"""

    def starttls(peer: Peer) -> None:
        peer.send(b"220 go\r\n")
        peer.fill()
        play(peer)
        HANG_UP(peer)

    with TalkServer(Talk(ehlo=OFFERED, starttls=starttls)) as server:
        client = connected(server)
        client.sock.settimeout(0.3)
        with pytest.raises(getattr(OURS, expected)):
            client.starttls(context=trusting())
        assert client.sock is None


def test_a_silent_server_ends_smtp_ssl_in_time() -> None:
    def play(peer: Peer) -> None:
        SILENCE(peer)

    with TalkServer(play) as server, pytest.raises(TimeoutError):
        OURS.SMTP_SSL(server.host, server.port, "a.test", timeout=0.2, context=trusting())


@pytest.mark.parametrize(
    ("play", "expected"), [(SILENCE, "SMTPTimeoutError"), (Peer.reset, "SMTPTLSError")]
)
def test_with_smtp_ssl_too_a_handshake_that_fails_is_a_documented_exception(
    play: Any, expected: str
) -> None:
    """docs/smtplib.md: `tls-errors`"""

    def hear(peer: Peer) -> None:
        peer.fill()
        play(peer)

    with TalkServer(hear) as server:
        client = OURS.SMTP_SSL(local_hostname="a.test", timeout=0.2, context=trusting())
        with pytest.raises(getattr(OURS, expected)):
            client.connect(server.host, server.port)
        assert client.sock is None


def test_the_error_says_that_the_server_does_not_speak_tls() -> None:
    """docs/smtplib.md: `tls-errors`"""
    with TalkServer(Talk()) as server, pytest.raises(OURS.SMTPTLSError, match="STARTTLS"):
        OURS.SMTP_SSL(server.host, server.port, "a.test", timeout=5, context=trusting())


def test_keyfile_and_certfile_are_gone_as_they_are_since_python_3_12() -> None:
    """docs/smtplib.md: `keyfile`"""
    with pytest.raises(TypeError):
        OURS.SMTP_SSL(keyfile="key.pem")
    with TalkServer(STARTTLS) as server, connected(server) as client, pytest.raises(TypeError):
        client.starttls("key.pem", "cert.pem")
