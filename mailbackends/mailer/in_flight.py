"""Transactions in flight over a connection, each started before the earlier ones were answered."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeGuard

from mailbackends.errors import (
    Outcome,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPServerDisconnected,
)
from mailbackends.pool import Lease
from mailbackends.protocol.dialogue import wait_for_close
from mailbackends.protocol.session import Session, Want
from mailbackends.protocol.state import Dialogue, State
from mailbackends.protocol.transaction import Delivery
from mailbackends.transport.driver import Driver
from mailbackends.transport.waiting import Timeouts

__all__ = ["InFlightTransaction", "InFlightTransactions"]


@dataclass(slots=True, eq=False)
class InFlightTransaction:
    """One transaction in flight, or its result."""

    lease: Lease[Any]
    """The connection over which it was sent."""
    transaction: Dialogue[Delivery]
    want: Want
    """What the transaction is waiting for."""
    recipients: tuple[str, ...]
    session: Session
    place: int
    """Where its end is, in bytes sent in the whole session."""
    delivery: Delivery | None = None
    error: SMTPException | None = None
    end: int = 0
    """The number of replies on the connection, once it is over."""
    waits_for_close: bool = False
    """True if the server announced that it closes, and it remains to be seen whether it does."""

    @property
    def was_sent(self) -> bool:
        """True if the server may have all of it."""
        return self.session.has_sent(self.place)

    @property
    def is_over(self) -> bool:
        """True once its result is known."""
        return self.delivery is not None or self.error is not None

    @property
    def is_clean(self) -> bool:
        """True if all replies to it are positive."""
        return self.delivery is not None and not self.delivery.refused

    @property
    def result(self) -> Delivery:
        """Its result.

        Raises:
            SMTPException: with its outcome.
        """
        if self.error is not None:
            raise self.error
        if self.delivery is None:  # pragma: no cover - asked only of one that is over
            raise RuntimeError("the transaction is still in flight")
        return self.delivery


class InFlightTransactions:
    """All transactions in flight over one connection, the oldest first. Not thread-safe.

    Nothing in a reply says which command it answers. If the server sent one too many, that shows
    at a later reply only, and all since may belong to the commands before theirs. So a result is
    final once another message was accepted after it, without a refusal in either, or when all
    have theirs.
    """

    def __init__(self, driver: Driver, timeouts: Timeouts) -> None:
        self._driver = driver
        self._timeouts = timeouts
        self.pending: deque[InFlightTransaction] = deque()
        self._over: list[InFlightTransaction] = []
        self.ended: int = 0
        """The number answered, or given up on."""
        self._closing: SMTPException | None = None  # as `is_accepted` has read it

    def start(
        self, lease: Lease[Any], transaction: Dialogue[Delivery], recipients: tuple[str, ...]
    ) -> InFlightTransaction:
        """Queue all commands and the content of a transaction, and wait for nothing."""
        want, session = next(transaction), self._driver.session
        started = InFlightTransaction(lease, transaction, want, recipients, session, session.queued)
        self.pending.append(started)
        return started

    async def result(self, wanted: InFlightTransaction, deadline: float | None) -> Delivery:
        """The result of this one, once it is final. Those after it may take ``deadline`` each.

        Raises:
            SMTPException: with its outcome.
        """
        while not wanted.is_over:
            await self._finish_oldest()
        while self.pending and not self._is_final(wanted):
            await self._finish_next(deadline)
        if not self.pending:
            self._check_step()
        return wanted.result

    def is_accepted(self, wanted: InFlightTransaction) -> bool:
        """True if the server has accepted the message for everyone. Reads, and never waits."""
        while self.pending and not self._is_final(wanted):
            if not self._advance():
                return False
        if not self.pending:
            self._check_step()
        return wanted.is_clean

    def _advance(self) -> bool:
        """Give the oldest the next reply; False where that has to be waited for."""
        if self._closing is not None:
            return False
        oldest = self.pending[0]
        try:
            try:
                reply = self._driver.reply_at_hand()
            except SMTPException as error:
                self._driver.session.close()
                oldest.want = oldest.transaction.throw(error)
                return True
            if reply is None:
                return False
            oldest.want = oldest.transaction.send(reply)
            oldest.waits_for_close = self._driver.session.state is State.CLOSED
        except StopIteration as stop:
            oldest.delivery = stop.value
        except SMTPException as error:
            oldest.error = error
        if oldest.is_over:
            self._end_oldest()
            if self.pending and _is_closing(oldest.error):
                self._closing = oldest.error
        return True

    def _end_oldest(self) -> None:
        oldest = self.pending.popleft()
        oldest.end = self._driver.session.replies
        self._over.append(oldest)
        self.ended += 1

    async def settle(self, deadline: float | None) -> None:
        """Wait for all of them, each for at most ``deadline`` seconds. `result` has the results."""
        while self.pending:
            await self._finish_next(deadline)
        self._check_step()

    async def _finish_next(self, deadline: float | None) -> None:
        try:
            # A new deadline: the caller may have taken long since the message before.
            self._timeouts.latest = None if deadline is None else time.monotonic() + deadline
            await self._finish_oldest()
        except BaseException:
            # Nobody else can use a connection on which something is left unanswered.
            self._driver.session.close()
            raise

    def _is_final(self, wanted: InFlightTransaction) -> bool:
        if wanted not in self._over:
            return wanted.is_over
        place = self._over.index(wanted)
        both = self._over[place : place + 2]
        return len(both) == 2 and all(each.is_clean for each in both)

    def _check_step(self) -> None:
        """Take back the results that are not certain, if the server sent a reply too many.

        What comes later than the last reply that was awaited cannot be seen here.
        """
        if not self._over:
            return
        over, self._over = self._over, []
        session = self._driver.session
        self._driver.receive_surplus()
        session.surplus_replies()
        refusals, session.refusals = session.refusals or [], None
        if not session.surplus:
            return
        for each in over:
            if each.delivery is not None:
                # Replies to it may be among those that follow.
                following = range(each.end, each.end + session.surplus)
                is_certain = each.is_clean and not any(n in following for n in refusals)
            else:
                is_certain = each.error is None or each.error.outcome is not Outcome.REFUSED
            if not is_certain:
                each.delivery = None
                each.error = SMTPDeliveryUnknown(
                    "the server sent more replies than it got commands: which message each "
                    "belongs to is not certain"
                )
                each.error.unknown = each.recipients

    def abandon(self) -> None:
        """End all of them at once, without waiting: the connection has been closed."""
        self._closing = None
        while self.pending:
            oldest = self.pending.popleft()
            self.ended += 1
            try:
                oldest.transaction.throw(SMTPServerDisconnected("Connection unexpectedly closed"))
            except StopIteration as stop:
                oldest.delivery = stop.value
            except SMTPException as error:
                oldest.error = error
            if not oldest.is_over:  # pragma: no cover - no transaction goes on after that
                oldest.error = SMTPDeliveryUnknown("the connection was closed")

    async def _finish_oldest(self) -> None:
        if (closing := self._closing) is not None:
            self._closing = None
            await self._give_up_those_after(closing)
            return
        oldest = self.pending[0]
        try:
            oldest.delivery = await self._driver.run(
                oldest.transaction,
                self._timeouts,
                oldest.want,
                reads_on=oldest.waits_for_close,
            )
        except SMTPException as error:
            oldest.error = error
        except BaseException:
            kind = SMTPDeliveryUnknown if oldest.was_sent else SMTPServerDisconnected
            oldest.error = kind("the wait for the reply was interrupted")
            raise
        finally:
            self._end_oldest()
        if self.pending and _is_closing(oldest.error):
            await self._give_up_those_after(oldest.error)

    async def _give_up_those_after(self, why: SMTPException) -> None:
        """If the server closes, as it announced, it did not read what came after."""
        if not await self._driver.run(wait_for_close(), self._timeouts):
            return
        for each in self.pending:
            each.transaction.close()
            each.error = SMTPServerDisconnected(*why.args)
            each.error.outcome = Outcome.NOT_SENT
        self.pending.clear()


def _is_closing(error: SMTPException | None) -> TypeGuard[SMTPException]:
    """True for a reply with which the server closes, so that nothing after it was taken.

    It is a 421, or a refusal of RSET, as Exim gives it after too many messages.
    """
    return (
        isinstance(error, SMTPServerDisconnected)
        and error.reply is not None
        and error.outcome is Outcome.NOT_SENT
    )
