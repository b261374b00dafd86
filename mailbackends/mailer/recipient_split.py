"""A message with more recipients than the server takes at once: dealt out, and joined again."""

from __future__ import annotations

from mailbackends.errors import (
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)
from mailbackends.protocol.transaction import Delivery
from mailbackends.reply import Reply

__all__ = ["RecipientSplit"]


class RecipientSplit:
    """The recipients of one message, in as many transactions as the server needs.

    RFC 5321 section 4.5.3.1.10: a server that has enough recipients answers 452 to the
    next ones, and they go in another transaction. RFC 9422 lets it tell the number before.
    """

    def __init__(self, recipients: tuple[str, ...]) -> None:
        self.left = recipients
        """The recipients that still wait for a transaction."""
        self.result = Delivery()
        """All replies so far; the one to the content is that of the last part."""

    def delivered(self, delivery: Delivery) -> int | None:
        """Note the replies to one transaction; recipients beyond its limit are left again.

        Returns how many recipients the server takes at once, where that was seen now.
        """
        if not delivery.refused and len(delivery.accepted) == len(self.left):
            # All of them: mostly there is one part, and all is well.
            delivery.refused = self.result.refused
            delivery.accepted = self.result.accepted + delivery.accepted
            self.result, self.left = delivery, ()
            return None
        postponed = self._beyond_limit(delivery)
        for to, reply in delivery.refused.items():
            if to not in postponed:
                self.result.refused[to] = reply
        self.result.accepted += delivery.accepted
        self.result.reply = delivery.reply
        taken = len(delivery.accepted) + len(delivery.refused) - len(postponed)
        self._pass({*delivery.accepted, *delivery.refused}.difference(postponed))
        return taken if postponed else None

    def failed(self, error: SMTPException) -> None:
        """Note that a transaction failed.

        Once somebody was served, an error for the whole message would call for all of it
        to be sent again: from then on who is left counts as refused, with the reply that
        says for how long.

        Raises:
            SMTPException: nobody was served, or nobody knows who was.
        """
        served = self.result.accepted
        if isinstance(error, SMTPRecipientsRefused):
            if not {*self.left} & {*error.refused}:
                # Of another message: a log handler that sends mail let its own through.
                raise error
            self.result.refused.update(error.refused)
            self._pass(set(error.refused))
            if served or self.left:
                return
            refused = {to: (r.code, r.message) for to, r in self.result.refused.items()}
            everyone = SMTPRecipientsRefused(refused)
            everyone.outcome, everyone.server = error.outcome, error.server
            raise everyone from error
        if isinstance(error, SMTPDeliveryUnknown):
            self._pass({*error.unknown, *error.accepted, *error.refused})
            rest = dict.fromkeys(self.left, _not_sent(error))
            error.accepted = (*served, *error.accepted)
            error.refused = {**self.result.refused, **error.refused, **rest}
            raise error
        if not served:
            error.refused = {**self.result.refused, **error.refused}
            raise error
        is_refusal = isinstance(error, SMTPSenderRefused | SMTPDataError) and error.reply
        reply = error.reply if is_refusal and error.reply else _not_sent(error)
        self.result.refused.update({**dict.fromkeys(self.left, reply), **error.refused})
        self.left = ()

    def _beyond_limit(self, delivery: Delivery) -> list[str]:
        """Those who were too many: behind them nobody was taken, else it was about the one."""
        beyond: list[str] = []
        for to in self.left:
            reply = delivery.refused.get(to)
            if to in delivery.accepted or to in delivery.refused_late:
                beyond.clear()
            elif reply is not None and _is_too_many(reply):
                beyond.append(to)
        return beyond

    def _pass(self, done: set[str]) -> None:
        self.left = tuple(to for to in self.left if to not in done)


def _is_too_many(reply: Reply) -> bool:
    """True for "too many recipients", and not for a full disk, which is a 452 too."""
    status = reply.enhanced
    # RFC 5321 section 4.5.3.1.10: older servers say 552 where they mean 452.
    return reply.code in (452, 552) and (
        status is None or (status.subject, status.detail) == (5, 3)
    )


def _not_sent(error: SMTPException) -> Reply:
    """The reply that stands for "may be sent again": a 4yz, as RFC 3463 has it."""
    return Reply(451, (f"4.4.2 not sent: {error.args[0]}".encode(),))
