"""One SMTP session: its bytes, its state, and the commands that wait for their replies.

No socket, no clock. A dialogue (see `dialogue` and `transaction`) queues commands here
and yields a `Want`; a driver moves the bytes and comes back with the reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, TypeAlias, TypeVar

from mailbackends.errors import SMTPProtocolError, SMTPServerDisconnected
from mailbackends.protocol.command import Command, bdat
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.reply_parser import ReplyParser
from mailbackends.reply import Reply

__all__ = ["INJECTED", "Buffer", "ContentSent", "Dialogue", "Session", "State", "Want"]

T = TypeVar("T")
Buffer: TypeAlias = bytes | bytearray | memoryview


class Want(Enum):
    """What a dialogue needs before it can go on."""

    REPLY = "the reply to the oldest command in flight"
    CONTENT_REPLY = "the reply to the content, for which a server may take minutes"
    TLS = "the TLS handshake, now; what comes back is None"


Dialogue: TypeAlias = Generator[Want, Any, T]
"""Yields what it wants; what comes back is the `Reply`, but for `Want.TLS`."""


class State(Enum):
    """What the server thinks, as far as its replies tell (RFC 5321 section 4.1.4)."""

    CONNECTED = "no greeting yet"
    GREETED = "no EHLO yet"
    READY = "no transaction is open"
    MAIL = "a transaction is open"
    CONTENT = "the server waits for the content"
    FAILED = "a transaction failed and may still be open: RSET goes before the next MAIL"
    CLOSED = "nothing more can be said"


INJECTED = (
    b"bytes in clear behind the reply to STARTTLS: by a fault of the server, or by somebody on "
    b"the way; TLS from the first byte (port 465) leaves no room for them"
)
_GREETING = "greeting"
_CONTENT = "content"

# RFC 5321 section 4.2.1: "intermediate" replies ask for more, and these alone have more.
_GO_AHEAD = {"DATA": 354, "AUTH": 334}

# (what was answered, was it not a refusal) -> the next state; what is not here changes
# nothing, and nothing leads out of CLOSED. A refused RSET closes: nobody knows the server's
# state then. After a refused content servers differ on whether the transaction is over.
_TRANSITIONS = {
    (_GREETING, True): State.GREETED,
    (_GREETING, False): State.CLOSED,
    ("EHLO", True): State.READY,
    ("LHLO", True): State.READY,
    ("HELO", True): State.READY,
    ("MAIL", True): State.MAIL,
    ("MAIL", False): State.FAILED,
    ("DATA", True): State.CONTENT,
    ("DATA", False): State.FAILED,
    (_CONTENT, True): State.READY,
    (_CONTENT, False): State.FAILED,
    ("RSET", True): State.READY,
    ("RSET", False): State.CLOSED,
    ("QUIT", True): State.CLOSED,
    ("QUIT", False): State.CLOSED,
}


@dataclass(slots=True)
class ContentSent:
    """The content of one transaction on its way out, to ask `Session.was_sent` about."""

    end: int | None = None
    """The bytes of the whole session when it is out; None where that is not known yet."""


class Session:
    """The client's side of one connection.

    ``trace`` is called with each line as it is queued or read, marked ``>`` or ``<``,
    secrets already masked.
    """

    def __init__(
        self, *, is_lmtp: bool = False, trace: Callable[[str], None] | None = None
    ) -> None:
        self.is_lmtp = is_lmtp
        self.is_tls = False
        self.state = State.CONNECTED
        self.extensions = Extensions()
        self._trace = trace
        self._parser = ReplyParser()
        # What waits for a reply, and how many bytes must be out before there can be one.
        # The greeting is a reply to nothing: it is in flight from the start.
        self._in_flight = deque([(_GREETING, 0)])
        self._queued = 0
        self._group_ended = True
        # Bytes, and contents that are made while they go out.
        self._outgoing: deque[Buffer | tuple[Iterator[Buffer], ContentSent]] = deque()
        self._taken = 0
        self._sent = 0

    # What a dialogue does

    def send(self, *commands: Command) -> None:
        """Queue commands, behind others where they form a group (RFC 2920 section 3.1).

        Raises:
            RuntimeError: a reply must be seen first. A mistake of the dialogue.
            SMTPServerDisconnected: the session is closed.
        """
        if self.state is State.CLOSED:
            raise SMTPServerDisconnected("the session is closed")
        lines: list[Buffer] = []
        for command in commands:
            if self._group_ended and self._in_flight:
                last = self._in_flight[-1][0]
                raise RuntimeError(f"{command!r} must wait for the reply to {last}")
            self._group_ended = command.ends_group
            # A memoryview shows no bytes where an error report prints the variables of a frame.
            lines.append(memoryview(command.line) if command.is_secret else command.line)
            self._queued += len(lines[-1])
            self._in_flight.append((command.verb or "AUTH", self._queued))
            if self._trace:
                self._trace(f"> {command}")
        self._outgoing.append(memoryview(b"".join(lines)))

    def abandon_transaction(self) -> None:
        """The content will not follow: what was begun stays open until RSET."""
        if self.state is State.MAIL:
            self.state = State.FAILED

    def send_content(self, buffers: Iterable[Buffer]) -> ContentSent:
        """Queue the content behind a 354, its final dot included (RFC 5321 section 4.1.1.4)."""
        self._in_flight.append((_CONTENT, self._queued))
        self._group_ended = True
        content = ContentSent()
        self._outgoing.append((iter(buffers), content))
        return content

    def send_last_chunk(self, size: int, buffers: Iterable[Buffer]) -> ContentSent:
        """Queue ``BDAT n LAST`` and its ``size`` bytes (RFC 3030 section 2)."""
        self.send(bdat(size, last=True))
        self._in_flight[-1] = (_CONTENT, self._queued)
        self._group_ended = True
        self._queued += size
        content = ContentSent(self._queued)
        if isinstance(buffers, tuple):
            self._outgoing.extend(buffers)
        else:
            self._outgoing.append((iter(buffers), content))
        return content

    def allow_next_transaction(self) -> None:
        """Let commands follow the last chunk of a content that has no reply yet.

        RFC 3030 section 4.2 allows it, but not all servers do: only for those that are known to.
        """
        self._group_ended = False

    def expect_content_replies(self, more: int) -> None:
        """LMTP answers the content once for each accepted recipient (RFC 2033 section 4.2)."""
        self._in_flight.extend([(_CONTENT, self._queued)] * more)

    def quit_early(self) -> None:
        """Say QUIT, and nothing more: its reply tells which of those before it never come."""
        self._group_ended = False
        self.send(Command("QUIT"))
        self.close()

    def check_nothing_buffered(self) -> None:
        """Bytes behind the reply to STARTTLS came in clear, from anybody (CVE-2011-0411).

        Raises:
            SMTPProtocolError: there are some. The session is closed.
        """
        if not self._parser.is_empty:
            self.close()
            raise SMTPProtocolError(500, INJECTED)

    def start_tls(self) -> None:
        """Forget all that was said in clear (RFC 3207 section 4.2)."""
        self.is_tls = True
        self.state = State.GREETED
        self.extensions = Extensions()

    def close(self) -> None:
        """Say nothing more: the server is gone, or cannot be trusted any longer."""
        self.state = State.CLOSED

    # What a driver does

    def data_to_send(self, limit: int) -> list[Buffer]:
        """The next buffers, ``limit`` bytes or a little more; empty when all has been taken.

        Content is pulled from its iterator only here, so that it never lies in memory
        whole. A driver comes back until the list is empty: only then is the end known.
        """
        taken: list[Buffer] = []
        size = 0
        while self._outgoing and size < limit:
            first = self._outgoing[0]
            if isinstance(first, tuple):
                buffer = next(first[0], None)
                if buffer is None:
                    # The size of dot-stuffed content is known only now. Nothing stands behind
                    # it, as it may behind a chunk.
                    self._queued = max(self._queued, self._taken + size)
                    first[1].end = self._taken + size
                    self._outgoing.popleft()
                    continue
            else:
                buffer = first
                self._outgoing.popleft()
            if buffer:  # An empty one could never be sent.
                taken.append(buffer)
                size += len(buffer)
        self._taken += size
        return taken

    def bytes_sent(self, count: int) -> None:
        """``count`` bytes more are in the operating system's hands."""
        self._sent += count

    def receive_data(self, data: bytes) -> None:
        """Take bytes that came from the server."""
        self._parser.receive_data(data)

    def next_reply(self) -> Reply | None:
        """The reply to the oldest command in flight, or None where more bytes are needed.

        Raises:
            SMTPProtocolError: it is no reply, or nobody asked for it. The session is closed.
        """
        try:
            reply = self._parser.next_reply()
            if reply is None:
                return None
            if self._trace:
                self._trace(f"< {reply}")
            self._take(reply)
        except SMTPProtocolError:
            self.close()
            raise
        return reply

    def _take(self, reply: Reply) -> None:
        """Put the reply to the oldest command in flight, and go to the next state.

        What would put every later reply to the wrong command is refused.
        """
        code = reply.code
        answered, end = self._in_flight[0] if self._in_flight else ("", inf)
        if code == 421:
            # RFC 5321 section 3.8: the server closes, at any step and even unasked.
            self.close()
        elif not 200 <= code <= 599:
            raise _no_reply(b"no reply: ", reply)
        elif self._sent < end:
            what = b"a reply before the command: " if answered else b"a reply to nothing: "
            raise _no_reply(what, reply)
        elif 300 <= code <= 399 and code != _GO_AHEAD.get(answered):
            raise SMTPProtocolError(500, b"%d is no reply to %s" % (code, answered.encode()))
        elif code < 300 and answered == "DATA":
            raise SMTPProtocolError(500, b"%d is no reply to DATA" % code)
        if answered:
            self._in_flight.popleft()
        # LMTP: the last of the replies to the content ends the transaction.
        is_last = answered != _CONTENT or not self._in_flight or not self.is_lmtp
        if is_last and self.state is not State.CLOSED:
            self.state = _TRANSITIONS.get((answered, code < 400), self.state)

    # What both ask

    def was_sent(self, content: ContentSent | None) -> bool:
        """True once the last byte of the content was handed to the operating system.

        From then on the server may have the message, whatever happens (RFC 1047).
        """
        return content is not None and content.end is not None and self._sent >= content.end

    @property
    def is_reusable(self) -> bool:
        """True where another transaction may begin: nothing in flight, nothing unread."""
        return (
            self.state in (State.READY, State.FAILED)
            and not self._in_flight
            and not self._outgoing
            and self._parser.is_empty
        )


def _no_reply(why: bytes, reply: Reply) -> SMTPProtocolError:
    return SMTPProtocolError(500, why + reply.message[:200])
