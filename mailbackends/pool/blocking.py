"""The pool for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from mailbackends.pool.base import BasePool
from mailbackends.pool.ledger import Lease
from mailbackends.pool.poolable import Poolable
from mailbackends.transport.waiting import run

__all__ = ["Pool"]

C = TypeVar("C", bound=Poolable)


class Pool(BasePool[C], Generic[C]):
    """Connections that live across uses, shared by all threads of a process.

    ``connect`` opens one; it is called with the caller's deadline (time of ``clock``,
    or None). There are at most ``size`` connections at any time, those being opened or
    closed included. When all are in use, callers wait in a FIFO queue, for at most
    ``timeout`` seconds. A connection is retired after ``max_messages_per_connection``
    messages, ``max_lifetime`` seconds of life or ``max_idle`` seconds of idleness; `math.inf`
    is no limit. ``on_event`` is called for each connection opened, reused and retired.

    What is retired is closed whenever the pool is next used or asked for its `stats`;
    there is no background thread, which every fork would have to fear. In a process that
    goes quiet the connections therefore stay until their servers hang up; the check before
    the next use finds that, and opens another.

    After a fork the child starts with an empty pool: the parent's connections are
    dropped there without a byte on them, and the parent does not notice. At the end of
    the process idle connections are closed politely, within two seconds in all.

    Not for signal handlers: one may interrupt the pool between any two lines.
    """

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[C]:
        """A connection for one caller, the one used last if any is idle. `release` it.

        ``deadline`` (time of the pool's clock) bounds the wait beside the pool's own
        timeout, and is handed to ``connect``. With ``fresh`` the connection is a new one.

        Raises:
            PoolTimeout: no connection became free in time.
            PoolClosed: the pool was closed, before or during the wait.
            Exception: whatever ``connect`` raises; the place is free again.
        """
        lease: Lease[C] = Lease(fresh)
        try:
            run(self.fill(lease, deadline=deadline))
            return lease
        except BaseException:
            self._abandon(self._here(), lease)
            raise

    async def _open(self, deadline: float | None) -> C:
        connection: C = self._connect(deadline)
        return connection

    def _gate(self) -> tuple[Callable[[], object], threading.Lock]:
        # Looked up now, not at import: gevent may have put its own in place meanwhile.
        gate = threading.Lock()
        gate.acquire()
        return gate.release, gate

    async def _wait(self, gate: threading.Lock, seconds: float) -> None:
        gate.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
