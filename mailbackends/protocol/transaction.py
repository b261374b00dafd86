"""One message: MAIL, RCPT, content, and its outcome for each recipient.

There are three ways to send it, depending on what the server announces and on its state:

- one flight: ``MAIL RCPT... BDAT n LAST content``, one round trip (RFC 2920, RFC 3030);
- a group: ``[RSET] MAIL RCPT... DATA``, then the content: two round trips (RFC 2920);
- lock-step: each command waits for the reply to the one before.
"""

from __future__ import annotations

from mailbackends.errors import (
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPProtocolError,
    SMTPServerDisconnected,
)
from mailbackends.mime.content import Content
from mailbackends.protocol.command import Command, mail, rcpt
from mailbackends.protocol.delivery import Delivery, DeliveryRecord
from mailbackends.protocol.dialogue import wait_for_close
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import Dialogue, Session, Want
from mailbackends.protocol.state import State
from mailbackends.reply import Reply

__all__ = ["Delivery", "deliver", "fits_one_flight"]

# In one flight, the content is sent in vain if a recipient is refused: small contents only.
_MAX_ONE_FLIGHT = 64 * 1024

# With these replies to BDAT the chunk may have been read as commands, or not to its end.
_OUT_OF_STEP = frozenset({500, 501, 502, 503, 552})


def deliver(
    session: Session,
    envelope: Envelope,
    content: Content,
    *,
    pipelining: bool = True,
    chunking: bool = True,
    follows_another: bool = False,
) -> Dialogue[Delivery]:
    """Send one message, and return the recipients that were accepted: at least one.

    ``pipelining`` and ``chunking`` allow the extension if the server announces it. The session
    stays usable after a refusal; see `Session.is_reusable`. A message that ``follows_another``
    is sent in one flight before the other one is answered, whatever its outcome will be.

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
        chunking=chunking and "CHUNKING" in offered,
        follows_another=follows_another,
    )
    return transaction.run()


def fits_one_flight(content: Content) -> bool:
    """True if it is small and in memory: content made while it is sent may fail half-way."""
    return content.size <= _MAX_ONE_FLIGHT and all(isinstance(p, bytes) for p in content.pieces)


class _Transaction(DeliveryRecord):
    def __init__(
        self,
        session: Session,
        envelope: Envelope,
        content: Content,
        *,
        pipelining: bool,
        chunking: bool,
        follows_another: bool,
    ) -> None:
        super().__init__(session, envelope)
        self.content = content
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
        self.chunking = chunking
        self.follows_another = follows_another
        self.one_flight = follows_another or (
            pipelining and chunking and not self.rset and content.size <= _MAX_ONE_FLIGHT
        )
        # After one flight, a server may answer only when it is done with the content, too.
        self.want = Want.CONTENT_REPLY if self.one_flight else Want.REPLY

    def run(self) -> Dialogue[Delivery]:
        try:
            if self.pipelining:
                self._send_group()
            yield from self._envelope_replies()
            if self.sender_refusal or not self.pending:
                yield from self._end_refused()
            else:
                yield from self._send_content()
                yield from self._content_replies()
        except SMTPException as error:
            final = self.with_outcome(error)
            if final is error:
                raise
            raise final from error
        return self.result

    def _send_group(self) -> None:
        if self.follows_another:
            self.session.allow_next_transaction()
        data = [] if self.chunking else [Command("DATA")]
        self.session.send(*self.rset, self.mail, *self.rcpts, *data)
        if self.one_flight:
            self._send_chunk()

    def _envelope_replies(self) -> Dialogue[None]:
        for command in self.rset:
            reply = yield from self._reply_to(command, is_last=False)
            if self.session.state is State.CLOSED:
                raise SMTPServerDisconnected(f"the server refused RSET: {reply}")
        reply = yield from self._reply_to(self.mail)
        if not reply.is_positive:
            self.sender_refusal = reply
            if not self.pipelining:
                return
        for address, command in zip(self.recipients, self.rcpts, strict=True):
            is_last = command is self.rcpts[-1]
            reply = yield from self._reply_to(command, is_last=is_last)
            if reply.is_positive:
                self.pending.append(address)
            else:
                self.result.refused[address] = reply

    def _reply_to(self, command: Command, *, is_last: bool = True) -> Dialogue[Reply]:
        """The reply to a command of the group; in lock-step, the command is sent only now.

        If it is not the last one, a recipient after it may be accepted whatever the reply.
        """
        if not self.pipelining:
            self.session.send(command)
        reply: Reply = yield self.want
        if reply.code == 421:
            # Some servers answer one command with 421 and go on: then they may take the content.
            may_be_taken = self.was_sent and (self.pending or not is_last)
            if may_be_taken and not (yield from wait_for_close()):
                raise SMTPDeliveryUnknown("the server answered 421 and did not close")
            # It came before the server asked for content: nothing of the message was taken.
            self.is_untaken = True
            error = SMTPServerDisconnected(f"the server closed the connection: {reply}")
            error.reply = reply
            raise error
        return reply

    def _end_refused(self) -> Dialogue[None]:
        """End a refused transaction in a way that leaves the session usable if possible."""
        if self.one_flight:
            # The chunk is swallowed and answered 503 or 554 (RFC 3030 section 2).
            reply: Reply = yield Want.CONTENT_REPLY
            if reply.code not in (503, 554) or not self.was_sent:
                self.session.close()
            if reply.is_positive and self.pending and self.was_sent:
                raise SMTPDeliveryUnknown("the server took the content of a refused message")
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

    def _send_content(self) -> Dialogue[None]:
        if self.one_flight:
            pass
        elif self.chunking:
            self._send_chunk()
        else:
            reply = yield from self._reply_to(Command("DATA"))
            if reply.code != 354:
                raise SMTPDataError(reply.code, reply.message)
            self.content_sent = self.session.send_content(self.content.dot_stuffed())
        if self.session.is_lmtp:
            self.session.expect_content_replies(len(self.pending) - 1)

    def _send_chunk(self) -> None:
        content = self.content
        self.content_sent = self.session.send_last_chunk(content.size, content.chunk())

    def _content_replies(self) -> Dialogue[None]:
        result = self.result
        no_chunk: Reply | None = None
        while self.pending:
            reply: Reply = yield Want.REPLY if no_chunk else Want.CONTENT_REPLY
            answered = self.pending
            if not self.was_sent:
                # The server answers before the end. What it reads next is the rest of the
                # content: no command can follow on this connection.
                self.session.close()
                if reply.is_positive:
                    raise SMTPProtocolError(500, b"the content was answered before its end")
            elif no_chunk and reply.code == 221:
                reply = no_chunk  # QUIT is answered, and they are not: it was for all of them.
            elif self.session.is_lmtp:
                # RFC 2033 section 4.2: one reply for each recipient. Here 552 is a full mailbox.
                answered = self.pending[:1]
                if self.chunking and not no_chunk and reply.code in _OUT_OF_STEP - {552}:
                    no_chunk = reply  # For this recipient, or for BDAT, and no other follows?
                    self.session.quit_early()
            elif self.chunking and reply.code in _OUT_OF_STEP:
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
        if not result.accepted:
            raise self.refusal()
