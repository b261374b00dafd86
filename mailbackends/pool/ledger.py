"""Which connections are leased, who waits for one, and which must be closed: decisions only.

The ledger never opens, closes, waits or locks. A pool (`base`) calls it under its lock, passes
the time in, and carries out the decisions. A connection is whatever the pool says it is.

The pool has ``size`` places. A place is taken either by an idle connection or by a `Lease`,
which passes through these stages::

                      a place        `opened`, or an
    request   WAITING ------> OPENING ------------> IN_USE ---> `release`: the connection
       |         |               |  ^ idle one        |         is idle, the lease has ended
       |         |               |  |  `refill`       | `retire`, or `release` of
       |         | gives up      |  +------------+    | one that is spent
       |         v               v               |    v
       +-----> ended <-------- `drop` <---------- CLOSING

Upkeep's lease has an idle connection while it is CHECKING it, and then puts it back. It gives
way where somebody waits for a place.

How many places are free is never counted but derived from the stages, and what changes
hands is first taken from one and then given to the other. So an exception between any two
lines (Ctrl-C, a timeout of gevent) can neither lose a place nor hand out one connection
twice; at worst it loses a connection, which is closed as garbage. The same holds for a
`release` that comes between any two lines, in the same thread: see `base`.
"""

from __future__ import annotations

import bisect
import contextlib
from collections import Counter
from math import inf
from typing import Generic, TypeVar
from weakref import WeakSet

from mailbackends.pool.lease import Entry, Lease, Limits, PoolStats, Stage

__all__ = ["Entry", "Lease", "Ledger", "Limits", "PoolStats"]

C = TypeVar("C")


_WITH_A_CONNECTION = (Stage.IN_USE, Stage.CHECKING)


class Ledger(Generic[C]):
    """The places of one pool. No lease waits while a place is free or a connection is idle."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[Lease[C], None] = {}  # the one that came first is first
        self._held: dict[Lease[C], Stage] = {}
        self._idle: list[Entry[C]] = []  # the one used last is last
        self._entries: WeakSet[Entry[C]] = WeakSet()
        self._ahead: Lease[C] | None = None  # that of upkeep, which has one at a time
        self._made = 0
        self._reused = 0
        self._retired: Counter[str] = Counter()
        self.opened_ahead = 0
        self.checked = 0
        self.failed_ahead = 0
        self.is_closed: bool = False
        self.tidy_until: float = inf
        """No idle connection is spent before this time. May be read without a lock."""

    def holds(self, lease: Lease[C]) -> bool:
        """True while `lease` has a place."""
        return lease in self._held

    def entries(self) -> list[Entry[C]]:
        """All connections, idle, in use or being closed.

        This is right even where a fork came between two lines of another method.
        """
        return list(self._entries)

    def request(self, lease: Lease[C]) -> bool:
        """Put `lease` at the end of the queue. True where it has a place at once."""
        self._waiting[lease] = None
        self._serve()
        if lease in self._held:
            return True
        if self._ahead is not None:
            self._ahead.gives_way = True
        return False

    def give_up(self, lease: Lease[C]) -> bool:
        """Take `lease` from the queue. False if it has left it: it has a place after all."""
        return self._waiting.pop(lease, lease) is not lease

    def opened(self, lease: Lease[C], entry: Entry[C]) -> None:
        """The new connection in the lease's place is open: `entry`."""
        lease.entry = entry
        entry.seen_at = entry.looked_at = entry.opened_at
        self._entries.add(entry)
        self._held[lease] = Stage.IN_USE
        self._made += 1

    def reused(self) -> None:
        """A used connection was found alive, and serves again."""
        self._reused += 1

    def retire(self, lease: Lease[C], reason: str) -> None:
        """The connection in ``lease.entry`` will be closed by the holder of the lease."""
        lease.reason = reason
        self._held[lease] = Stage.CLOSING
        self._retired[reason] += 1

    def refill(self, lease: Lease[C]) -> None:
        """The connection of `lease` is gone: it gets the next idle one, or opens one."""
        lease.entry = None
        self._held[lease] = Stage.OPENING
        if not lease.fresh:
            self._take_idle(lease, -1)

    def release(self, lease: Lease[C], now: float, *, messages: int, reason: str = "") -> bool:
        """The holder of `lease` has sent `messages` over its connection and no longer needs it.

        ``reason`` says why it must not be used again; it is empty if it may.
        Returns True if nothing is left to do: the connection is idle, or went to the
        first lease that waits, and this one has ended (or had before). Returns False if
        the holder must close it and then `drop` the lease; ``lease.reason`` says why.
        """
        entry = lease.entry
        if entry is None:
            return True
        if lease not in self._held:
            # It is from the parent's ledger, and this process was forked meanwhile.
            lease.reason = "forked"
            return False
        entry.idle_since = now
        if messages:
            entry.messages += messages
            entry.seen_at, entry.checks = now, 0
        if spent := reason or self._spent(entry, now):
            self.retire(lease, spent)
            return False
        lease.entry = None
        self.tidy_until = min(self.tidy_until, self._spent_at(entry))
        self._idle.append(entry)
        self.drop(lease)
        return True

    def drop(self, lease: Lease[C]) -> None:
        """End `lease`, whatever its stage: its place is free. A second time does nothing."""
        if lease.entry is not None and self._held.get(lease) in _WITH_A_CONNECTION:
            self.retire(lease, "error")
        lease.entry = None
        if lease is self._ahead:
            self._ahead = None
        self._waiting.pop(lease, None)
        self._held.pop(lease, None)
        self._serve()

    def evict(self, lease: Lease[C], now: float) -> bool:
        """Move one idle connection that is spent into `lease`, to be closed and dropped.

        Returns False if there is none.
        """
        for entry in tuple(self._idle):
            if reason := self._spent(entry, now):
                with contextlib.suppress(ValueError):
                    lease.entry = self._idle.pop(self._idle.index(entry))
                    self.retire(lease, reason)
                    return True
        self.tidy_until = min(map(self._spent_at, self._idle), default=inf)
        return False

    # For upkeep

    @property
    def idle(self) -> list[Entry[C]]:
        """The idle connections, the one used last at the end. Not to be changed."""
        return self._idle

    @property
    def made(self) -> int:
        """Connections opened in all."""
        return self._made

    @property
    def busy(self) -> int:
        """Places of connections that are used or opened at this moment."""
        return len(self._held)

    def take_place(self, lease: Lease[C]) -> bool:
        """Give `lease` a place in which upkeep opens a connection; False if none is free."""
        if self._waiting or self._free_places() <= 0:
            return False
        self._ahead = lease
        self._held[lease] = Stage.OPENING
        return True

    def take_idle(self, lease: Lease[C], entry: Entry[C]) -> None:
        """Move an idle connection into `lease`, to be put back, or retired and dropped."""
        self._ahead = lease
        lease.entry = entry
        self._idle.remove(entry)
        self._held[lease] = Stage.CHECKING

    def put_back(self, lease: Lease[C]) -> None:
        """The connection of `lease` works: it is idle again, in its former place."""
        entry, lease.entry = lease.entry, None
        if entry is not None and lease in self._held:
            self.tidy_until = min(self.tidy_until, self._spent_at(entry))
            bisect.insort(self._idle, entry, key=lambda each: each.idle_since)
        self.drop(lease)

    def close(self) -> None:
        """Grant no more leases: waiting ones are woken, and `evict` empties the pool."""
        self.is_closed = True
        self.tidy_until = -inf
        if self._ahead is not None:
            self._ahead.gives_way = True
        while self._waiting:
            lease = next(iter(self._waiting))
            del self._waiting[lease]
            lease.wake()

    def inherited(self, count: int) -> None:
        """This process was forked: `count` connections of its parent were dropped."""
        self._retired["forked"] += count

    def stats(self) -> PoolStats:
        """The pool at this moment."""
        stages = Counter(self._held.values())
        idle = len(self._idle) + stages[Stage.CHECKING]
        return PoolStats(
            open=idle + stages[Stage.IN_USE],
            idle=idle,
            in_use=stages[Stage.IN_USE],
            opening=stages[Stage.OPENING],
            waiters=len(self._waiting),
            made=self._made,
            reused=self._reused,
            retired=dict(self._retired),
            opened_ahead=self.opened_ahead,
            checked=self.checked,
            failed_ahead=self.failed_ahead,
        )

    def _spent(self, entry: Entry[C], now: float) -> str:
        """Why `entry` must not be used again, or an empty string."""
        if self.is_closed:
            return "closed"
        if entry.messages >= self._limits.max_messages_per_connection:
            return "messages"
        if now - entry.opened_at >= self._limits.max_lifetime:
            return "age"
        if now - max(entry.idle_since, entry.seen_at) >= self._limits.max_idle:
            return "idle"
        return ""

    def _spent_at(self, entry: Entry[C]) -> float:
        """The time from which on an idle `entry` is spent."""
        if self.is_closed:
            return -inf
        last = max(entry.idle_since, entry.seen_at)
        return min(entry.opened_at + self._limits.max_lifetime, last + self._limits.max_idle)

    def _serve(self) -> None:
        """Give free places to waiting leases, in FIFO order."""
        while self._waiting and (self._idle or self._free_places() > 0):
            try:
                lease = next(iter(self._waiting), None)
            except RuntimeError:
                # The garbage collector ran in between, and a forgotten lease came back.
                continue
            if lease is None:
                return
            # First a place, then off the queue: a release that comes between gives it one, or
            # has done so already.
            self._held.setdefault(lease, Stage.OPENING)
            if self._waiting.pop(lease, lease) is lease:
                continue
            if not (lease.fresh and self._free_places() >= 0):
                # A fresh connection where all places are taken by idle ones goes to the place
                # of the one used longest ago, which is closed first.
                self._take_idle(lease, 0 if lease.fresh else -1)
            lease.wake()

    def _take_idle(self, lease: Lease[C], which: int) -> None:
        """Move an idle connection into the place of `lease`, if there is one."""
        lease.entry = self._idle.pop(which) if self._idle else None
        if lease.entry is not None:
            self._held[lease] = Stage.IN_USE

    def _free_places(self) -> int:
        return self._limits.size - len(self._held) - len(self._idle)
