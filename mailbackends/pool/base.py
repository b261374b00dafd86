"""The ledger's decisions, carried out: connections opened, checked, handed out and closed.

Written once for threads and for an event loop, as coroutines that wait at two points only:
for a place, and for a connection to open. The lock is held for the ledger's few lines only.
Connecting, checking, closing and the event hook all run outside it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar

from mailbackends.errors import PoolClosed, PoolTimeout
from mailbackends.events import (
    ConnectionOpened,
    ConnectionRetired,
    ConnectionReused,
    EventHook,
    EventSink,
)
from mailbackends.pool.ledger import Entry, Lease, Ledger, Limits, PoolStats
from mailbackends.pool.poolable import Poolable, abort, close, is_alive
from mailbackends.pool.process import watch
from mailbackends.pool.upkeep import Planner

__all__ = ["BasePool", "Books"]

logger: logging.Logger = logging.getLogger("mailbackends.pool")

# For these reasons a connection is closed without QUIT, which could end up in the middle of a
# message, go to a peer that is gone, or disturb the parent's session.
_FAULTS = frozenset({"dead", "error", "forked"})

# Seconds in which `close` closes idle connections, one after the other.
_CLOSE_SECONDS = 5.0
# The same for a pool that is collected as garbage.
_FORGOTTEN_SECONDS = 1.0

_CLOSED = "the pool is closed: make a new one, or close this one later"


C = TypeVar("C", bound=Poolable)


class Books(Generic[C]):
    """A ledger and its lock: what belongs to one process alone."""

    def __init__(self, limits: Limits) -> None:
        # Looked up at call time, because gevent may have replaced it. Reentrant, because a
        # finalizer may release a connection while this thread uses the ledger.
        self.lock: threading.RLock = threading.RLock()
        self.ledger: Ledger[C] = Ledger(limits)
        self.planner: Planner[C] | None = Planner(self.ledger, limits) if limits.min_idle else None
        self.inherited: list[Entry[C]] = []
        """The parent's connections, dropped, whose events are still to be emitted."""


class BasePool(ABC, Generic[C]):
    """See `Pool` and `AsyncPool`; ``connect`` is a function for one, a coroutine function for the
    other.
    """

    def __init__(
        self,
        connect: Callable[[float | None], Any],
        *,
        size: int,
        timeout: float,
        max_messages_per_connection: float,
        max_lifetime: float,
        max_idle: float,
        min_idle: int = 0,
        on_event: EventHook | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._connect = connect
        self._limits = Limits(size, max_messages_per_connection, max_lifetime, max_idle, min_idle)
        self._timeout = timeout
        self._emit = on_event if isinstance(on_event, EventSink) else EventSink(on_event)
        self._clock = clock
        self.on_shortage: Callable[[], object] = lambda: None
        """Called, in any thread, when upkeep is due: fewer than ``min_idle`` are idle."""
        # By process id: this notices also a fork that no hook reports (one made by C code).
        self._books: dict[int, Books[C]] = {os.getpid(): Books(self._limits)}
        watch(self)

    @abstractmethod
    async def _open(self, deadline: float | None) -> C:
        """Call ``connect``."""

    @abstractmethod
    def _gate(self) -> tuple[Callable[[], object], Any]:
        """A function that wakes the waiter, and the object that `_wait` waits for. Called with the
        lock held.
        """

    @abstractmethod
    async def _wait(self, gate: Any, seconds: float) -> None:
        """Return when the waiter is woken, or time has run out."""

    async def fill(self, lease: Lease[C], *, deadline: float | None = None) -> Lease[C]:
        """Put a connection into a new lease: the one used last if any is idle. See `acquire`.

        Returns the lease.
        """
        books = self._here()
        self._sweep(books)
        try:
            with books.lock:
                if books.ledger.is_closed:
                    raise PoolClosed(_CLOSED)
                gate = None
                if not books.ledger.request(lease):
                    lease.wake, gate = self._gate()
                    # A finalizer may have released another one before it could be woken.
                    gate = None if books.ledger.holds(lease) else gate
            if gate is not None:
                await self._wait_for_place(books, lease, gate, deadline)
            if not self._find_alive(books, lease):
                await self._open_into(books, lease, deadline)
            return lease
        except BaseException:
            self._abandon(books, lease)
            raise
        finally:
            if books.planner is not None and books.planner.notes_shortage():
                self.on_shortage()

    def release(
        self, lease: Lease[C], *, reusable: bool, messages: int = 1, reason: str = ""
    ) -> None:
        """Give the connection back, after `messages` messages.

        One that is not ``reusable`` is closed, politely unless ``reason`` is ``"dead"``
        or ``"error"`` (the default), where it is aborted. Releasing a second time does
        nothing. A lease from before a fork is only aborted in the child.
        """
        books = self._here()
        reason = "" if reusable else reason or "error"
        try:
            with books.lock:
                is_done = books.ledger.release(
                    lease, self._clock(), messages=messages, reason=reason
                )
            if not is_done:
                self._finish(books, lease)
        except BaseException:
            self._abandon(books, lease)
            raise
        if books.planner is not None and books.planner.notes_shortage():
            self.on_shortage()
        self._sweep(books)

    def stats(self) -> PoolStats:
        """The pool's statistics, after closing connections that have expired."""
        books = self._here()
        self._sweep(books)
        with books.lock:
            return books.ledger.stats()

    @property
    def min_idle(self) -> int:
        """The number of idle connections that upkeep keeps ready; 0 without upkeep."""
        return self._limits.min_idle

    @property
    def is_settled(self) -> bool:
        """True if upkeep has opened what it should, or could not."""
        books = self._here()
        with books.lock:
            return books.planner is None or books.planner.is_settled

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Grant no more leases, and close idle connections: politely, for `timeout` seconds.

        Those left after that are aborted. Waiting callers get `PoolClosed`. A connection in
        use is closed when it is released. Closing again does nothing.
        """
        books = self._here()
        with books.lock:
            books.ledger.close()
        self._sweep(books, polite_until=self._clock() + timeout)

    def __del__(self) -> None:
        # Nobody can use it any more: idle connections are closed as by `close`.
        with contextlib.suppress(Exception):
            self.close(_FORGOTTEN_SECONDS)

    @property
    def is_closed(self) -> bool:
        """True once `close` was called."""
        return self._here().ledger.is_closed

    def leave_parent(self) -> None:
        """In a forked child, drop the inherited connections without sending a byte."""
        self._here()

    def leave_loop(self) -> None:
        """Start over in another event loop: drop all connections, politely if possible."""
        books = self._books.pop(os.getpid(), None)
        for entry in books.ledger.entries() if books else []:
            close(entry.connection)

    def _here(self) -> Books[C]:
        """This process's ledger and lock."""
        pid = os.getpid()
        books = self._books.get(pid)
        if books is not None:
            return books
        # The parent's lock may be held, for ever, by a thread that does not exist here: it
        # is not touched. `setdefault` and `pop` each are one step, so that threads that come
        # here at once agree on the new books and drop the old ones once.
        books = self._books.setdefault(pid, Books(self._limits))
        for other in [key for key in tuple(self._books) if key != pid]:
            parents = self._books.pop(other, None)
            entries = parents.ledger.entries() if parents else []
            for entry in entries:
                abort(entry.connection)
            with books.lock:
                books.ledger.inherited(len(entries))
            # An event hook might take a lock that a thread of the parent held at the fork, so
            # it is called only when the pool is used.
            books.inherited += entries
        return books

    async def _wait_for_place(
        self, books: Books[C], lease: Lease[C], gate: Any, deadline: float | None
    ) -> None:
        start = self._clock()
        patience = self._timeout if deadline is None else min(self._timeout, deadline - start)
        await self._wait(gate, max(0.0, patience))
        with books.lock:
            # The ledger decides, not the gate: a waiter that is woken just as its time runs out has
            # a place, and uses it.
            if books.ledger.holds(lease):
                return
            if books.ledger.is_closed:
                raise PoolClosed(_CLOSED)
            stats = books.ledger.stats()
            if not books.ledger.give_up(lease):
                return
        waited = self._clock() - start
        limit = "pool_timeout" if patience == self._timeout else "the rest of the deadline"
        raise PoolTimeout(
            f"no connection became free in {waited:.3g} s ({limit}; pool_timeout is "
            f"{self._timeout:g} s): {stats.in_use} in use and {stats.opening} being opened "
            f"of pool_size {self._limits.size}, {stats.waiters} waiting"
        ).suggesting(
            "raise {pool_size} if the server allows more connections, or {pool_timeout} if it "
            "may take longer"
        )

    def _find_alive(self, books: Books[C], lease: Lease[C]) -> bool:
        """True if the connection in the lease's place, or the next idle one, is usable."""
        while (entry := lease.entry) is not None:
            if not lease.fresh and is_alive(entry.connection):
                with books.lock:
                    books.ledger.reused()
                if self._emit.is_heard:
                    idle = self._clock() - entry.idle_since
                    self._emit(ConnectionReused(messages=entry.messages, idle=idle))
                lease.last, lease.is_reused = entry.connection, True
                return True
            reason = "idle" if lease.fresh else "dead"
            with books.lock:
                books.ledger.retire(lease, reason)
            self._hang_up(lease)
            with books.lock:
                books.ledger.refill(lease)
            self._emit_retired(entry, reason)
        return False

    async def _open_into(self, books: Books[C], lease: Lease[C], deadline: float | None) -> None:
        start = self._clock()
        # Stored in the lease at once, so that it is released whatever happens next.
        entry = lease.entry = Entry(await self._open(deadline), self._clock())
        with books.lock:
            books.ledger.opened(lease, entry)
        lease.last, lease.is_reused = entry.connection, False
        logger.debug("connection opened in %.3f s", entry.opened_at - start)
        self._emit(ConnectionOpened(duration=entry.opened_at - start))

    def _sweep(self, books: Books[C], polite_until: float = inf) -> None:
        """Close the idle connections that have expired."""
        while books.inherited:
            self._emit_retired(books.inherited.pop(), "forked")
        # Read without the lock: usually there is none, and closing it a moment later is soon
        # enough.
        if self._clock() < books.ledger.tidy_until:
            return
        lease: Lease[C] = Lease()
        try:
            while True:
                with books.lock:
                    if not books.ledger.evict(lease, self._clock()):
                        return
                self._finish(books, lease, polite=self._clock() < polite_until)
        except BaseException:
            self._abandon(books, lease)
            raise

    def _finish(self, books: Books[C], lease: Lease[C], *, polite: bool = True) -> None:
        """Close the lease's connection, and free its place when that is done."""
        entry = lease.entry
        self._hang_up(lease, polite=polite)
        with books.lock:
            books.ledger.drop(lease)
        if entry is not None:
            self._emit_retired(entry, lease.reason)

    def _abandon(self, books: Books[C], lease: Lease[C]) -> None:
        """Free the lease's place after a fault, whatever its stage; a second time does nothing."""
        entry = lease.entry
        try:
            if entry is not None:
                abort(entry.connection)
        finally:
            with books.lock:
                books.ledger.drop(lease)
        if entry is not None:
            self._emit_retired(entry, lease.reason or "error")

    def _hang_up(self, lease: Lease[C], *, polite: bool = True) -> None:
        if lease.entry is not None:
            end = close if polite and lease.reason not in _FAULTS else abort
            end(lease.entry.connection)

    def _emit_retired(self, entry: Entry[C], reason: str) -> None:
        age = self._clock() - entry.opened_at
        logger.debug("connection retired (%s) after %d messages", reason, entry.messages)
        self._emit(ConnectionRetired(reason=reason, messages=entry.messages, age=age))
