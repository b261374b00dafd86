"""Neither side waits for the other to read: replies are taken while the message is written."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mailbackends import Mailer, SMTPDataError
from mailbackends.transport.stream import Stream
from support.scripted import ClientGone, Peer, ScriptedServer

MANY = tuple(f"user{number:060}@{'example' * 8}.com" for number in range(1000))
FIVE_MB = b"Subject: large\r\n\r\n" + (b"." + b"x" * 75 + b"\r\n") * (5_000_000 // 78)
SMALL = b"Subject: small\r\n\r\n" + (b"y" * 76 + b"\r\n") * 700  # below 64 KiB: one flight
DEADLINE = 20.0  # seconds; a deadlock would take this long


class Stubborn:
    """A server that reads nothing while its reply is not read.

    Its socket buffers are small, and its replies are long, so that both
    directions fill up. ``refuse_after``: after so many bytes of content it answers 552.
    """

    def __init__(self, *extensions: str, refuse_after: int | None = None) -> None:
        self.extensions = extensions
        self.refuse_after = refuse_after
        self.contents: list[bytes] = []
        self.recipients = 0
        self.was_grouped = False

    def __call__(self, peer: Peer) -> None:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            peer.sock.setsockopt(socket.SOL_SOCKET, option, 16384)
        peer.send(b"220 stubborn.test\r\n")
        while True:
            line = peer.read_line()
            verb = line[:4].upper()
            if verb == b"EHLO":
                lines = ["stubborn.test", *self.extensions]
                peer.send(b"".join(b"250-%s\r\n" % line.encode() for line in lines))
                peer.send(b"250 HELP\r\n")
            elif verb == b"DATA":
                peer.send(b"354 Go on\r\n")
                self._content(peer, lambda: peer.read_until(b"\r\n.\r\n") + b"\r\n")
            elif verb == b"BDAT":
                size = int(line.split()[1])
                self._content(peer, lambda: peer.read_exactly(size))  # noqa: B023
            else:
                self.recipients += verb == b"RCPT"
                self.was_grouped |= bool(peer.buffer)
                # 2 MB of replies for 1,000 recipients.
                peer.send(b"".join(b"250-%s\r\n" % (b"z" * 200) for _ in range(9)) + b"250 Ok\r\n")

    def _content(self, peer: Peer, read: Callable[[], bytes]) -> None:
        if self.refuse_after is not None:
            while len(peer.buffer) < self.refuse_after:
                peer.fill()
            peer.send(b"552 5.3.4 Too much\r\n")
            peer.read_to_end()
            raise ClientGone
        self.contents.append(read())
        peer.send(b"250 Taken\r\n")


@pytest.fixture(autouse=True)
def _small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's kernel buffers little too, instead of some MB."""
    take_over = Stream.__init__

    def init(self: Stream, sock: socket.socket, *waiter: Any) -> None:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 16384)
        take_over(self, sock, *waiter)

    monkeypatch.setattr(Stream, "__init__", init)


def mailer_for(server: ScriptedServer) -> Mailer:
    return Mailer(
        host=server.host, port=server.port, local_hostname="me.test", timeout=DEADLINE,
        deadline=DEADLINE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "extensions",
    [("PIPELINING", "CHUNKING"), ("PIPELINING",), ("CHUNKING",), ()],
    ids=["flight", "group", "chunk", "lock-step"],
)
@pytest.mark.parametrize("content", [SMALL, FIVE_MB], ids=["50 KB", "5 MB"])
def test_a_server_that_reads_only_when_its_replies_are_taken_gets_all(
    extensions: tuple[str, ...], content: bytes
) -> None:
    stubborn = Stubborn(*extensions)
    with ScriptedServer(stubborn) as server, mailer_for(server) as mailer:
        receipt = mailer.send_message(content, "from@example.com", MANY)
        assert receipt.accepted == MANY
        assert mailer.stats().pool.made == 1
    assert stubborn.recipients == 1000
    assert stubborn.was_grouped is ("PIPELINING" in extensions)
    # A large one may go by DATA also where CHUNKING is announced.
    assert stubborn.contents in ([content], [content.replace(b"\r\n.", b"\r\n..")])


@pytest.mark.parametrize("extensions", [("PIPELINING", "CHUNKING"), ("PIPELINING",)], ids=str)
def test_a_server_that_replies_early_is_read_at_once(extensions: tuple[str, ...]) -> None:
    """It answers in the middle of the content, and never reads the rest."""
    stubborn = Stubborn(*extensions, refuse_after=100_000)
    with ScriptedServer(stubborn) as server, mailer_for(server) as mailer:
        with pytest.raises(SMTPDataError, match="Too much"):
            mailer.send_message(FIVE_MB, "from@example.com", MANY[:3])
        # The rest of the content was not sent: the connection cannot be used again.
        assert mailer.stats().pool.open == 0


def test_the_last_reply_of_a_server_that_stops_reading_is_in_the_error() -> None:
    """It answers 552 and resets the connection while most of the content is not yet written."""
    said = threading.Event()

    def play(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        peer.send(b"220 hi\r\n")
        peer.read_line()
        peer.send(b"250-hi\r\n250 PIPELINING\r\n")
        while peer.read_line() != b"DATA":
            pass
        peer.send(b"250 ok\r\n250 ok\r\n354 go\r\n")
        while len(peer.buffer) < 50_000:
            peer.fill()
        peer.send(b"552 5.3.4 Too much\r\n")
        peer.close()  # with bytes unread: RST
        said.set()

    with ScriptedServer(play) as server, mailer_for(server) as mailer:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - either is right, see below
            mailer.send_message(FIVE_MB, "from@example.com", "to@example.com")
        assert said.wait(5)
    # The reset may overtake the reply; the message was not sent in either case.
    assert str(getattr(caught.value, "outcome", None)) in ("refused", "not_sent")
