"""One message on its way from server to server: who is served, and who may be tried again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailbackends.errors import (
    Outcome,
    PoolClosed,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)
from mailbackends.protocol.transaction import Delivery
from mailbackends.reply import Reply

__all__ = ["Failover"]


class Failover:
    """What became of each recipient so far. Decides who goes on to the next server.

    On goes whoever certainly has not got the message, and may get it elsewhere: the
    message was not sent, or was refused with a temporary code, for all or for this one.
    Who was accepted, refused for good, or is in the dark (`Outcome.UNKNOWN`) never does.
    """

    def __init__(self, recipients: tuple[str, ...]) -> None:
        self.left = recipients
        """The recipients for the next server; none where the journey is over."""
        self._accepted: list[str] = []
        self._refused: dict[str, Reply] = {}
        self._reply: Reply | None = None
        self._errors: list[SMTPException] = []

    @property
    def is_served(self) -> bool:
        """True where a server took responsibility for a recipient."""
        return bool(self._accepted)

    def delivered(self, delivery: Delivery) -> None:
        """Note that a server took the message, for some at least of those who were left."""
        self._accepted += delivery.accepted
        self._refused |= delivery.refused
        self._reply = delivery.reply
        if not delivery.refused:
            # A server tells of each one whom it was given: nobody is left.
            self.left = ()
            return
        self.left = self._without(_permanent(delivery.refused), delivery.accepted)

    def failed(self, error: SMTPException) -> None:
        """Note that a server took the message for none of those who were left."""
        self._errors.append(error)
        # Behind a refused sender, RCPT gets 503: that says nothing of the recipient.
        refused = {} if isinstance(error, SMTPSenderRefused) else error.refused
        self._refused |= refused
        if error.outcome is Outcome.REFUSED and not isinstance(error, SMTPRecipientsRefused):
            if error.reply is not None and self.is_served:
                rest = self._without(refused)
                self._refused |= dict.fromkeys(rest, error.reply)
            may_go_on = error.is_transient
        else:
            is_final = isinstance(error, SMTPDeliveryUnknown | PoolClosed)
            may_go_on = not is_final and not error.accepted
        self.left = self._without(_permanent(refused)) if may_go_on else ()

    def end(self) -> Delivery:
        """The replies of all servers, joined; the one to the content is the last one's.

        Raises:
            SMTPException: nobody was served, or it is not known who was. It is the error of
                the last server; ``earlier`` has those before it.
        """
        last = self._errors[-1] if self._errors else None
        if last is None or (self.is_served and not isinstance(last, SMTPDeliveryUnknown)):
            refused = self._still_refused() if self._refused else {}
            return Delivery(self._accepted, refused, self._reply)
        raise self._joined(last)

    def _without(self, *others: Iterable[str]) -> tuple[str, ...]:
        """Those who are left, but for the others."""
        excluded = set().union(*others)
        return tuple(to for to in self.left if to not in excluded)

    def _still_refused(self, *others: str) -> dict[str, Reply]:
        served = {*self._accepted, *others}
        return {to: reply for to, reply in self._refused.items() if to not in served}

    def _joined(self, error: SMTPException) -> SMTPException:
        """The error, with what happened at the other servers."""
        unknown = error.unknown if isinstance(error, SMTPDeliveryUnknown) else ()
        refused = self._still_refused(*error.accepted, *unknown)
        if isinstance(error, SMTPRecipientsRefused) and refused.keys() != error.recipients.keys():
            # Some were refused for good at a server before.
            everyone = SMTPRecipientsRefused({to: (r.code, r.message) for to, r in refused.items()})
            everyone.outcome, everyone.server = error.outcome, error.server
            everyone.__cause__ = error
            error = everyone
        error.accepted = (*self._accepted, *error.accepted)
        error.refused = refused
        error.earlier = tuple(self._errors[:-1])
        return error


def _permanent(refused: Mapping[str, Reply]) -> set[str]:
    return {to for to, reply in refused.items() if not reply.is_transient}
