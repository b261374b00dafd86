"""Messages on their way over a connection, each begun before those in front were answered."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from mailbackends.errors import (
    Outcome,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPServerDisconnected,
)
from mailbackends.protocol.dialogue import wait_for_close
from mailbackends.protocol.session import Dialogue, Want
from mailbackends.protocol.transaction import Delivery
from mailbackends.transport.deadline import Timeouts
from mailbackends.transport.driver import Driver

if TYPE_CHECKING:
    from mailbackends.mailer.connection import Connection
    from mailbackends.pool import Lease

__all__ = ["InFlightTransaction", "InFlightTransactions"]


@dataclass(slots=True, eq=False)
class InFlightTransaction:
    """One transaction under way over a connection, or what came of it."""

    lease: Lease[Connection]
    transaction: Dialogue[Delivery]
    want: Want
    """What the transaction waits for."""
    delivery: Delivery | None = None
    error: SMTPException | None = None

    @property
    def is_over(self) -> bool:
        """True once it is known what came of it."""
        return self.delivery is not None or self.error is not None

    @property
    def result(self) -> Delivery:
        """What came of it.

        Raises:
            SMTPException: with its outcome.
        """
        if self.error is not None:
            raise self.error
        if self.delivery is None:  # pragma: no cover - asked only of one that is over
            raise RuntimeError("the transaction is under way")
        return self.delivery


class InFlightTransactions:
    """All that are under way over one connection, the oldest first. Not thread-safe."""

    def __init__(self, driver: Driver, timeouts: Timeouts) -> None:
        self._driver = driver
        self._timeouts = timeouts
        self.under_way: deque[InFlightTransaction] = deque()
        self.ended = 0
        """How many were answered, or waited for in vain."""

    def begin(
        self, lease: Lease[Connection], transaction: Dialogue[Delivery]
    ) -> InFlightTransaction:
        """Queue all that the transaction says, and wait for nothing."""
        flight = InFlightTransaction(lease, transaction, next(transaction))
        self.under_way.append(flight)
        return flight

    def result(self, flight: InFlightTransaction) -> Delivery:
        """What came of this one, once it and those in front of it are answered.

        Raises:
            SMTPException: with its outcome.
        """
        while not flight.is_over:
            self._finish_oldest()
        return flight.result

    def settle(self, deadline: float | None) -> None:
        """Bring all to their end, each within ``deadline`` seconds. `result` tells which."""
        try:
            while self.under_way:
                # Not by the time of the message before: its caller may have taken that long.
                self._timeouts.latest = None if deadline is None else time.monotonic() + deadline
                self._finish_oldest()
        except BaseException:
            # Nobody else can use a connection on which something is left unanswered.
            self._driver.session.close()
            raise

    def _finish_oldest(self) -> None:
        flight = self.under_way[0]
        try:
            flight.delivery = self._driver.run(flight.transaction, self._timeouts, flight.want)
        except SMTPException as error:
            flight.error = error
        except BaseException:
            flight.error = SMTPDeliveryUnknown("the wait for the reply was interrupted")
            raise
        finally:
            self.under_way.popleft()
            self.ended += 1
        if self.under_way and _is_closing(flight.error):
            self._leave_those_behind(flight.error)

    def _leave_those_behind(self, why: SMTPException) -> None:
        """Where the server hangs up, as it said, what stood behind was not looked at."""
        if not self._driver.run(wait_for_close(), self._timeouts):
            return
        for flight in self.under_way:
            flight.transaction.close()
            flight.error = SMTPServerDisconnected(*why.args)
            flight.error.outcome = Outcome.NOT_SENT
        self.under_way.clear()


def _is_closing(error: SMTPException | None) -> TypeGuard[SMTPException]:
    """True for a 421 behind which nothing was taken."""
    if error is None or error.reply is None:
        return False
    return error.reply.code == 421 and error.outcome is Outcome.NOT_SENT
