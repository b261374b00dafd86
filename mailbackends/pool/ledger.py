"""Who holds which place in the pool, who waits, and what has to be closed: decisions only.

The ledger never opens, closes, waits or locks. The one who keeps it (`blocking`) calls
it under a lock of his own, passes the time in, and does what it says. A connection is
whatever he says it is.

The pool has ``size`` places. A place is taken either by an idle connection or by a
`Claim`, and a claim goes this way::

                      a place        `opened`, or an
    request   WAITING ------> OPENING ------------> IN_USE ---> `release`: the connection
       |         |               |  ^ idle one        |         is idle, the claim has ended
       |         |               |  |  `refill`       | `retire`, or `release` of
       |         | gives up      |  +------------+    | one that is spent
       |         v               v               |    v
       +-----> ended <-------- `drop` <---------- CLOSING

How many places are free is never counted but derived from who stands where, and what
changes hands is first taken from one and then given to the other. So an exception between
any two lines (Ctrl-C, a timeout of gevent) can neither lose a place nor hand out one
connection twice; at worst it loses a connection, which is closed as garbage. Nor can a
`release` that comes between any two lines, in the same thread: see `blocking`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum, auto
from math import inf
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from mailbackends.jsonable import fields_as_dict

__all__ = ["Claim", "Entry", "Ledger", "Limits", "PoolStats"]

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be, and for how long. `math.inf` is no limit."""

    size: int
    max_messages_per_connection: float
    max_lifetime: float
    """Seconds since a connection was opened."""
    max_idle: float
    """Seconds since a connection was last used."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment. The totals count from its making, or from the fork of its process."""

    open: int
    """Connections that stand: those idle and those in use."""
    idle: int
    in_use: int
    opening: int
    """Connections being opened; they take a place too."""
    waiters: int
    """Threads that wait for a place."""
    made: int
    """Connections opened in all."""
    reused: int
    """How often a connection that had served before was handed out again."""
    retired: dict[str, int]
    """Connections closed in all, by reason: ``"messages"``, ``"age"``, ``"idle"``,
    ``"dead"`` (found closed by the server before it was used again), ``"error"``,
    ``"closed"`` (with the pool), ``"forked"`` (inherited from the parent, and dropped)."""

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return fields_as_dict(self)

    def __add__(self, other: PoolStats) -> PoolStats:
        """Two pools taken together."""
        numbers = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(PoolStats)
            if field.name != "retired"
        }
        return PoolStats(**numbers, retired=dict(Counter(self.retired) + Counter(other.retired)))


class Stage(Enum):
    """What the holder of a place is doing with it."""

    OPENING = auto()
    IN_USE = auto()
    CLOSING = auto()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Entry(Generic[C]):
    """An open connection and what it has been through."""

    connection: C
    opened_at: float
    messages: int = 0
    idle_since: float = 0.0


@dataclass(slots=True, eq=False)
class Claim(Generic[C]):
    """One caller's claim to a place, from his request until the place is free again.

    ``wake`` is called once: when he is served, or when the ledger closes. ``fresh``:
    he wants a new connection, never a used one. ``entry`` is the connection in his
    place, ``reason`` why it is being closed.
    """

    wake: Callable[[], object] = lambda: None
    fresh: bool = False
    entry: Entry[C] | None = None
    reason: str = ""


class Ledger(Generic[C]):
    """The books of one pool. Nobody waits while a place is free or a connection is idle."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[Claim[C], None] = {}  # the one who came first stands first
        self._held: dict[Claim[C], Stage] = {}
        self._idle: list[Entry[C]] = []  # the one used last stands last
        self._entries: WeakSet[Entry[C]] = WeakSet()
        self._made = 0
        self._reused = 0
        self._retired: Counter[str] = Counter()
        self.is_closed = False
        self.tidy_until = inf
        """No idle connection is spent before this time. May be read without a lock."""

    def holds(self, claim: Claim[C]) -> bool:
        """True while `claim` has a place."""
        return claim in self._held

    def connections(self) -> list[C]:
        """All connections, wherever they stand.

        This is right even where a fork came between two lines of another method.
        """
        return [entry.connection for entry in tuple(self._entries)]

    def request(self, claim: Claim[C]) -> None:
        """Put `claim` at the end of the queue; it may be served at once."""
        self._waiting[claim] = None
        self._serve()

    def give_up(self, claim: Claim[C]) -> bool:
        """Take `claim` from the queue. False where it has left it: it was served after all."""
        return self._waiting.pop(claim, claim) is not claim

    def opened(self, claim: Claim[C], entry: Entry[C]) -> None:
        """The new connection in the claim's place stands: `entry`."""
        claim.entry = entry
        self._entries.add(entry)
        self._held[claim] = Stage.IN_USE
        self._made += 1

    def reused(self) -> None:
        """A used connection was found alive, and goes to work again."""
        self._reused += 1

    def retire(self, claim: Claim[C], reason: str) -> None:
        """The connection in ``claim.entry`` will be closed by the holder of the claim."""
        claim.reason = reason
        self._held[claim] = Stage.CLOSING
        self._retired[reason] += 1

    def refill(self, claim: Claim[C]) -> None:
        """The connection of `claim` is gone: it gets the next idle one, or opens one."""
        claim.entry = None
        self._held[claim] = Stage.OPENING
        if not claim.fresh:
            self._take_idle(claim, -1)

    def release(self, claim: Claim[C], now: float, *, messages: int, reason: str = "") -> bool:
        """The holder of `claim` has sent `messages` over its connection and needs it no more.

        ``reason`` says why it must not be used again; it is empty where it may be.
        Returns True where nothing is left to do: the connection is idle, or with the
        first who waits, and the claim has ended (or had before). Returns False where the
        holder must close it and then `drop` the claim; ``claim.reason`` says why.
        """
        entry = claim.entry
        if entry is None:
            return True
        if claim not in self._held:
            # The parent's ledger gave it, and this process was forked meanwhile.
            claim.reason = "forked"
            return False
        entry.messages += messages
        entry.idle_since = now
        if spent := reason or self._spent(entry, now):
            self.retire(claim, spent)
            return False
        claim.entry = None
        self.tidy_until = min(self.tidy_until, self._spent_at(entry))
        self._idle.append(entry)
        self.drop(claim)
        return True

    def drop(self, claim: Claim[C]) -> None:
        """End `claim`, wherever it stands: its place is free. A second time does nothing."""
        if claim.entry is not None and self._held.get(claim) is Stage.IN_USE:
            self.retire(claim, "error")
        claim.entry = None
        self._waiting.pop(claim, None)
        self._held.pop(claim, None)
        self._serve()

    def evict(self, claim: Claim[C], now: float) -> bool:
        """Move one idle connection that is spent into `claim`, to be closed and dropped.

        Returns False where there is none.
        """
        for entry in tuple(self._idle):
            if reason := self._spent(entry, now):
                with contextlib.suppress(ValueError):
                    claim.entry = self._idle.pop(self._idle.index(entry))
                    self.retire(claim, reason)
                    return True
        self.tidy_until = min(map(self._spent_at, self._idle), default=inf)
        return False

    def close(self) -> None:
        """Serve nobody any more: those who wait are woken, and `evict` empties the pool."""
        self.is_closed = True
        self.tidy_until = -inf
        while self._waiting:
            claim = next(iter(self._waiting))
            del self._waiting[claim]
            claim.wake()

    def inherited(self, count: int) -> None:
        """This process was forked: `count` connections of its parent were dropped."""
        self._retired["forked"] += count

    def stats(self) -> PoolStats:
        """The pool at this moment."""
        stages = Counter(self._held.values())
        return PoolStats(
            open=len(self._idle) + stages[Stage.IN_USE],
            idle=len(self._idle),
            in_use=stages[Stage.IN_USE],
            opening=stages[Stage.OPENING],
            waiters=len(self._waiting),
            made=self._made,
            reused=self._reused,
            retired=dict(self._retired),
        )

    def _spent(self, entry: Entry[C], now: float) -> str:
        """Why `entry` must not be used again, or an empty string."""
        if self.is_closed:
            return "closed"
        if entry.messages >= self._limits.max_messages_per_connection:
            return "messages"
        if now - entry.opened_at >= self._limits.max_lifetime:
            return "age"
        if now - entry.idle_since >= self._limits.max_idle:
            return "idle"
        return ""

    def _spent_at(self, entry: Entry[C]) -> float:
        """The time from which on an idle `entry` is spent."""
        age, idle = self._limits.max_lifetime, self._limits.max_idle
        return -inf if self.is_closed else min(entry.opened_at + age, entry.idle_since + idle)

    def _serve(self) -> None:
        """Give what is there to those who wait, in the order in which they came."""
        while self._waiting and (self._idle or self._free_places() > 0):
            claim = next(iter(self._waiting), None)
            if claim is None:
                return
            # First a place, then off the queue: a release that comes between serves it, or
            # has served it already.
            self._held.setdefault(claim, Stage.OPENING)
            if self._waiting.pop(claim, claim) is claim:
                continue
            if not (claim.fresh and self._free_places() >= 0):
                # One who wants a new connection where all places are taken by idle ones
                # gets the place of the one used longest ago, which he closes first.
                self._take_idle(claim, 0 if claim.fresh else -1)
            claim.wake()

    def _take_idle(self, claim: Claim[C], which: int) -> None:
        """Move an idle connection into the place of `claim`, if there is one."""
        claim.entry = self._idle.pop(which) if self._idle else None
        if claim.entry is not None:
            self._held[claim] = Stage.IN_USE

    def _free_places(self) -> int:
        return self._limits.size - len(self._held) - len(self._idle)
