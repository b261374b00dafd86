"""The outcome of one message for each recipient, as far as the server's replies show it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailbackends.errors import (
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.protocol.dialogue import wait_for_close
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.gates import ContentSent
from mailbackends.protocol.session import Session, Want
from mailbackends.protocol.state import Dialogue
from mailbackends.reply import Reply

__all__ = ["Delivery", "DeliveryRecord"]


@dataclass(slots=True)
class Delivery:
    """The replies to one message: for each recipient, and for the content."""

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, Reply] = field(default_factory=dict)
    reply: Reply | None = None
    refused_late: set[str] = field(default_factory=set)
    """The recipients that an LMTP server refused after the content (RFC 2033 section 4.2)."""


class DeliveryRecord:
    """What is known of one message, while it is sent and at its end."""

    def __init__(self, session: Session, envelope: Envelope) -> None:
        self.session = session
        self.reverse_path: str = envelope.reverse_path
        self.recipients: tuple[str, ...] = envelope.forward_paths
        self.content_sent: ContentSent | None = None
        self.sender_refusal: Reply | None = None
        self.one_flight = False
        """True if the content is sent before any reply to the envelope."""
        self.follows_another: bool = False
        """True if it is sent before another one is answered."""
        self.is_untaken: bool = False
        """True if the server announced that it closes, and had not taken the content before."""
        self.pending: list[str] = []
        """The recipients that RCPT accepted; the reply to the content decides about them."""
        self.result: Delivery = Delivery()

    @property
    def was_sent(self) -> bool:
        """True if the server may have all of the content."""
        return self.session.was_sent(self.content_sent)

    def refusal(self) -> SMTPException:
        """The error for a message that was refused before its content was sent."""
        if self.sender_refusal:
            reply = self.sender_refusal
            return SMTPSenderRefused(reply.code, reply.message, self.reverse_path)
        return SMTPRecipientsRefused.of(self.result.refused)

    def not_sent(self, reply: Reply, what: str) -> SMTPServerDisconnected:
        """The error for a reply after which the server takes nothing that it was sent."""
        self.is_untaken = True
        error = SMTPServerDisconnected(what)
        error.reply = reply
        return error

    def check_surplus(self, *, is_accepted: bool) -> None:
        """Check that a server which sent one reply too many cannot mean another outcome.

        Then each reply after it was taken for that to the next command, and the last one is that
        to the content. In one flight, and in LMTP, it may have been any recipient's; elsewhere
        that is noticed before the content is sent.

        Raises:
            SMTPDeliveryUnknown: it is not known which recipients have the message.
        """
        surplus = self.session.surplus_replies()
        if not surplus:
            return
        may_be_shifted = is_accepted and (self.one_flight or self.session.is_lmtp)
        is_clear = not (may_be_shifted and self.result.refused)
        if surplus and not (is_clear and all(r.is_positive is is_accepted for r in surplus)):
            self.result = Delivery()
            raise SMTPDeliveryUnknown(
                f"the server sent more replies than it got commands, at last: {surplus[-1]}"
            )

    def give_up(self, reply: Reply, what: str) -> Dialogue[None]:
        """Raise the error for a reply after which nothing more can be sent.

        Some servers go on nevertheless, and may take the content that was sent before.
        """
        if self.was_sent and not (yield from wait_for_close()):
            self.session.out_of_step()
            raise SMTPDeliveryUnknown(f"the server answered {reply.code} and did not close")
        raise self.not_sent(reply, what)

    def give_up_chunk(self, reply: Reply) -> Dialogue[None]:
        """Raise the error for a reply to BDAT that refuses the command itself.

        The chunk was read as commands then, unless the reply was one too many and the one to the
        chunk follows. So QUIT is sent after it, to see what is answered before it.
        """
        what = f"the server refused BDAT: {reply}"
        if self.was_sent and self.follows_another:
            yield from self.give_up(reply, what)
        if self.was_sent:
            yield from self.check_nothing_taken(reply)
        self.session.close()
        raise self.not_sent(reply, what)

    def check_nothing_taken(self, refusal: Reply, *, has_quit: bool = False) -> Dialogue[None]:
        """Read what follows, up to the reply to QUIT.

        Raises:
            SMTPDeliveryUnknown: something was accepted.
            SMTPTimeoutError: nothing follows, and the server does not close.
        """
        is_taken = False
        replies = [] if has_quit else self.session.surplus_replies()
        try:
            if not replies and not has_quit:
                self.session.quit_early()
            while self.session.awaits_reply and (not replies or replies[-1].code != 221):
                replies.append((yield Want.REPLY))
        except SMTPProtocolError:
            is_taken = True  # It came before QUIT was sent.
        except SMTPTimeoutError:
            if not has_quit:
                raise
        except SMTPServerDisconnected:
            pass  # What it had not taken before, it never will.
        replies += self.session.surplus_replies()
        if is_taken or any(reply.is_positive and reply.code != 221 for reply in replies):
            self.session.out_of_step()
            self.result = Delivery()
            raise SMTPDeliveryUnknown(f"the server refused BDAT, and took the chunk: {refusal}")

    def with_outcome(self, error: SMTPException) -> SMTPException:
        """The error with the outcome of the message, given the error that ended it."""
        if isinstance(error, SMTPSenderRefused | SMTPRecipientsRefused | SMTPDataError):
            error.outcome = Outcome.REFUSED
            if self.was_sent:
                try:
                    self.check_surplus(is_accepted=False)
                except SMTPDeliveryUnknown as unknown:
                    error = unknown
        elif not isinstance(error, SMTPDeliveryUnknown):
            if self._was_refused():
                # The connection broke after the refusal, which is still valid.
                error = self.refusal()
                error.outcome = Outcome.REFUSED
            elif self._may_be_there():
                error = SMTPDeliveryUnknown(error.what)
            else:
                error.outcome = Outcome.NOT_SENT
        if isinstance(error, SMTPDeliveryUnknown):
            error.unknown = tuple(self._unanswered())
        error.accepted = tuple(self.result.accepted)
        # After a refused sender, RCPT gets 503, which says nothing about the recipient.
        is_about_sender = isinstance(error, SMTPSenderRefused)
        error.refused = {} if is_about_sender else dict(self.result.refused)
        return error

    def _was_refused(self) -> bool:
        if self.sender_refusal is not None:
            # A server that accepts recipients all the same may accept the content, too.
            return not (self.pending and self._may_be_there())
        return len(self.result.refused) == len(self.recipients)

    def _may_be_there(self) -> bool:
        return self.was_sent and not self.is_untaken

    def _unanswered(self) -> list[str]:
        done = {*self.result.accepted, *self.result.refused}
        return [path for path in self.recipients if path not in done]
