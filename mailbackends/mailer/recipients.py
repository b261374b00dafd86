"""Which recipients of a message have been served, over several transactions and servers.

`RecipientSplit` divides a message for a server that takes only so many recipients at once;
`Failover` decides who may be tried at the next server. Decisions only, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailbackends.errors import (
    BeforeEndError,
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    PoolClosed,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)
from mailbackends.protocol.transaction import Delivery
from mailbackends.reply import Reply

__all__ = ["Failover", "RecipientSplit"]


class RecipientSplit:
    """The recipients of one message, in as many transactions as the server needs.

    RFC 5321 section 4.5.3.1.10: a server that has enough recipients answers 452 to the
    next ones, and they go in another transaction. RFC 9422 lets it announce the number.
    """

    def __init__(self, recipients: tuple[str, ...]) -> None:
        self.left: tuple[str, ...] = recipients
        """The recipients that still need a transaction."""
        self._result: Delivery | None = None  # not made where one transaction does it

    def delivered(self, delivery: Delivery) -> int | None:
        """Note the replies to one transaction; recipients beyond its limit are left again.

        Returns how many recipients the server takes at once, where that was seen now.
        """
        if not delivery.refused and len(delivery.accepted) == len(self.left):
            # All of them, in one transaction: the usual case.
            if self._result is not None:
                delivery.refused = self._result.refused
                delivery.accepted = self._result.accepted + delivery.accepted
            self._result, self.left = delivery, ()
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

    @property
    def result(self) -> Delivery:
        """All replies so far; the one to the content is that of the last part."""
        if self._result is None:
            self._result = Delivery()
        return self._result

    def failed(self, error: SMTPException) -> None:
        """Note that a transaction failed.

        Once a recipient was served, an error for the whole message would have all of it
        sent again: from then on those who are left count as refused, with the reply that
        says whether to try again.

        Raises:
            SMTPException: no recipient was served, or it is unknown which were.
        """
        served = self.result.accepted
        if isinstance(error, SMTPRecipientsRefused):
            if not {*self.left} & {*error.refused}:
                # Of another message: a log handler that sends mail raised its own.
                raise error
            self.result.refused.update(error.refused)
            self._pass(set(error.refused))
            if served or self.left:
                return
            raise _for_everyone(error, self.result.refused) from error
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
        """The recipients beyond the limit; none if a later one was accepted."""
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


class Failover:
    """The outcome for each recipient so far. Decides who is tried at the next server.

    Those are the recipients who certainly do not have the message and may get it elsewhere:
    it was not sent, or was refused with a temporary code, for all or for this one. A
    recipient who was accepted or refused for good, or whose outcome is unknown, never is.
    """

    def __init__(self, recipients: tuple[str, ...]) -> None:
        self.left: tuple[str, ...] = recipients
        """The recipients for the next server; none at the end."""
        self._accepted: list[str] = []
        self._refused: dict[str, Reply] = {}
        self._delivery: Delivery | None = None  # the last one
        self._errors: list[SMTPException] = []

    @property
    def is_served(self) -> bool:
        """True if a server took responsibility for a recipient."""
        return bool(self._accepted)

    def delivered(self, delivery: Delivery) -> None:
        """Note that a server accepted the message, for at least one of those who were left."""
        self._accepted += delivery.accepted
        self._delivery = delivery
        if not delivery.refused:
            # A delivery accounts for each recipient that was given: nobody is left.
            self.left = ()
            return
        self._refused |= delivery.refused
        self.left = self._without(_permanent(delivery.refused), delivery.accepted)

    def failed(self, error: SMTPException) -> None:
        """Note that a server accepted the message for none of those who were left."""
        self._errors.append(error)
        # After a refused sender, RCPT gets 503: that says nothing about the recipient.
        refused = {} if isinstance(error, SMTPSenderRefused) else error.refused
        self._refused |= refused
        if error.outcome is Outcome.REFUSED and not isinstance(error, SMTPRecipientsRefused):
            if error.reply is not None and self.is_served:
                rest = self._without(refused)
                self._refused |= dict.fromkeys(rest, error.reply)
            may_go_on = error.is_transient
        else:
            is_final = isinstance(error, SMTPDeliveryUnknown | PoolClosed | BeforeEndError)
            may_go_on = not is_final and not error.accepted
        self.left = self._without(_permanent(refused)) if may_go_on else ()

    def end(self) -> Delivery:
        """The replies of all servers together; the one to the content is that of the last.

        Raises:
            SMTPException: no recipient was served, or it is unknown which were. It is the
                error of the last server; ``earlier`` has those before it.
        """
        delivery = self._delivery
        if delivery is not None and not self._refused and not self._errors:
            return delivery  # The first server took it for everyone: the usual case.
        last = self._errors[-1] if self._errors else None
        if last is None or (self.is_served and not isinstance(last, SMTPDeliveryUnknown)):
            reply = None if delivery is None else delivery.reply
            return Delivery(self._accepted, self._still_refused(), reply)
        raise self._joined(last)

    def _without(self, *others: Iterable[str]) -> tuple[str, ...]:
        """The recipients left, without ``others``."""
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
            # Some were refused for good at an earlier server.
            everyone = _for_everyone(error, refused)
            everyone.__cause__ = error
            error = everyone
        error.accepted = (*self._accepted, *error.accepted)
        error.refused = refused
        error.earlier = (*self._errors[:-1], *error.earlier)
        return error


def _for_everyone(
    error: SMTPRecipientsRefused, refused: Mapping[str, Reply]
) -> SMTPRecipientsRefused:
    """The error with the replies to those who were refused before as well."""
    everyone = SMTPRecipientsRefused.of(refused)
    everyone.outcome, everyone.server, everyone.wording = error.outcome, error.server, error.wording
    everyone.earlier = error.earlier
    return everyone


def _is_too_many(reply: Reply) -> bool:
    """True for "too many recipients", and not for a full disk, which is a 452 too."""
    status = reply.enhanced
    # RFC 5321 section 4.5.3.1.10: older servers say 552 where they mean 452.
    return reply.code in (452, 552) and (
        status is None or (status.subject, status.detail) == (5, 3)
    )


def _not_sent(error: SMTPException) -> Reply:
    """A reply that means "send it again later", in the terms of RFC 3463."""
    # 4.6.0 for the message, 4.4.2 for the connection.
    status = "4.6.0" if isinstance(error, InvalidAddressError | InvalidMessageError) else "4.4.2"
    return Reply(451, (f"{status} not sent: {error.args[0]}".encode(),))


def _permanent(refused: Mapping[str, Reply]) -> set[str]:
    return {to for to, reply in refused.items() if not reply.is_transient}
