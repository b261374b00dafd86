"""One SMTP session: its bytes, its state, and the commands that await their replies.

No socket, no clock. A dialogue (see `dialogue` and `transaction`) queues commands here and
yields a `Want`; a driver moves the bytes and returns with the reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from mailbackends.errors import SMTPProtocolError, SMTPServerDisconnected
from mailbackends.known_errors import INJECTED
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.command import Command, bdat
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.gates import Buffer, ContentSent, Gate, marking_the_last
from mailbackends.protocol.masking import Masking
from mailbackends.protocol.output import Output
from mailbackends.protocol.reply_parser import ReplyParser, not_a_reply
from mailbackends.protocol.state import CONTENT, GO_AHEAD, GREETING, STRAY, State, Want, next_state
from mailbackends.reply import Reply

__all__ = ["Session", "State", "Want"]


class Session(Output):
    """The client's side of one connection.

    ``trace`` is called with each line when it is queued or read, marked ``>`` or ``<``, with
    secrets masked. `masking` hides the secrets in replies, too.
    """

    def __init__(
        self, *, is_lmtp: bool = False, trace: Callable[[str], None] | None = None
    ) -> None:
        self.is_lmtp = is_lmtp
        self.is_tls: bool = False
        self.state: State = State.CONNECTED
        self.extensions: Extensions = Extensions()
        self.masking: Masking = Masking()
        self.chunking: Chunking | None = None
        """What this session has shown about BDAT, for the next sessions with this server."""
        self.stalled_in_group = False
        """True if the server answered the first commands of a group, and then nothing more."""
        self.replies: int = 0
        """How many replies have come, surplus ones included."""
        self.refusals: list[int] | None = None
        """The numbers of those that refuse, from 0; None until `allow_next_transaction`."""
        self.surplus: int = 0
        """How many replies the server has sent that cannot answer anything, as far as is known."""
        self._trace = trace
        self._parser = ReplyParser()
        # What awaits a reply, and how many bytes must have been sent before it can come.
        # The greeting answers no command: it is awaited from the start.
        self._in_flight = deque([(GREETING, 0)])
        self._group_ended = True
        super().__init__()

    # For dialogues

    def send(self, *commands: Command) -> None:
        """Queue commands, after others if they form a group (RFC 2920 section 3.1).

        Raises:
            RuntimeError: a reply must be read first: a mistake in the dialogue.
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
            # The repr of a memoryview, which an error report may contain, shows no bytes.
            line = memoryview(command.line) if command.is_secret else command.line
            if command.is_secret:
                self.masking.remember(command.argument.rpartition(" ")[2])
            lines.append(line)
            self._queued += len(line)
            self._in_flight.append((command.verb or "AUTH", self._queued))
            if self._trace:
                self._trace(f"> {command}")
        self._outgoing.append(memoryview(b"".join(lines)))

    def abandon_transaction(self) -> None:
        """Send no content: the transaction stays open until RSET."""
        if self.state is State.MAIL:
            self.state = State.FAILED

    def send_content(self, buffers: Iterable[Buffer], gate: Gate | None = None) -> ContentSent:
        """Queue the content after a 354, with its final dot (RFC 5321 section 4.1.1.4)."""
        self._in_flight.append((CONTENT, self._queued))
        self._group_ended = True
        content = ContentSent(gate=gate)
        if gate is not None:
            self.gated.append(content)
            buffers = marking_the_last(buffers, content)
        self._outgoing.append((iter(buffers), content))
        return content

    def send_chunk(self, chunk: bytes) -> None:
        """Queue ``BDAT n`` and a chunk that is not the last one (RFC 3030 section 2)."""
        self.send(bdat(len(chunk), last=False))
        self._group_ended = True
        self._queued += len(chunk)
        self._outgoing.append(chunk)

    def expect_stray_refusal(self) -> None:
        """Allow one refusal that answers no command, before the reply to the next command.

        A server that refused BDAT may not have read the chunk, and then takes its one line for a
        command, which it refuses too.
        """
        self._in_flight.append((STRAY, self._queued))
        self._group_ended = False

    def send_last_chunk(
        self, size: int, buffers: Iterable[Buffer], gate: Gate | None = None
    ) -> ContentSent:
        """Queue ``BDAT n LAST`` and its ``size`` bytes (RFC 3030 section 2)."""
        self.send(bdat(size, last=True))
        self._in_flight[-1] = (CONTENT, self._queued)
        self._group_ended = True
        self._queued += size
        content = ContentSent(self._queued, gate)
        if gate is not None:
            self.gated.append(content)
        if isinstance(buffers, tuple):
            self._outgoing.extend(buffers)
        else:
            self._outgoing.append((iter(buffers), content))
        return content

    def allow_next_transaction(self) -> None:
        """Let commands follow the last chunk of a content that has no reply yet.

        RFC 3030 section 4.2 allows it, but not every server does: use it only with those that do.
        """
        self._group_ended = False
        self.refusals = self.refusals or []

    def expect_content_replies(self, more: int) -> None:
        """LMTP answers the content once for each accepted recipient (RFC 2033 section 4.2)."""
        self._in_flight.extend([(CONTENT, self._queued)] * more)

    def quit_early(self) -> None:
        """Send QUIT and nothing more: its reply shows which replies before it never come."""
        self._group_ended = False
        self.send(Command("QUIT"))
        self.close()

    def check_nothing_buffered(self) -> None:
        """Check that nothing follows the reply to STARTTLS in clear (CVE-2011-0411).

        Raises:
            SMTPProtocolError: something does, and anybody may have sent it. The session is closed.
        """
        if not self._parser.is_empty:
            self.close()
            raise SMTPProtocolError(500, INJECTED)

    def start_tls(self) -> None:
        """Forget everything that was received in clear (RFC 3207 section 4.2)."""
        self.is_tls = True
        self.state = State.GREETED
        self.extensions = Extensions()

    def close(self) -> None:
        """Send nothing more: the server is gone, or can no longer be trusted."""
        self.state = State.CLOSED

    # For drivers

    def discard_output(self) -> None:
        """Close, and send nothing of what is queued: a gate was not passed."""
        self._outgoing.clear()
        self.gated.clear()
        self.close()

    def receive_data(self, data: bytes) -> None:
        """Take bytes that came from the server."""
        self._parser.receive_data(data)

    def next_reply(self) -> Reply | None:
        """The reply to the oldest command in flight, or None if more bytes are needed.

        Secrets that the server quotes are masked, except in a challenge (334), which is part of
        the exchange and is not shown.

        Raises:
            SMTPProtocolError: it is not a reply, or no command asked for it. The session is
                closed.
        """
        challenge: Reply | None = None
        try:
            reply = self._parser.next_reply()
            if reply is None:
                return None
            if self.refusals is not None and reply.code >= 400:
                self.refusals.append(self.replies)
            self.replies += 1
            if self.masking.has_secrets:
                challenge = reply if reply.code == 334 else None
                reply = self.masking.masked(reply)
            if self._trace:
                self._trace(f"< {reply}")
            self._match(reply)
        except SMTPProtocolError as error:
            self.out_of_step()
            # Variables of the parser, which a traceback would show, are not masked.
            challenge = error.__traceback__ = None
            raise
        return challenge or reply

    def surplus_replies(self) -> list[Reply]:
        """The replies that have come and answer no command; after any, the session is closed.

        Without a 421, with which a server may announce at any time that it closes.
        """
        awaited = len(self._in_flight)
        if self._parser.is_empty or (awaited and self.state is not State.CLOSED):
            return []
        self.close()
        surplus = []
        for number, reply in enumerate(self._parser.rest()):
            reply = self.masking.masked(reply)
            if self._trace:
                self._trace(f"< {reply}")
            if number >= awaited and 200 <= reply.code <= 599 and reply.code != 421:
                surplus.append(reply)
            if self.refusals is not None and reply.code >= 400:
                self.refusals.append(self.replies)
            self.replies += 1
        self.surplus += len(surplus)
        return surplus

    def out_of_step(self) -> None:
        """Close: a reply cannot answer its command, so that an earlier one was too many."""
        self.surplus += 1
        self.close()

    def _match(self, reply: Reply) -> None:
        """Match the reply to the oldest command in flight, and change to the next state.

        A reply that would shift every later one to the wrong command is refused.
        """
        code = reply.code
        answered, end = self._in_flight[0] if self._in_flight else ("", inf)
        if answered == STRAY and not 400 <= code <= 599:
            self._in_flight.popleft()
            answered, end = self._in_flight[0]
        if code == 421:
            # RFC 5321 section 3.8: the server closes, at any step and even unasked.
            self.close()
        elif not 200 <= code <= 599:
            raise not_a_reply(b"not a reply: ", reply)
        elif self._sent < end:
            what = b"a reply before its command: " if answered else b"a reply to no command: "
            raise not_a_reply(what, reply)
        elif 300 <= code <= 399 and code != GO_AHEAD.get(answered):
            raise SMTPProtocolError(500, b"%d cannot answer %s" % (code, answered.encode()))
        elif code < 300 and answered == "DATA":
            raise SMTPProtocolError(500, b"%d cannot answer DATA" % code)
        if answered:
            self._in_flight.popleft()
        # LMTP: the last of the replies to the content ends the transaction.
        is_last = answered != CONTENT or not self._in_flight or not self.is_lmtp
        if is_last:
            self.state = next_state(self.state, answered, is_refusal=code >= 400)

    # For both

    def take_chunking(self) -> Chunking | None:
        """What messages have shown about BDAT since the last call, or None."""
        shown, self.chunking = self.chunking, None
        return shown

    @property
    def awaits_content_reply(self) -> bool:
        """True once everything was sent and a reply to a content is awaited."""
        return (
            not self._outgoing
            and self._sent >= self._taken
            and any(awaited == CONTENT for awaited, _ in self._in_flight)
        )

    @property
    def awaits_reply(self) -> bool:
        """True if a command or content that was sent has not been answered."""
        return bool(self._in_flight)

    @property
    def is_reusable(self) -> bool:
        """True if another transaction may begin: nothing in flight, nothing unread."""
        return (
            self.state in (State.READY, State.FAILED)
            and not self._in_flight
            and not self._outgoing
            and self._parser.is_empty
        )
