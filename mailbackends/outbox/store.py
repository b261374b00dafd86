"""What a worker and an operator need from a database. Stores run statements and decide nothing.

A store has two tables (see `OutboxMessage` and `OutboxRecipient`), the log of each message, and
a table of pauses. All times that a store compares or writes come from the database's own clock:
workers on hosts with wrong clocks then agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from mailbackends.outbox.state import State
from mailbackends.outbox.values import Change, LogEntry, OutboxMessage, Pause, Status

__all__ = ["LeaseLost", "Store"]


class LeaseLost(Exception):
    """Somebody else has the messages ``ids``, or they were cancelled: do not send them."""

    def __init__(self, ids: Iterable[UUID]) -> None:
        self.ids: tuple[UUID, ...] = tuple(ids)
        super().__init__(
            "the lease was lost on " + ", ".join(map(str, self.ids)) + ": nothing was sent"
        )


class Store(Protocol):
    """The outbox's tables. Thread-safe: each call is a transaction by itself, committed on return.

    An application inserts messages in its own transaction, which is no part of this protocol.
    """

    def claim(
        self, limit: int, *, lease: float, worker: str, aliases: Sequence[str]
    ) -> list[OutboxMessage]:
        """Take at most ``limit`` due messages, with content, for ``lease`` seconds.

        A message is due where ``state`` is queued, ``due_at`` is past and ``expires_at`` is not.
        Aliases that are paused are left out. `order_of_priorities` says which priorities come
        first; within one, the order is that of ``due_at``. In the same transaction ``state``
        becomes claimed, ``lease_by`` a new `lease_token` of the worker, ``lease_until`` now plus
        ``lease``, and ``attempts`` one more. Two workers never get the same message
        (``FOR UPDATE SKIP LOCKED``, or a compare-and-set UPDATE). A row that cannot be read is
        parked in the same transaction, with the reason.
        """

    def begin(self, messages: Sequence[OutboxMessage], *, lease: float) -> None:
        """Commit that the end of these contents may leave: claimed becomes begun.

        All of them or none. A message that is begun already stays so: a Mailer calls again for
        each further attempt. The lease is renewed.

        Raises:
            LeaseLost: one is in another state, or under another lease (``lease_by``). Then
                nothing was written.
        """

    def record(self, change: Change) -> bool:
        """Write a change in a transaction; False where it does not apply, and nothing was written.

        It applies where `Change.before`, and `Change.lease_by` and `Change.version` if given,
        match the row, in the WHERE of the UPDATE or under a lock on the row. Written are the
        message's ``state``, ``reason``, ``lost_leases``, ``updated_at``, ``version`` (one more),
        ``due_at`` (now plus
        `Change.delay`); the recipients' rows; and the log entry. The lease stays where the new
        state is claimed or begun. Else ``lease_until`` is set to NULL; ``lease_by`` stays where
        the new state is unknown, so that a late reply can still resolve it.
        """

    def record_all(self, changes: Sequence[Change]) -> list[bool]:
        """As `record` for each change, in one transaction; at most one change for a message."""

    def release(self, messages: Sequence[OutboxMessage]) -> int:
        """Put claimed messages back, due at once: nothing was tried. Returns how many.

        ``attempts`` is one less again. Messages under another lease, or begun, are left alone.
        """

    def renew(self, messages: Sequence[OutboxMessage], *, lease: float) -> int:
        """Extend the leases on claimed and begun messages; returns how many were still held."""

    def lost(self, limit: int) -> list[OutboxMessage]:
        """Claimed and begun messages whose lease has expired, without content.

        `lease_expired` decides about each; `record` checks that it is still so, since two may
        sweep at the same time, or the lease be renewed. Rows that cannot be read are parked.
        """

    def overdue(self, limit: int) -> list[OutboxMessage]:
        """Queued messages past their ``expires_at``, without content; `expired` decides.

        Rows that cannot be read are parked.
        """

    def get(self, id: UUID) -> OutboxMessage | None:
        """The message with content, or None.

        Raises:
            ValueError: the row cannot be read.
        """

    def find(
        self,
        *,
        state: State | None = None,
        address: str | None = None,
        message_id: str | None = None,
        key: str | None = None,
        limit: int = 100,
    ) -> list[OutboxMessage]:
        """The messages that match all that is given, without content, the newest first.

        Rows that cannot be read are left out.
        """

    def log(self, id: UUID) -> list[LogEntry]:
        """The history of a message, the oldest entry first."""

    def pause(self, alias: str, seconds: float, *, failures: int, reason: str) -> None:
        """Let all mail of the alias wait, unless it is paused for longer."""

    def resume(self, alias: str) -> None:
        """End the pause of an alias."""

    def pauses(self) -> list[Pause]:
        """The pauses, those that are over included: their count of failures goes on."""

    def status(self) -> Status:
        """Counts for people, health checks and metrics."""

    def prune(self, *, states: Iterable[State], older_than: float, limit: int = 1000) -> int:
        """Delete messages in these states, unchanged for so many seconds; returns how many.

        At most ``limit`` in one transaction: call again until it returns 0.
        """

    def erase_content(self, id: UUID) -> None:
        """Delete the content of a message in a final state, and keep its outcome (privacy)."""

    def blobs_in_use(self, digests: Sequence[str]) -> set[str]:
        """Those of the blobs that a message refers to: the others can be deleted."""

    def wait(self, seconds: float) -> bool:
        """Wait for new messages, at most so long; True where there may be some.

        A store that is not notified (LISTEN on PostgreSQL) sleeps and returns True.
        """

    def close(self) -> None:
        """Close what the store opened."""
