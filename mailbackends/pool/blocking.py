"""The pool for threads: the ledger's decisions, carried out with locks and sockets.

The lock is held for the ledger's few lines only. Connecting, peeking, closing and the
event hook all run outside it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from mailbackends.errors import PoolClosed, PoolTimeout
from mailbackends.events import (
    ConnectionOpened,
    ConnectionRetired,
    ConnectionReused,
    EventHook,
    EventSink,
)
from mailbackends.pool.connection import Poolable, abort, close, is_alive
from mailbackends.pool.ledger import Claim, Entry, Ledger, Limits, PoolStats
from mailbackends.pool.process import watch

__all__ = ["Lease", "Pool"]

logger = logging.getLogger("mailbackends.pool")

# After these a connection is in no state for a polite end: a QUIT could fall into the
# middle of a message, go to a peer that is gone, or into the parent's dialogue.
_FAULTS = frozenset({"dead", "error", "forked"})

# Seconds in which `Pool.close` closes what is idle, one after the other.
_CLOSE_SECONDS = 5.0

_CLOSED = "the pool is closed: make a new one, or close this one later"

C = TypeVar("C", bound=Poolable)


@dataclass(slots=True, eq=False)
class Lease(Generic[C]):
    """One connection, yours until you `Pool.release` it."""

    connection: C
    is_reused: bool
    """True where the connection has served before: the server may hang up unseen."""
    _claim: Claim[C] = field(repr=False)


class _Books(Generic[C]):
    """A ledger and its lock: what belongs to one process alone."""

    def __init__(self, limits: Limits) -> None:
        # Looked up now, not at import: gevent may have put its own in place meanwhile.
        # Reentrant: a batch that nobody holds any more gives its connection back when it is
        # collected as garbage, and that may be while this thread is at the ledger.
        self.lock = threading.RLock()
        self.ledger: Ledger[C] = Ledger(limits)


class Pool(Generic[C]):
    """Connections that live across uses, shared by all threads of a process.

    ``connect`` opens one; it is called with the caller's deadline (time of ``clock``,
    or None). At most ``size`` connections stand at any time, those being opened or
    closed included. Who finds all in use waits in line, for at most ``timeout``
    seconds. A connection is retired after ``max_messages_per_connection`` messages,
    ``max_lifetime`` seconds of life or ``max_idle`` seconds of idleness; `math.inf` is no limit.
    ``on_event`` is told of each connection opened, reused and retired.

    What is retired is closed whenever the pool is next used or asked for its `stats`;
    there is no thread in the background, which every fork would have to fear. In a
    process that goes quiet the connections therefore stay until their servers hang up;
    the peek before the next use finds that, and opens another.

    After a fork the child starts with an empty pool: the parent's connections are
    dropped there without a byte on them, and the parent does not notice. At the end of
    the process idle connections are closed politely, within two seconds in all.

    Not for signal handlers: one may interrupt the pool between any two lines.
    """

    def __init__(
        self,
        connect: Callable[[float | None], C],
        *,
        size: int,
        timeout: float,
        max_messages_per_connection: float,
        max_lifetime: float,
        max_idle: float,
        on_event: EventHook | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        self._connect = connect
        self._limits = Limits(size, max_messages_per_connection, max_lifetime, max_idle)
        self._timeout = timeout
        self._tell = on_event if isinstance(on_event, EventSink) else EventSink(on_event)
        self._clock = clock
        # By process id: a fork that no hook has told of (one made by C code) is seen too.
        self._books: dict[int, _Books[C]] = {os.getpid(): _Books(self._limits)}
        watch(self)

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[C]:
        """A connection of your own, the one used last if any is idle. `release` it.

        ``deadline`` (time of the pool's clock) bounds the wait beside the pool's own
        timeout, and is handed to ``connect``. With ``fresh`` the connection is a new one.

        Raises:
            PoolTimeout: no connection became free in time.
            PoolClosed: the pool was closed, before or while you waited.
            Exception: whatever ``connect`` raises; the place is free again.
        """
        books = self._here()
        self._sweep(books)
        claim: Claim[C] = Claim(fresh=fresh)
        try:
            with books.lock:
                if books.ledger.is_closed:
                    raise PoolClosed(_CLOSED)
                books.ledger.request(claim)
                gate = None if books.ledger.holds(claim) else _gate(claim)
            if gate is not None:
                self._wait_for_place(books, claim, gate, deadline)
            lease = self._find_alive(books, claim)
            if lease is None:
                lease = self._open(books, claim, deadline)
            return lease
        except BaseException:
            self._abandon(books, claim)
            raise

    def release(
        self, lease: Lease[C], *, reusable: bool, messages: int = 1, reason: str = ""
    ) -> None:
        """Give the connection back, after `messages` messages.

        One that is not ``reusable`` is closed, politely unless ``reason`` is ``"dead"``
        or ``"error"`` (the default), where it is aborted. Releasing a second time does
        nothing. A lease that was out when the process forked is only aborted in the child.
        """
        books = self._here()
        claim = lease._claim
        reason = "" if reusable else reason or "error"
        try:
            with books.lock:
                is_done = books.ledger.release(
                    claim, self._clock(), messages=messages, reason=reason
                )
            if not is_done:
                self._finish(books, claim)
        except BaseException:
            self._abandon(books, claim)
            raise
        self._sweep(books)

    def stats(self) -> PoolStats:
        """What the pool holds at this moment, after what is spent has been closed."""
        books = self._here()
        self._sweep(books)
        with books.lock:
            return books.ledger.stats()

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Serve nobody any more, and close what is idle: politely, for `timeout` seconds.

        What is left then is aborted. Who waits gets `PoolClosed`. A connection in use
        is closed when it is released. Closing again does nothing.
        """
        books = self._here()
        with books.lock:
            books.ledger.close()
        self._sweep(books, polite_until=self._clock() + timeout)

    @property
    def is_closed(self) -> bool:
        """True once `close` was called."""
        return self._here().ledger.is_closed

    def leave_parent(self) -> None:
        """Start anew in a forked child: drop what was inherited, without a byte on the wire."""
        self._here()

    def _here(self) -> _Books[C]:
        """The books of this process."""
        pid = os.getpid()
        books = self._books.get(pid)
        if books is not None:
            return books
        # The parent's lock may be held, for ever, by a thread that this process has not:
        # it is not touched. `setdefault` and `pop` each are one step, so that threads
        # that come here at once agree on the new books and drop the old ones once.
        books = self._books.setdefault(pid, _Books(self._limits))
        for other in [key for key in tuple(self._books) if key != pid]:
            parents = self._books.pop(other, None)
            connections = parents.ledger.connections() if parents else []
            for connection in connections:
                abort(connection)
            with books.lock:
                books.ledger.inherited(len(connections))
        return books

    def _wait_for_place(
        self, books: _Books[C], claim: Claim[C], gate: threading.Lock, deadline: float | None
    ) -> None:
        start = self._clock()
        patience = self._timeout if deadline is None else min(self._timeout, deadline - start)
        gate.acquire(timeout=min(max(0.0, patience), threading.TIMEOUT_MAX))
        with books.lock:
            # Asked of the ledger and not of the gate: who is served at the very moment
            # in which his patience ends has a place, and uses it.
            if books.ledger.holds(claim):
                return
            if books.ledger.is_closed:
                raise PoolClosed(_CLOSED)
            stats = books.ledger.stats()
            if not books.ledger.give_up(claim):
                return
        waited = self._clock() - start
        limit = "pool_timeout" if patience == self._timeout else "what was left of the deadline"
        raise PoolTimeout(
            f"no connection became free in {waited:.3g} s ({limit}; pool_timeout is "
            f"{self._timeout:g} s): {stats.in_use} in use and {stats.opening} being opened "
            f"of pool_size {self._limits.size}, {stats.waiters} waiting. Raise pool_size if "
            f"the server allows more connections, or pool_timeout if it may take longer"
        )

    def _find_alive(self, books: _Books[C], claim: Claim[C]) -> Lease[C] | None:
        """The connection in the claim's place, or the next idle one, that can be used."""
        while (entry := claim.entry) is not None:
            if not claim.fresh and is_alive(entry.connection):
                with books.lock:
                    books.ledger.reused()
                if self._tell.is_heard:
                    idle = self._clock() - entry.idle_since
                    self._tell(ConnectionReused(messages=entry.messages, idle=idle))
                return Lease(entry.connection, True, claim)
            reason = "idle" if claim.fresh else "dead"
            with books.lock:
                books.ledger.retire(claim, reason)
            self._hang_up(claim)
            with books.lock:
                books.ledger.refill(claim)
            self._tell_retired(entry, reason)
        return None

    def _open(self, books: _Books[C], claim: Claim[C], deadline: float | None) -> Lease[C]:
        start = self._clock()
        # Straight into the claim, so that whatever happens next finds it there.
        entry = claim.entry = Entry(self._connect(deadline), self._clock())
        with books.lock:
            books.ledger.opened(claim, entry)
        logger.debug("connection opened in %.3f s", entry.opened_at - start)
        self._tell(ConnectionOpened(duration=entry.opened_at - start))
        return Lease(entry.connection, False, claim)

    def _sweep(self, books: _Books[C], polite_until: float = inf) -> None:
        """Close the idle connections that are spent."""
        # Without the lock: mostly there is none, and a moment later is early enough.
        if self._clock() < books.ledger.tidy_until:
            return
        claim: Claim[C] = Claim()
        try:
            while True:
                with books.lock:
                    if not books.ledger.evict(claim, self._clock()):
                        return
                self._finish(books, claim, polite=self._clock() < polite_until)
        except BaseException:
            self._abandon(books, claim)
            raise

    def _finish(self, books: _Books[C], claim: Claim[C], *, polite: bool = True) -> None:
        """Close the claim's connection, and free its place when that is done."""
        entry = claim.entry
        self._hang_up(claim, polite=polite)
        with books.lock:
            books.ledger.drop(claim)
        if entry is not None:
            self._tell_retired(entry, claim.reason)

    def _abandon(self, books: _Books[C], claim: Claim[C]) -> None:
        """Free the claim's place after a fault, wherever it stood; a second time does nothing."""
        entry = claim.entry
        try:
            if entry is not None:
                abort(entry.connection)
        finally:
            with books.lock:
                books.ledger.drop(claim)
        if entry is not None:
            self._tell_retired(entry, claim.reason or "error")

    def _hang_up(self, claim: Claim[C], *, polite: bool = True) -> None:
        if claim.entry is not None:
            end = close if polite and claim.reason not in _FAULTS else abort
            end(claim.entry.connection)

    def _tell_retired(self, entry: Entry[C], reason: str) -> None:
        age = self._clock() - entry.opened_at
        logger.debug("connection retired (%s) after %d messages", reason, entry.messages)
        self._tell(ConnectionRetired(reason=reason, messages=entry.messages, age=age))


def _gate(claim: Claim[C]) -> threading.Lock:
    """A lock that opens when the claim is served, or when the ledger closes."""
    gate = threading.Lock()
    gate.acquire()
    claim.wake = gate.release
    return gate
