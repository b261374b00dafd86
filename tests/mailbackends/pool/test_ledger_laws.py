"""Invariants of the ledger in every order of events."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from mailbackends.pool.ledger import Entry, Lease, Ledger, Limits

SIZE = 3
LIMITS = Limits(size=SIZE, max_messages_per_connection=4, max_lifetime=60.0, max_idle=10.0)


class LedgerLaws(RuleBasedStateMachine):
    """Callers ask, open, check, release and give up, and time passes.

    A model of the ledger has only names: who waits in which order, who was served, and which
    connections are idle in which order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger[str] = Ledger(LIMITS)
        self.now = 0.0
        self.waiting: list[Lease[str]] = []
        self.opening: list[Lease[str]] = []
        self.using: list[Lease[str]] = []
        self.closing: list[Lease[str]] = []
        self.idle: list[str] = []  # used last comes last
        self.ahead: Lease[str] | None = None  # that of upkeep
        self.checking: tuple[str, int] | None = None  # and its place among the idle ones
        self.made = 0
        self.ended: list[str] = []

    # The callers' actions.

    leases = Bundle("leases")

    @rule(target=leases, fresh=st.booleans())
    def request(self, fresh: bool) -> Lease[str]:
        self.sweep()
        lease: Lease[str] = Lease(fresh=fresh)
        lease.wake = lambda: self.served(lease)
        self.waiting.append(lease)
        self.ledger.request(lease)
        return lease

    def served(self, lease: Lease[str]) -> None:
        assert lease is self.waiting.pop(0), "a caller was overtaken, or served twice"
        if lease.entry is None:
            self.opening.append(lease)
            return
        assert lease.entry.connection == self.idle.pop(0 if lease.fresh else -1)
        self.using.append(lease)
        if lease.fresh:
            self.replace(lease, "idle")

    @rule(lease=leases)
    def open(self, lease: Lease[str]) -> None:
        if lease in self.opening:
            self.made += 1
            self.opening.remove(lease)
            self.using.append(lease)
            self.ledger.opened(lease, Entry(f"c{self.made}", self.now))

    @rule(lease=leases)
    def find_dead(self, lease: Lease[str]) -> None:
        if lease in self.using:
            self.replace(lease, "dead")

    def replace(self, lease: Lease[str], reason: str) -> None:
        assert lease.entry is not None
        self.ended.append(lease.entry.connection)
        self.using.remove(lease)
        self.ledger.retire(lease, reason)
        self.ledger.refill(lease)
        if lease.entry is None:
            self.opening.append(lease)
        else:
            assert not lease.fresh
            assert lease.entry.connection == self.idle.pop()
            self.using.append(lease)

    @rule(lease=leases, messages=st.integers(0, 3), reason=st.sampled_from(["", "", "error"]))
    def release(self, lease: Lease[str], messages: int, reason: str) -> None:
        if lease not in self.using:
            return
        assert lease.entry is not None
        entry = lease.entry
        self.using.remove(lease)
        self.idle.append(entry.connection)
        is_done = self.ledger.release(lease, self.now, messages=messages, reason=reason)
        is_spent = entry.messages >= 4 or self.now - entry.opened_at >= 60
        assert is_done is not bool(reason or is_spent)
        if not is_done:
            self.idle.remove(entry.connection)
            self.closing.append(lease)

    @rule(lease=consumes(leases))
    def drop(self, lease: Lease[str]) -> None:
        """Close what must be closed, or give up, at any point; then once more."""
        for _ in range(2):
            for stage in (self.waiting, self.opening, self.using, self.closing):
                if lease in stage:
                    stage.remove(lease)
                    if lease.entry is not None:
                        self.ended.append(lease.entry.connection)
            self.ledger.drop(lease)

    # Upkeep has one lease at a time.

    @precondition(lambda self: self.ahead is None)
    @rule()
    def open_ahead(self) -> None:
        lease: Lease[str] = Lease()
        taken = len(self.opening) + len(self.using) + len(self.closing) + len(self.idle)
        assert self.ledger.take_place(lease) is (taken < SIZE and not self.waiting)
        if taken < SIZE:
            self.ahead = lease
            self.opening.append(lease)

    @precondition(lambda self: self.ahead in self.opening)
    @rule(succeeds=st.booleans())
    def opened_ahead(self, succeeds: bool) -> None:
        lease, self.ahead = self.ahead, None
        assert lease is not None
        assert not self.waiting or lease.gives_way
        self.opening.remove(lease)
        if not succeeds:
            self.ledger.drop(lease)
            return
        self.made += 1
        self.idle.append(f"c{self.made}")
        self.ledger.opened(lease, Entry(f"c{self.made}", self.now))
        assert self.ledger.release(lease, self.now, messages=0)

    @precondition(lambda self: self.ahead is None and self.idle)
    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        self.sweep()
        if self.idle:
            place = data.draw(st.integers(0, len(self.idle) - 1))
            self.ahead = Lease()
            self.checking = self.idle.pop(place), place
            self.ledger.take_idle(self.ahead, self.ledger.idle[place])

    @precondition(lambda self: self.checking is not None)
    @rule(is_alive=st.booleans())
    def checked(self, is_alive: bool) -> None:
        (name, _), lease = self.checking or ("", 0), self.ahead
        self.checking = self.ahead = None
        assert lease is not None
        assert lease.entry is not None
        assert not self.waiting or lease.gives_way
        if not is_alive:
            self.ended.append(name)
            self.ledger.retire(lease, "dead")
            self.ledger.drop(lease)
            return
        entry = lease.entry
        earlier = [e.connection for e in self.ledger.idle if e.idle_since <= entry.idle_since]
        self.idle.insert(len(earlier), name)
        self.ledger.put_back(lease)

    @rule(seconds=st.floats(0.1, 30.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.idle)
    @rule()
    def sweep(self) -> None:
        lease: Lease[str] = Lease()
        while self.ledger.evict(lease, self.now):
            assert lease.entry is not None
            assert lease.reason in {"age", "idle"}
            self.idle.remove(lease.entry.connection)
            self.ended.append(lease.entry.connection)
            self.ledger.drop(lease)

    # Invariants.

    @invariant()
    def there_are_never_more_connections_than_places(self) -> None:
        taken = len(self.opening) + len(self.using) + len(self.closing) + len(self.idle)
        assert taken + (self.checking is not None) <= SIZE

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        if self.waiting:
            taken = len(self.opening) + len(self.using) + len(self.closing)
            assert taken + (self.checking is not None) == SIZE
            assert not self.idle

    @invariant()
    def no_connection_is_lost_and_none_stands_in_two_places(self) -> None:
        held = [c.entry.connection for c in (*self.using, *self.closing) if c.entry]
        checking = [self.checking[0]] if self.checking else []
        everywhere = [*held, *checking, *self.idle, *self.ended]
        assert sorted(everywhere) == sorted(f"c{n + 1}" for n in range(self.made))

    @invariant()
    def every_claim_that_was_served_holds_its_place_until_it_ends(self) -> None:
        for lease in (*self.opening, *self.using, *self.closing):
            assert self.ledger.holds(lease)
        for lease in self.waiting:
            assert not self.ledger.holds(lease)

    @invariant()
    def stats_agree(self) -> None:
        stats = self.ledger.stats()
        idle = len(self.idle) + (self.checking is not None)
        assert (stats.idle, stats.in_use) == (idle, len(self.using))
        assert (stats.opening, stats.waiters) == (len(self.opening), len(self.waiting))
        assert stats.open == stats.idle + stats.in_use
        assert stats.made == self.made
        assert sum(stats.retired.values()) == len(self.ended) + len(self.closing)

    def teardown(self) -> None:
        """Closing at the end wakes all waiting callers, and leaves nothing open."""
        woken: list[Lease[str]] = []
        for lease in self.waiting:
            lease.wake = lambda lease=lease: woken.append(lease)
        self.ledger.close()
        assert woken == self.waiting
        evicted: Lease[str] = Lease()
        while self.ledger.evict(evicted, self.now):
            self.ledger.drop(evicted)
        for lease in (*self.opening, *self.using, *self.closing):
            self.ledger.drop(lease)
        if self.ahead is not None:
            assert self.ahead.gives_way or self.checking is None
            self.ledger.drop(self.ahead)
        assert self.ledger.stats().open == 0
        assert self.ledger.entries() == []


LedgerLaws.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLedgerLaws = LedgerLaws.TestCase
