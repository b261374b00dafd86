"""One connection to one server, kept for the dispatcher to use again and again."""

from __future__ import annotations

from dataclasses import replace

from mailbackends.errors import PoolClosed
from mailbackends.mailer.connection import Connection
from mailbackends.pool import Lease, Pool

__all__ = ["LeasedConnection"]


class LeasedConnection:
    """Hands out the same connection as long as it can be used. Not thread-safe."""

    def __init__(self, pool: Pool[Connection]) -> None:
        self._pool = pool
        self._lease: Lease[Connection] | None = None
        self._before = 0  # the messages over it when it was taken
        self._last: Connection | None = None  # the one over which the last message went
        self._is_closed = False

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[Connection]:
        """The connection that is held, if it can still be used, or another."""
        if (lease := self.reused()) is not None:
            connection = lease.connection
            # What is on its way counts, too: the next message may be one too many.
            connection.settle()
            # One that is newer than the one that failed is fresh enough.
            is_wanted = not fresh or connection is not self._last
            reason = connection.spent() if is_wanted and connection.is_alive() else "dead"
            if not reason:
                return lease
            self.give_back(reason=reason)
        if self._is_closed:
            raise PoolClosed("the batch was ended before this message was sent")
        self._lease = lease = self._pool.acquire(deadline=deadline, fresh=fresh)
        self._before = lease.connection.messages
        return lease

    def reused(self) -> Lease[Connection] | None:
        """The connection that is held, as one that has served before; None where none is."""
        if self._lease is not None and not self._lease.is_reused:
            # Also one that was new when it was taken: the server may have hung up unseen.
            self._lease = replace(self._lease, is_reused=True)
        return self._lease

    def release(
        self, lease: Lease[Connection], *, reusable: bool, messages: int = 1, reason: str = ""
    ) -> None:
        """Keep the connection; one that cannot be used again goes back to the pool."""
        self._last = lease.connection
        if self._lease is None or lease.connection is not self._lease.connection:
            return  # It went back before: what was begun over it came to its end only now.
        if not reusable:
            self.give_back(reason=reason or "error")

    def give_back(self, *, reason: str = "") -> None:
        """Let go of the connection: for reuse, or for the reason given to be closed."""
        if (lease := self._lease) is None:
            return
        connection = lease.connection
        try:
            connection.settle()
        finally:
            # Also where the wait was interrupted; a second release does nothing.
            reason = reason or connection.spent()
            messages = connection.messages - self._before
            self._pool.release(lease, reusable=not reason, messages=messages, reason=reason)
            self._lease = None

    def close(self) -> None:
        """Let go of the connection, and take no other."""
        self._is_closed = True
        self.give_back()
