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
    """A pool of connections that all threads of a process share.

    ``connect`` opens one; it is called with the caller's deadline (time of ``clock``,
    or None). There are at most ``size`` connections at any time, those being opened or
    closed included. When all are in use, callers wait in a FIFO queue, for at most
    ``timeout`` seconds. A connection is retired after ``max_messages_per_connection``
    messages, ``max_lifetime`` seconds after it was opened, or ``max_idle`` seconds after its last
    use; `math.inf` means no limit. ``on_event`` is called for each connection opened, reused and
    retired.

    Retired connections are closed when the pool is next used or asked for its `stats`; the pool has
    no background thread. With ``min_idle``, `maintenance` keeps so many ready where it is called.
    Without it, in a process that sends nothing more, connections stay open until their servers
    close them; the check before the next use notices that, and the pool opens another.

    After a fork the child starts with an empty pool: it drops the parent's connections without
    sending a byte, and the parent does not notice. When the process exits, idle connections are
    closed politely, within two seconds in all.

    Do not use it in signal handlers, which may interrupt the pool between any two lines.
    """

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[C]:
        """Lease a connection, the one used last if any is idle. `release` it after use.

        ``deadline`` (time of the pool's clock) limits the wait in addition to the pool's own
        timeout, and is passed to ``connect``. With ``fresh`` the connection is a new one.

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
        # Looked up now, not at import: gevent may have replaced it since.
        gate = threading.Lock()
        gate.acquire()
        return gate.release, gate

    async def _wait(self, gate: threading.Lock, seconds: float) -> None:
        gate.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
