"""One connection to one server, kept for the dispatcher to use again and again."""

from __future__ import annotations

from dataclasses import replace

from mailbackends.errors import PoolClosed
from mailbackends.mailer.connection import Connection
from mailbackends.pool import Lease, Pool

__all__ = ["Kept"]


class Kept:
    """Hands out the same connection as long as it can be used. Not thread-safe."""

    def __init__(self, pool: Pool[Connection]) -> None:
        self._pool = pool
        self._messages = 0
        self._lease: Lease[Connection] | None = None
        self._is_closed = False

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[Connection]:
        """The connection that is held, if it can still be used, or another."""
        if not fresh and (lease := self.reused()) is not None and lease.connection.is_alive():
            return lease
        self.give_back(reason="dead")
        if self._is_closed:
            raise PoolClosed("the batch was ended before this message was sent")
        self._lease = self._pool.acquire(deadline=deadline, fresh=fresh)
        return self._lease

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
        if self._lease is None or lease.connection is not self._lease.connection:
            return  # It went back before: what was begun over it came to its end only now.
        self._messages += messages
        if not reusable:
            self.give_back(reason=reason or "error")

    def give_back(self, *, reason: str = "") -> None:
        """Let go of the connection: for reuse, or for the reason given to be closed."""
        lease, self._lease = self._lease, None
        messages, self._messages = self._messages, 0
        if lease is not None:
            lease.connection.settle()
            self._pool.release(lease, reusable=not reason, messages=messages, reason=reason)

    def close(self) -> None:
        """Let go of the connection, and take no other."""
        self._is_closed = True
        self.give_back()
