"""Each step of a session with each fault of a server: a documented exception, in bounded time.

No test here waits for longer than the client's timeout, and none asserts how long it took:
a server that never stops is stopped by the client's leaving, or the test does not end.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mailbackends.client import LMTP, SMTP
from mailbackends.errors import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from support import certs
from support.peer import ClientGone, Peer
from support.talk import HANG_UP, SILENCE, Talk, TalkServer

A, B, C = "a@a.test", "b@b.test", "c@c.test"
EHLO = "250-mail.test\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE"
SHORT, LONG = 0.1, 20.0  # seconds
PIECE = 64 * 1024
MOST_PIECES = 400  # what fits into the buffers of two kernels, and as much again


class Impatient(SMTP):
    """Waits for one of the replies for a short time only: the one that will not come.

    For the others it has time, for a machine under load may need some.
    """

    faulty_reply = -1
    replies = 0

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None:
            self.sock.settimeout(SHORT if self.replies == self.faulty_reply else LONG)
        self.replies += 1
        return super().getreply()


class ImpatientLMTP(Impatient, LMTP):
    """The same for LMTP."""


def session(server: TalkServer, faulty_reply: int = -1, kind: type[Impatient] = Impatient) -> Any:
    """All that a client does, in the order in which it is done. Returns the client, too."""
    client = kind(local_hostname="client.test", timeout=LONG)
    client.faulty_reply = faulty_reply
    seen = []
    try:
        code, message = client.connect(server.host, server.port)
        if code != 220:
            raise SMTPConnectError(code, message)
        client.starttls(context=ssl.create_default_context(cafile=certs.cafile()))
        client.login("user", "password")
        seen.append(client.noop())
        seen.append(client.verify(A))
        seen.append(client.sendmail(A, [B, C], "x"))
        seen.append(client.rset())
        seen.append(client.quit())
    except BaseException as error:
        error.client = client  # type: ignore[attr-defined]
        raise
    return client, seen


# The faults: each is what the server does in place of a reply.


def endless_line(peer: Peer) -> None:
    """One line that has no end."""
    _endlessly(peer, b"250 ", b"x" * PIECE)


def endless_reply(peer: Peer) -> None:
    """One reply that has no last line."""
    _endlessly(peer, b"", b"250-and so on\r\n" * 4096)


def noise(peer: Peer) -> None:
    """Bytes that are not text."""
    _endlessly(peer, b"", bytes(range(256)) * 256)


def _endlessly(peer: Peer, head: bytes, piece: bytes) -> None:
    peer.send(head)
    for _ in range(MOST_PIECES):
        peer.send(piece)
    raise AssertionError("the client goes on reading")


def no_line_end(peer: Peer) -> None:
    """A reply whose end does not come."""
    peer.send(b"250 ok")
    SILENCE(peer)


def byte_by_byte(peer: Peer) -> None:
    """A reply that comes within the timeout byte by byte, and never as a whole."""
    peer.send(b"250 ")
    while True:
        peer.send(b"x")
        time.sleep(SHORT / 4)


def half_a_reply(peer: Peer) -> None:
    """The end of the connection within a reply."""
    peer.send(b"250-ok\r\n")
    HANG_UP(peer)


def reset(peer: Peer) -> None:
    """The end of the connection by RST."""
    peer.reset()
    raise ClientGone


NO_CODE = b"OK ready\r\n"
CHANGING = b"250-a\r\n251 b\r\n"
BYE = b"421 4.3.2 Shutting down\r\n"

FAULTS: dict[str, tuple[Any, type[SMTPException]]] = {
    "endless line": (endless_line, SMTPProtocolError),
    "endless reply": (endless_reply, SMTPProtocolError),
    "noise": (noise, SMTPProtocolError),
    "no code": (NO_CODE, SMTPProtocolError),
    "a code that changes": (CHANGING, SMTPProtocolError),
    "no line end": (no_line_end, SMTPTimeoutError),
    "silence": (SILENCE, SMTPTimeoutError),
    "byte by byte": (byte_by_byte, SMTPTimeoutError),
    "the end": (HANG_UP, SMTPServerDisconnected),
    "half a reply": (half_a_reply, SMTPServerDisconnected),
    "reset": (reset, SMTPServerDisconnected),
}

# The steps: how many replies come before, and the outcomes that show that the fault was met there.
STEPS: dict[str, tuple[int, Callable[[Any], dict[str, Any]]]] = {
    "greeting": (0, lambda fault: {"connect": fault}),
    "ehlo": (1, lambda fault: {"ehlo": fault}),
    "helo": (2, lambda fault: {"ehlo": "500 what?", "helo": fault}),
    "starttls": (2, lambda fault: {"ehlo": EHLO, "starttls": fault}),
    "ehlo after tls": (3, lambda fault: {"ehlo": [EHLO, fault]}),
    "auth": (4, lambda fault: {"ehlo": EHLO, "auth": fault}),
    "a response": (5, lambda fault: {"ehlo": EHLO, "auth": "334 ", "response": fault}),
    "the second mechanism": (5, lambda fault: {"ehlo": EHLO, "auth": ["535 no", fault]}),
    "noop": (5, lambda fault: {"ehlo": EHLO, "noop": fault}),
    "vrfy": (6, lambda fault: {"ehlo": EHLO, "vrfy": fault}),
    "mail": (7, lambda fault: {"ehlo": EHLO, "mail": fault}),
    "the first rcpt": (8, lambda fault: {"ehlo": EHLO, "rcpt": fault}),
    "the second rcpt": (9, lambda fault: {"ehlo": EHLO, "rcpt": ["250 ok", fault]}),
    "data": (10, lambda fault: {"ehlo": EHLO, "data": fault}),
    "content": (11, lambda fault: {"ehlo": EHLO, "content": fault}),
    "rset": (12, lambda fault: {"ehlo": EHLO, "rset": fault}),
    "quit": (13, lambda fault: {"ehlo": EHLO, "quit": fault}),
}


def playing(step: str, fault: Any) -> tuple[TalkServer, int]:
    """A server with this fault at this step, and the number of the reply that is faulty."""
    position, answers = STEPS[step]
    return TalkServer(Talk(**answers(fault))), position


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_fault_at_any_step_is_a_documented_exception_and_closes_the_connection(
    step: str, fault: str
) -> None:
    does, expected = FAULTS[fault]
    server, faulty_reply = playing(step, does)
    if expected is not SMTPTimeoutError:
        faulty_reply = -1
    if step == "content":  # the message may have been taken, whatever came in place of the reply
        expected = SMTPDeliveryUnknown
    # An RST may come before connect() returns, and is the operating system's error then.
    also = ConnectionResetError if (step, fault) == ("greeting", "reset") else expected
    with server:
        with pytest.raises((expected, also)) as caught:
            session(server, faulty_reply)
        assert caught.value.client.sock is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("greeting", SMTPConnectError),
        ("ehlo", SMTPHeloError),
        ("helo", SMTPHeloError),
        ("starttls", SMTPResponseException),
        ("ehlo after tls", SMTPHeloError),
        ("auth", SMTPAuthenticationError),
        ("a response", SMTPAuthenticationError),
        ("the second mechanism", SMTPAuthenticationError),
        ("mail", SMTPSenderRefused),
        ("the first rcpt", SMTPRecipientsRefused),
        ("the second rcpt", SMTPRecipientsRefused),
        ("data", SMTPDataError),
        ("content", SMTPDataError),
    ],
)
def test_a_421_at_any_step_is_the_refusal_of_that_step_and_closes_the_connection(
    step: str, expected: type[SMTPException]
) -> None:
    server, _ = playing(step, BYE)
    with server:
        with pytest.raises(expected) as caught:
            session(server)
        assert type(caught.value) is expected
        assert caught.value.client.sock is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", ["noop", "vrfy", "rset"])
def test_a_421_to_a_command_is_returned_and_closes_the_connection(step: str) -> None:
    server, _ = playing(step, BYE)
    with server, pytest.raises(SMTPServerDisconnected, match="please run connect"):
        session(server)


def test_a_421_to_quit_is_returned() -> None:
    with TalkServer(Talk(ehlo=EHLO, quit=BYE)) as server:
        client, seen = session(server)
        assert seen[-1] == (421, b"4.3.2 Shutting down")
        assert client.sock is None


@pytest.mark.parametrize("step", [step for step in STEPS if step != "quit"])
def test_a_reply_that_no_command_asked_for_is_never_taken_for_another(step: str) -> None:
    """The reply to the step comes, and a second one right after it."""
    good = {
        "greeting": b"220 hi", "ehlo": EHLO.encode(), "starttls": b"220 go", "data": b"354 go",
        "ehlo after tls": b"250 AUTH", "auth": b"235 ok", "a response": b"235 ok",
        "the second mechanism": b"235 ok",
    }.get(step, b"250 ok")  # fmt: skip
    server, _ = playing(step, good + b"\r\n250 2.0.0 not asked for\r\n")
    with server:
        with pytest.raises((SMTPProtocolError, SMTPNotSupportedError)) as caught:
            session(server)
        client = caught.value.client  # type: ignore[attr-defined]
        if isinstance(caught.value, SMTPProtocolError):
            assert client.sock is None
        else:  # EHLO announced nothing, and no reply followed it
            assert step in ("ehlo after tls", "helo")
            client.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_between_the_replies_of_lmtp(fault: str) -> None:
    does, kind = FAULTS[fault]
    faulty_reply = 12 if kind is SMTPTimeoutError else -1

    def content(peer: Peer) -> None:
        peer.send(b"250 for b\r\n")
        if callable(does):
            does(peer)
        else:
            peer.send(does)

    with TalkServer(Talk(ehlo=EHLO, content=content)) as server:
        with pytest.raises(SMTPDeliveryUnknown) as caught:
            session(server, faulty_reply, ImpatientLMTP)
        client = caught.value.client  # type: ignore[attr-defined]
        assert client.sock is None
        assert client.recipient_replies == [(B, (250, b"for b"))]
        assert caught.value.outcome == "unknown"


def test_an_endless_login_ends() -> None:
    with TalkServer(Talk(ehlo=EHLO, auth="334 ", response="334 ")) as server:
        with pytest.raises(SMTPException, match="infinite loop") as caught:
            session(server)
        assert caught.value.client.sock is None  # type: ignore[attr-defined]


def test_a_downgrade_of_ehlo_after_tls_sends_no_credentials() -> None:
    with TalkServer(Talk(ehlo=[EHLO, "250 mail.test"])) as server:
        with pytest.raises(SMTPNotSupportedError, match="AUTH") as caught:
            session(server)
        caught.value.client.close()  # type: ignore[attr-defined]
        assert b"AUTH" not in server.received()[0]


def test_a_server_without_starttls_gets_no_credentials_in_clear() -> None:
    with TalkServer(Talk(ehlo="250-mail.test\r\n250 AUTH PLAIN")) as server:
        with pytest.raises(SMTPNotSupportedError, match="STARTTLS") as caught:
            session(server)
        caught.value.client.close()  # type: ignore[attr-defined]
        assert b"AUTH" not in server.received()[0]


def test_a_server_that_reads_nothing_causes_a_timeout() -> None:
    is_left = threading.Event()

    def data(peer: Peer) -> None:
        peer.send(b"354 go\r\n")
        is_left.wait(LONG)

    with TalkServer(Talk(data=data)) as server:
        client = SMTP(server.host, server.port, "client.test", timeout=LONG)
        client.ehlo()
        assert client.sock is not None
        client.sock.settimeout(SHORT)
        with pytest.raises(SMTPTimeoutError):
            client.data(b"x" * 50_000_000)
        is_left.set()
        assert client.sock is None
