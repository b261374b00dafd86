"""A message that was begun before the one in front of it was answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailbackends.errors import SMTPException
from mailbackends.protocol.session import Dialogue, Want
from mailbackends.protocol.transaction import Delivery

if TYPE_CHECKING:
    from mailbackends.mailer.connection import Connection
    from mailbackends.pool import Lease

__all__ = ["Flight"]


@dataclass(slots=True, eq=False)
class Flight:
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
