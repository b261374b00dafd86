"""What holds for the ledger in every order of events."""

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

from mailbackends.pool.ledger import Claim, Entry, Ledger, Limits

SIZE = 3
LIMITS = Limits(size=SIZE, max_messages_per_connection=4, max_lifetime=60.0, max_idle=10.0)


class LedgerLaws(RuleBasedStateMachine):
    """Callers ask, open, peek, release and give up, and time passes.

    Beside the ledger stands a model of it that knows only names: who waits in which
    order, who was served, which connections are idle in which order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger[str] = Ledger(LIMITS)
        self.now = 0.0
        self.waiting: list[Claim[str]] = []
        self.opening: list[Claim[str]] = []
        self.using: list[Claim[str]] = []
        self.closing: list[Claim[str]] = []
        self.idle: list[str] = []  # used last, stands last
        self.made = 0
        self.ended: list[str] = []

    # What the callers do.

    claims = Bundle("claims")

    @rule(target=claims, fresh=st.booleans())
    def request(self, fresh: bool) -> Claim[str]:
        self.sweep()
        claim: Claim[str] = Claim(fresh=fresh)
        claim.wake = lambda: self.served(claim)
        self.waiting.append(claim)
        self.ledger.request(claim)
        return claim

    def served(self, claim: Claim[str]) -> None:
        assert claim is self.waiting.pop(0), "somebody was overtaken, or served twice"
        if claim.entry is None:
            self.opening.append(claim)
            return
        assert claim.entry.connection == self.idle.pop(0 if claim.fresh else -1)
        self.using.append(claim)
        if claim.fresh:
            self.replace(claim, "idle")

    @rule(claim=claims)
    def open(self, claim: Claim[str]) -> None:
        if claim in self.opening:
            self.made += 1
            self.opening.remove(claim)
            self.using.append(claim)
            self.ledger.opened(claim, Entry(f"c{self.made}", self.now))

    @rule(claim=claims)
    def find_dead(self, claim: Claim[str]) -> None:
        if claim in self.using:
            self.replace(claim, "dead")

    def replace(self, claim: Claim[str], reason: str) -> None:
        assert claim.entry is not None
        self.ended.append(claim.entry.connection)
        self.using.remove(claim)
        self.ledger.retire(claim, reason)
        self.ledger.refill(claim)
        if claim.entry is None:
            self.opening.append(claim)
        else:
            assert not claim.fresh
            assert claim.entry.connection == self.idle.pop()
            self.using.append(claim)

    @rule(claim=claims, messages=st.integers(0, 3), reason=st.sampled_from(["", "", "error"]))
    def release(self, claim: Claim[str], messages: int, reason: str) -> None:
        if claim not in self.using:
            return
        assert claim.entry is not None
        entry = claim.entry
        self.using.remove(claim)
        self.idle.append(entry.connection)
        is_done = self.ledger.release(claim, self.now, messages=messages, reason=reason)
        is_spent = entry.messages >= 4 or self.now - entry.opened_at >= 60
        assert is_done is not bool(reason or is_spent)
        if not is_done:
            self.idle.remove(entry.connection)
            self.closing.append(claim)

    @rule(claim=consumes(claims))
    def drop(self, claim: Claim[str]) -> None:
        """Close what is to be closed, or give up, at whatever point that is; then once more."""
        for _ in range(2):
            for stage in (self.waiting, self.opening, self.using, self.closing):
                if claim in stage:
                    stage.remove(claim)
                    if claim.entry is not None:
                        self.ended.append(claim.entry.connection)
            self.ledger.drop(claim)

    @rule(seconds=st.floats(0.1, 30.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.idle)
    @rule()
    def sweep(self) -> None:
        claim: Claim[str] = Claim()
        while self.ledger.evict(claim, self.now):
            assert claim.entry is not None
            assert claim.reason in {"age", "idle"}
            self.idle.remove(claim.entry.connection)
            self.ended.append(claim.entry.connection)
            self.ledger.drop(claim)

    # What holds at every moment.

    @invariant()
    def there_are_never_more_connections_than_places(self) -> None:
        taken = len(self.opening) + len(self.using) + len(self.closing) + len(self.idle)
        assert taken <= SIZE

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        if self.waiting:
            taken = len(self.opening) + len(self.using) + len(self.closing)
            assert taken == SIZE
            assert not self.idle

    @invariant()
    def no_connection_is_lost_and_none_stands_in_two_places(self) -> None:
        held = [c.entry.connection for c in (*self.using, *self.closing) if c.entry]
        everywhere = [*held, *self.idle, *self.ended]
        assert sorted(everywhere) == sorted(f"c{n + 1}" for n in range(self.made))

    @invariant()
    def every_claim_that_was_served_holds_its_place_until_it_ends(self) -> None:
        for claim in (*self.opening, *self.using, *self.closing):
            assert self.ledger.holds(claim)
        for claim in self.waiting:
            assert not self.ledger.holds(claim)

    @invariant()
    def stats_agree(self) -> None:
        stats = self.ledger.stats()
        assert (stats.idle, stats.in_use) == (len(self.idle), len(self.using))
        assert (stats.opening, stats.waiters) == (len(self.opening), len(self.waiting))
        assert stats.open == stats.idle + stats.in_use
        assert stats.made == self.made
        assert sum(stats.retired.values()) == len(self.ended) + len(self.closing)

    def teardown(self) -> None:
        """Closing at the end wakes all who wait, and leaves nothing behind."""
        woken: list[Claim[str]] = []
        for claim in self.waiting:
            claim.wake = lambda claim=claim: woken.append(claim)
        self.ledger.close()
        assert woken == self.waiting
        evicted: Claim[str] = Claim()
        while self.ledger.evict(evicted, self.now):
            self.ledger.drop(evicted)
        for claim in (*self.opening, *self.using, *self.closing):
            self.ledger.drop(claim)
        assert self.ledger.stats().open == 0
        assert self.ledger.connections() == []


LedgerLaws.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLedgerLaws = LedgerLaws.TestCase
