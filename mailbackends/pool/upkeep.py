"""Which connections to open ahead, check and renew, and when: decisions only.

A `Planner` is asked for one `Step` after the other, and then for the time at which to ask
again. `maintenance` carries the steps out, and reports what came of them. A connection goes
through this while nobody uses it::

    opened --(interval)--> checked --(interval)--> checked ... stale --> renewed
        \\__ in between, every quarter of it: has the server closed it? __/

It is stale shortly before one of its limits: then another one is opened first, if a place is
free, and it is closed afterwards. What a server closes anyway shows a limit that it did not
announce; seen twice, it is kept to for an hour.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import Generic, TypeVar

from mailbackends.pool.ledger import Entry, Lease, Ledger, Limits

__all__ = ["MIN_SECONDS", "Planner", "Step", "check_interval"]

C = TypeVar("C")

MIN_SECONDS = 3.0
"""The least value of ``max_idle`` and ``max_lifetime`` with which upkeep makes sense."""

# Within this time a load balancer or firewall forgets no connection, as far as is known.
_INTERVAL = 20.0
_SHORTEST_INTERVAL = 1.0
_SHORTEST_LOOK = 0.5
# Exim ends a connection after ten commands that belong to no message.
_MOST_CHECKS = 8
# A connection in use is mostly idle again in a moment: only after so many seconds is another one
# opened in place of it.
_GRACE = 1.0
# Connections that are found closed within so many seconds were closed for one reason: the server
# was restarted, say.
_SAME_EVENT = 1.0
_LEARNED_SECONDS = 3600.0

_LONGEST_BACKOFF = 60.0
# A wrong password stays wrong, and too many attempts may lock the account.
_PERMANENT_BACKOFF = 300.0


def check_interval(max_idle: float) -> float:
    """The seconds without an answer of the server after which a connection is checked."""
    return min(_INTERVAL, max_idle / 3)


class Step(Enum):
    """What to do next with the lease that was filled."""

    OPEN = auto()
    """Open a connection in its place."""
    LOOK = auto()
    """See whether the server has closed its connection, without asking it."""
    CHECK = auto()
    """Ask the server."""
    RETIRE = auto()
    """Close its connection, and drop it."""


class Limit(Enum):
    """What a server was seen to do to idle connections."""

    SILENCE = auto()
    """It closes them after a time without a command."""
    AGE = auto()
    """It closes them after a time without a message, whatever else it is asked."""
    CHECKS = auto()
    """It closes them in answer to too many checks."""


class Planner(Generic[C]):
    """The upkeep of one pool. Call it under the ledger's lock. Times are seconds of one clock."""

    def __init__(
        self,
        ledger: Ledger[C],
        limits: Limits,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311
    ) -> None:
        self._ledger = ledger
        self._wanted = limits.min_idle
        self._limits = limits
        self._jitter = jitter
        self._interval = check_interval(limits.max_idle)
        self._short_since: float | None = None
        self._failures = 0
        self._retry_at = -inf
        self._made = 0
        """The connections opened when the last attempt failed."""
        self._closures = 0
        """How often in a row a connection was closed before it was checked once."""
        self._reopen_at = -inf
        self._closed_at = -inf
        self._evidence: dict[Limit, float] = {}
        self._learned: dict[Limit, tuple[float, float]] = {}
        self._is_noted = False

    # What to do

    def next_step(self, lease: Lease[C], now: float) -> Step | None:
        """The next thing to do, with what `lease` was filled with; None if there is nothing."""
        ledger = self._ledger
        if ledger.is_closed:
            return None
        stale, kept = self._sorted(now)
        if is_enough := len(kept) >= self._wanted:
            self._short_since = None
        may_open = not is_enough and now >= self._opens_at(now, len(kept))
        if may_open and ledger.take_place(lease):
            return Step.OPEN
        # A stale one is closed after it was replaced, or where its place is needed for that.
        if stale and (is_enough or may_open):
            ledger.take_idle(lease, stale[0])
            lease.reason = "renewed"
            return Step.RETIRE
        for entry in kept:
            if now >= self._check_at(entry, now):
                ledger.take_idle(lease, entry)
                return Step.CHECK
            if now >= self._look_at(entry, now):
                ledger.take_idle(lease, entry)
                return Step.LOOK
        return None

    def next_time(self, now: float) -> float:
        """When to ask for a step again, `math.inf` if the ledger is closed.

        `notes_shortage` says whether to ask earlier.
        """
        if self._ledger.is_closed:
            return inf
        _, kept = self._sorted(now)
        times = [self._ledger.tidy_until]
        for entry in kept:
            times += [self._check_at(entry, now), self._look_at(entry, now)]
            times.append(self._stale_at(entry, now))
        if len(kept) < self._wanted:
            opens_at = self._opens_at(now, len(kept))
            # If it is time already, all places are taken.
            times.append(opens_at if opens_at > now else now + _GRACE)
        self._is_noted = len(kept) < self._wanted
        return max(min(times), now)

    def notes_shortage(self) -> bool:
        """True once when fewer connections are idle than wanted. May be asked without a lock."""
        if self._ledger.is_closed:
            return False
        if self._failures and self._ledger.made > self._made:
            return True  # Somebody else could open one.
        if self._is_noted or len(self._ledger.idle) >= self._wanted:
            return False
        self._is_noted = True
        return True

    @property
    def is_settled(self) -> bool:
        """True if the wanted connections are idle, or none can be opened."""
        is_enough = len(self._ledger.idle) >= self._wanted
        return is_enough or bool(self._failures) or self._ledger.is_closed

    # What came of it

    def opened(self) -> None:
        """A connection was opened."""
        self._ledger.opened_ahead += 1
        self._failures, self._retry_at = 0, -inf

    def failed(self, now: float, *, is_transient: bool) -> float:
        """None could be opened. Returns the seconds until the next attempt.

        A connection that somebody else opens ends the wait.
        """
        self._ledger.failed_ahead += 1
        self._failures += 1
        self._made = self._ledger.made
        longest = _LONGEST_BACKOFF if is_transient else _PERMANENT_BACKOFF
        seconds = self._backoff(self._failures, longest) if is_transient else longest
        self._retry_at = now + seconds
        return seconds

    @property
    def failures(self) -> int:
        """The attempts that failed since the last one that did not."""
        return self._failures

    def checked(self, entry: Entry[C], now: float) -> None:
        """The server answered."""
        self._ledger.checked += 1
        gap, age = now - entry.seen_at, now - entry.idle_since
        entry.checks += 1
        entry.seen_at = entry.looked_at = now
        self._closures, self._reopen_at = 0, -inf
        for limit, reached in (
            (Limit.SILENCE, gap),
            (Limit.AGE, age),
            (Limit.CHECKS, float(entry.checks)),
        ):
            if reached > self._evidence.get(limit, inf):
                del self._evidence[limit]

    def closed(self, entry: Entry[C], now: float, *, was_asked: bool) -> None:
        """The server has closed it: before it was asked, or in answer to a check."""
        if was_asked:
            self._ledger.checked += 1
        if now - self._closed_at < _SAME_EVENT:
            return
        self._closed_at = now
        if not entry.checks:
            self._closures += 1
            self._reopen_at = now + self._backoff(self._closures, _LONGEST_BACKOFF)
            limit, value = Limit.SILENCE, now - entry.seen_at
        elif was_asked:
            limit, value = Limit.CHECKS, float(entry.checks)
        else:
            limit, value = Limit.AGE, entry.seen_at - entry.idle_since
        # Once may be chance; what was learned already was too high.
        before = self._evidence.pop(limit, self._limit(limit, now))
        if before == inf:
            self._evidence[limit] = value
        else:
            self._learned[limit] = min(before, value), now + _LEARNED_SECONDS

    # When

    def interval(self, now: float) -> float:
        """The seconds after which a connection is checked: at most half of what was seen."""
        silence = self._limit(Limit.SILENCE, now) / 2
        return min(self._interval, max(_SHORTEST_INTERVAL, silence))

    def _sorted(self, now: float) -> tuple[list[Entry[C]], list[Entry[C]]]:
        """The idle connections that are stale, and those of the others that are kept ready."""
        stale: list[Entry[C]] = []
        good: list[Entry[C]] = []
        for entry in self._ledger.idle:
            (good if now < self._stale_at(entry, now) else stale).append(entry)
        return stale, good[-self._wanted :]

    def _stale_at(self, entry: Entry[C], now: float) -> float:
        interval = self.interval(now)
        most = self._limits.max_messages_per_connection
        if 1 < most <= entry.messages + 1:
            return -inf
        lead = min(interval / 2, self._limits.max_lifetime / 4)
        ends = [
            entry.opened_at + self._limits.max_lifetime - lead,
            entry.idle_since + max(_SHORTEST_INTERVAL, self._limit(Limit.AGE, now)),
        ]
        if entry.checks >= min(_MOST_CHECKS, max(1, self._limit(Limit.CHECKS, now) - 1)):
            ends.append(entry.seen_at + interval - lead)
        return min(ends)

    def _check_at(self, entry: Entry[C], now: float) -> float:
        return entry.seen_at + self.interval(now)

    def _look_at(self, entry: Entry[C], now: float) -> float:
        return max(entry.seen_at, entry.looked_at) + max(_SHORTEST_LOOK, self.interval(now) / 4)

    def _opens_at(self, now: float, kept: int) -> float:
        """When to open the next connection that is missing."""
        if self._ledger.made > self._made:  # since then somebody else has opened one
            self._failures, self._retry_at = 0, -inf
        earliest = max(self._retry_at, self._reopen_at)
        if kept + self._ledger.busy < self._wanted:
            return earliest
        if self._short_since is None:
            self._short_since = now
        return max(earliest, self._short_since + _GRACE)

    def _limit(self, limit: Limit, now: float) -> float:
        value, until = self._learned.get(limit, (inf, inf))
        return value if now < until else inf

    def _backoff(self, times: int, longest: float) -> float:
        seconds: float = min(longest, 2.0 ** min(times - 1, 16))
        return seconds * self._jitter()
