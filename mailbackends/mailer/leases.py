"""Where the connections for messages come from: the pool, or one connection for several messages.

Whoever hands out a lease owns it, from before it is filled: so it is released however the
caller leaves, an exception between any two lines included.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from mailbackends.errors import PoolClosed
from mailbackends.mailer.connection import Connection
from mailbackends.pool import Lease
from mailbackends.pool.base import BasePool

__all__ = ["LeasedConnection", "Leases", "PoolLeases"]


class Leases(Protocol):
    """Hands out one connection at a time, and owns its lease. Not thread-safe."""

    def acquire(
        self, *, deadline: float | None = None, fresh: bool = False
    ) -> Coroutine[Any, Any, Lease[Connection]]:
        """A connection for the caller alone; a new one if ``fresh``.

        Raises:
            SMTPException: there is none, or none could be opened.
        """

    def release(self, lease: Lease[Connection] | None, *, limit: int | None = None) -> None:
        """Take the connection back; ``lease`` is None if the caller may have none.

        ``limit`` is the number of messages that the server was seen to take over one connection.
        """


class PoolLeases:
    """A connection of the pool for each message."""

    _lease: Lease[Connection] | None = None

    def __init__(self, pool: BasePool[Connection]) -> None:
        self._pool = pool

    def acquire(
        self, *, deadline: float | None = None, fresh: bool = False
    ) -> Coroutine[Any, Any, Lease[Connection]]:
        """See `Leases.acquire`."""
        lease: Lease[Connection] = Lease(fresh)
        self._lease = lease
        return self._pool.fill(lease, deadline=deadline)

    def __del__(self) -> None:
        # The last resort: an exception came within the `finally` that was about to release it.
        if self._lease is not None and self._lease.entry is not None:
            self._pool.release(self._lease, reusable=False)

    def release(self, lease: Lease[Connection] | None, *, limit: int | None = None) -> None:
        """See `Leases.release`."""
        owned = self._lease
        if owned is None or owned.entry is None:
            return
        # The session knows whether it can go on, whatever the exception.
        _give_back(self._pool, owned, owned.entry.connection.spent(limit))


class LeasedConnection:
    """Hands out the same connection as long as it can be used."""

    def __init__(self, pool: BasePool[Connection]) -> None:
        self._pool = pool
        self._lease: Lease[Connection] | None = None
        self._last: Connection | None = None  # the one over which the last message went
        self._is_closed = False

    async def acquire(
        self, *, deadline: float | None = None, fresh: bool = False
    ) -> Lease[Connection]:
        """The connection that is leased, if it can still be used, or another."""
        if (last := self.reused()) is not None:
            connection = last.connection
            # Messages in flight count too: the next one may be one too many.
            await connection.settle()
            # A connection that is newer than the one that failed is fresh enough.
            is_wanted = not fresh or connection is not self._last
            reason = connection.spent()
            if reason in ("", "error") and not (is_wanted and connection.is_alive()):
                reason = "dead"
            if not reason:
                return last
            await self.give_back(reason=reason)
        if self._is_closed:
            raise PoolClosed("the batch was ended before this message was sent")
        lease: Lease[Connection] = Lease(fresh)
        self._lease = lease
        return await self._pool.fill(lease, deadline=deadline)

    def reused(self) -> Lease[Connection] | None:
        """The leased connection, marked as used before; None if there is none."""
        if self._lease is None or self._lease.entry is None:
            return None
        # Also one that was new when it was taken: the server may have hung up unnoticed.
        self._lease.is_reused = True
        return self._lease

    def release(self, lease: Lease[Connection] | None, *, limit: int | None = None) -> None:
        """Keep the connection; one that cannot be used again goes back to the pool."""
        if lease is None:
            return
        self._last = lease.connection
        if self._lease is lease and (reason := lease.connection.spent(limit)):
            _give_back(self._pool, lease, reason)
        # Else it went back before: what was in flight over it ended only now.

    async def give_back(self, *, reason: str = "") -> None:
        """Return the connection to the pool: for reuse, or to be closed for the reason given."""
        lease = self._lease
        if lease is None or lease.entry is None:
            return
        try:
            await lease.connection.settle()
        finally:
            # Also where the wait was interrupted; a second release does nothing.
            _give_back(self._pool, lease, reason or lease.connection.spent())

    async def close(self) -> None:
        """Return the connection to the pool, and take no other."""
        self._is_closed = True
        await self.give_back()


def _give_back(pool: BasePool[Connection], lease: Lease[Connection], spent: str) -> None:
    """Return the connection to the pool; ``spent`` says why it cannot be used again."""
    if (entry := lease.entry) is not None:
        # The connection counts its messages; the pool counts them when it gets it back.
        messages = entry.connection.messages - entry.messages
        pool.release(lease, reusable=not spent, messages=messages, reason=spent)
