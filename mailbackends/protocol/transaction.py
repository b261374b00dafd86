"""One message: MAIL, RCPT, content, and its outcome for each recipient.

There are these ways to send it, depending on what the server announces, what is known about
it, and its state (RFC 2920, RFC 3030):

- one flight: ``MAIL RCPT... BDAT n LAST content``, one round trip. Only if BDAT has worked with
  this server, and the connection is fresh: on a dead one the outcome would be unknown.
- a group: ``[RSET] MAIL RCPT...``, then ``BDAT n LAST content``: two round trips.
- a probe: ``MAIL RCPT... BDAT n line``, then ``BDAT n LAST rest``: two round trips, if it is
  not known whether BDAT works. If it is refused, ``RSET`` and the next way follow.
- a group: ``[RSET] MAIL RCPT... DATA``, then the content: two round trips.
- lock-step: each command waits for the reply to the one before.
"""

from __future__ import annotations

from mailbackends.errors import (
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPProtocolError,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.mime.content import Content
from mailbackends.protocol.chunking import (
    MAX_ONE_FLIGHT,
    NOT_READ,
    Chunking,
    SplitContent,
    split_content,
)
from mailbackends.protocol.command import Command, mail, rcpt
from mailbackends.protocol.delivery import Delivery, DeliveryRecord
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.gates import Gate
from mailbackends.protocol.session import Session, Want
from mailbackends.protocol.state import Dialogue, State
from mailbackends.reply import Reply

__all__ = ["Delivery", "deliver"]


def deliver(
    session: Session,
    envelope: Envelope,
    content: Content,
    *,
    pipelining: bool = True,
    chunking: Chunking = Chunking.UNPROVED,
    is_fresh: bool = False,
    follows_another: bool = False,
    gate: Gate | None = None,
) -> Dialogue[Delivery]:
    """Send one message, and return the recipients that were accepted: at least one.

    ``pipelining`` allows groups if the server announces PIPELINING. ``chunking`` is what is
    known about BDAT if the server announces CHUNKING; afterwards `Session.chunking` is what
    this message has shown. The connection ``is_fresh`` if the server was certainly there a few
    seconds ago. A message that ``follows_another`` is sent in one flight before the other one
    is answered, whatever its outcome will be; that requires BDAT to be proved. The ``gate`` is
    passed before the end of the content leaves, again for each way that is tried. The session
    stays usable after a refusal; see `Session.is_reusable`.

    Raises:
        SMTPSenderRefused, SMTPRecipientsRefused, SMTPDataError: with `Outcome.REFUSED`.
        SMTPDeliveryUnknown: the end of the content was sent, and no reply came.
        SMTPServerDisconnected, SMTPProtocolError: with `Outcome.NOT_SENT`.
    """
    offered = session.extensions.keywords
    transaction = _Transaction(
        session,
        envelope,
        content,
        pipelining=pipelining and "PIPELINING" in offered,
        chunking=chunking if "CHUNKING" in offered else Chunking.OFF,
        is_fresh=is_fresh,
        follows_another=follows_another,
        gate=gate,
    )
    return transaction.run()


class _Transaction(DeliveryRecord):
    def __init__(
        self,
        session: Session,
        envelope: Envelope,
        content: Content,
        *,
        pipelining: bool,
        chunking: Chunking,
        is_fresh: bool,
        follows_another: bool,
        gate: Gate | None,
    ) -> None:
        super().__init__(session, envelope)
        self.envelope = envelope
        self.content = content
        self.gate = gate
        # After a failed transaction MAIL may get 503, and RCPT and DATA are then accepted
        # under the old sender: RSET first, and no content before its reply. After another
        # message that is not answered yet, RSET makes it irrelevant how that one ends.
        self.rset = [Command("RSET")] if follows_another or session.state is State.FAILED else []
        self.mail = mail(envelope.on_wire(envelope.reverse_path), envelope.mail_parameters)
        self.rcpts = [
            rcpt(envelope.on_wire(path), envelope.rcpt_parameters)
            for path in envelope.forward_paths
        ]
        self.pipelining = pipelining
        self.follows_another = follows_another
        self.one_flight = follows_another or (
            pipelining
            and chunking is Chunking.PROVED
            and is_fresh
            and not self.rset
            and content.size <= MAX_ONE_FLIGHT
        )
        self.probe = split_content(content) if chunking is Chunking.UNPROVED else None
        self.probe_in_group = pipelining and self.probe is not None and not self.rset
        # Content that cannot be split is sent by DATA until BDAT has worked.
        self.chunking = chunking is Chunking.PROVED or self.probe is not None
        # After one flight, a server may answer only when it is done with the content, too.
        self.want = Want.CONTENT_REPLY if self.one_flight else Want.REPLY

    def run(self) -> Dialogue[Delivery]:
        try:
            if self.pipelining:
                self._send_group()
            yield from self._envelope_replies()
            if self.sender_refusal or not self.pending:
                yield from self._end_refused()
            if is_supported := self.probe is None or (yield from self._probe_chunking(self.probe)):
                if not self.one_flight:
                    yield from self._send_content()
                if self.session.is_lmtp:
                    self.session.expect_content_replies(len(self.pending) - 1)
                yield from self._content_replies()
                self.check_surplus(is_accepted=True)
        except SMTPException as error:
            has_reply = not isinstance(error, SMTPServerDisconnected) or error.reply is not None
            if self.chunking and self.was_sent and not has_reply:
                self.session.chunking = (
                    Chunking.OFF if isinstance(error, SMTPTimeoutError) else Chunking.UNPROVED
                )
            final = self.with_outcome(error)
            if final is error:
                raise
            raise final from error
        if is_supported:
            return self.result
        off = Chunking.OFF
        again = deliver(
            self.session,
            self.envelope,
            self.content,
            pipelining=self.pipelining,
            chunking=off,
            gate=self.gate,
        )
        return (yield from again)

    def _send_group(self) -> None:
        if self.follows_another:
            self.session.allow_next_transaction()
        data = [] if self.chunking else [Command("DATA")]
        self.session.send(*self.rset, self.mail, *self.rcpts, *data)
        if self.one_flight:
            self._send_last_chunk()
        elif self.probe_in_group and self.probe is not None:
            self.session.send_chunk(self.probe.first)

    def _envelope_replies(self) -> Dialogue[None]:
        for command in self.rset:
            reply = yield from self._reply_to(command, is_last=False)
            if self.session.state is State.CLOSED:
                yield from self.give_up(reply, f"the server refused RSET: {reply}")
        # As `_reply_to`, without a generator for each command.
        if not self.pipelining:
            self.session.send(self.mail)
        reply = yield self.want
        if reply.code == 421:
            yield from self._closing(reply, is_last=False)
        self.session.stalled_in_group = self.pipelining
        if not reply.is_positive:
            self.sender_refusal = reply
            if not self.pipelining:
                return
        for address, command in zip(self.recipients, self.rcpts, strict=True):
            if not self.pipelining:
                self.session.send(command)
            reply = yield self.want
            if reply.code == 421:
                yield from self._closing(reply, is_last=command is self.rcpts[-1])
            if reply.is_positive:
                self.pending.append(address)
            else:
                self.result.refused[address] = reply
        self.session.stalled_in_group = False

    def _reply_to(self, command: Command, *, is_last: bool = True) -> Dialogue[Reply]:
        """The reply to a command of the group; in lock-step, the command is sent only now."""
        if not self.pipelining:
            self.session.send(command)
        reply: Reply = yield self.want
        if reply.code == 421:
            yield from self._closing(reply, is_last=is_last)
        return reply

    def _closing(self, reply: Reply, *, is_last: bool) -> Dialogue[None]:
        """Raise the error for a 421 to a command of the group.

        If it is not the last one, a recipient after it may be accepted whatever the reply.
        """
        what = f"the server closed the connection: {reply}"
        if self.was_sent and (self.pending or not is_last):
            yield from self.give_up(reply, what)
        # It came before the server asked for content: nothing of the message was taken.
        raise self.not_sent(reply, what)

    def _end_refused(self) -> Dialogue[None]:
        """End a refused transaction in a way that leaves the session usable if possible."""
        if self.one_flight:
            # The chunk is read and answered 503 or 554 (RFC 3030 section 2).
            reply: Reply = yield Want.CONTENT_REPLY
            if reply.code not in (503, 554) or not self.was_sent:
                self.session.close()
            if reply.is_positive and self.was_sent:
                self.result.refused.clear()  # The server contradicts its refusals.
                raise SMTPDeliveryUnknown("the server took the content of a refused message")
        elif self.probe_in_group:
            yield from self._reset_after((yield Want.REPLY))
        elif self.pipelining and not self.chunking:
            reply = yield Want.REPLY
            if reply.code == 354 and (self.sender_refusal or self.session.is_lmtp):
                # An old transaction is open after all: a dot would complete it. And LMTP answers
                # a dot once for each recipient: with no recipients, not at all.
                self.session.close()
            elif reply.code == 354:
                # RFC 2920 section 3.1: DATA without recipients gets an empty message.
                self.content_sent = self.session.send_content([b".\r\n"])
                yield Want.CONTENT_REPLY
        self.session.abandon_transaction()
        raise self.refusal()

    def _probe_chunking(self, probe: SplitContent) -> Dialogue[bool]:
        """Send the first chunk, as BDAT is unproved: False if the server does not support it."""
        if not self.probe_in_group:
            self.session.send_chunk(probe.first)
        try:
            reply: Reply = yield Want.REPLY
        except SMTPException:
            self.session.chunking = Chunking.OFF
            raise
        if reply.code == 421:
            raise self.not_sent(reply, f"the server closed the connection: {reply}")
        self.session.chunking = Chunking.PROVED if reply.is_positive else Chunking.OFF
        if not reply.is_positive:
            yield from self._reset_after(reply)
        return reply.is_positive

    def _reset_after(self, reply: Reply) -> Dialogue[None]:
        """RSET after a chunk that was answered with ``reply``, which may not have been read."""
        if not reply.is_positive:
            self.session.expect_stray_refusal()
        self.session.send(Command("RSET"))
        reply = yield Want.REPLY
        if not reply.is_positive and self.session.awaits_reply:
            reply = yield Want.REPLY
        if not reply.is_positive:
            raise self.not_sent(reply, f"the server refused RSET: {reply}")

    def _send_content(self) -> Dialogue[None]:
        if self.chunking:
            self._send_last_chunk()
        else:
            reply = yield from self._reply_to(Command("DATA"))
            if reply.code != 354:
                raise SMTPDataError(reply.code, reply.message)
            self.content_sent = self.session.send_content(self.content.dot_stuffed(), self.gate)

    def _send_last_chunk(self) -> None:
        if self.probe is not None:
            size, chunk = self.probe.rest_size, self.probe.rest
        else:
            size, chunk = self.content.size, self.content.chunk()
        self.content_sent = self.session.send_last_chunk(size, chunk, self.gate)

    def _content_replies(self) -> Dialogue[None]:
        result = self.result
        no_chunk: Reply | None = None
        has_quit = False
        while self.pending:
            reply: Reply = yield Want.REPLY if no_chunk else Want.CONTENT_REPLY
            answered = self.pending
            if self.chunking and reply.code in NOT_READ and not no_chunk:
                self.session.chunking = Chunking.OFF
                if not self.session.is_lmtp:
                    yield from self.give_up_chunk(reply)
            if not self.was_sent:
                # The server answers before the end. What it reads next is the rest of the
                # content: no command can follow on this connection.
                self.session.close()
                if reply.is_positive:
                    raise SMTPProtocolError(500, b"the content was answered before its end")
            elif no_chunk and reply.code == 221:
                # QUIT is answered, and they are not: it was for all of them.
                has_quit, reply = True, no_chunk
            elif self.session.is_lmtp:
                # RFC 2033 section 4.2: one reply for each recipient. Here 552 is a full mailbox.
                answered = self.pending[:1]
                if self.chunking and not no_chunk and reply.code in NOT_READ:
                    no_chunk = reply  # For this recipient, or for BDAT, and no other follows?
                    self.session.quit_early()
            elif self.chunking and reply.code == 552:
                # The chunk may not have been read to its end.
                self.session.close()
            self.pending = self.pending[len(answered) :]
            if reply.is_positive:
                result.accepted.extend(answered)
                result.reply = reply
            elif self.session.is_lmtp:
                result.refused.update(dict.fromkeys(answered, reply))
                result.refused_late.update(answered)
            else:
                raise SMTPDataError(reply.code, reply.message)
            if reply.code == 421 and self.pending:
                raise SMTPServerDisconnected(f"the server closed the connection: {reply}")
        if no_chunk and not has_quit:
            yield from self.check_nothing_taken(no_chunk, has_quit=True)
        if not result.accepted:
            raise self.refusal()
