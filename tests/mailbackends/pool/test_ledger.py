"""The ledger by example. `test_ledger_laws` tests every order of events."""

from __future__ import annotations

from math import inf

from mailbackends.pool.ledger import Entry, Lease, Ledger, Limits, PoolStats


class Desk:
    """A ledger of names, and the callers that were woken, in order."""

    def __init__(self, size: int = 2, **limits: float) -> None:
        unlimited = {"max_messages_per_connection": inf, "max_lifetime": inf, "max_idle": inf}
        self.ledger: Ledger[str] = Ledger(Limits(size, **{**unlimited, **limits}))
        self.woken: list[Lease[str]] = []

    def request(self, *, fresh: bool = False) -> Lease[str]:
        lease: Lease[str] = Lease(fresh=fresh)
        lease.wake = lambda: self.woken.append(lease)
        self.ledger.request(lease)
        return lease

    def open(self, name: str, now: float = 0.0) -> Lease[str]:
        lease = self.request()
        self.ledger.opened(lease, Entry(name, now))
        return lease

    def release(self, lease: Lease[str], now: float = 0.0, messages: int = 1) -> bool:
        return self.ledger.release(lease, now, messages=messages)


def connection(lease: Lease[str]) -> str | None:
    return lease.entry and lease.entry.connection


def test_the_first_claim_gets_an_empty_place_at_once():
    desk = Desk()
    lease = desk.request()
    assert desk.woken == [lease]
    assert connection(lease) is None
    assert desk.ledger.stats().opening == 1


def test_a_connection_being_opened_takes_a_place():
    desk = Desk(size=1)
    desk.request()
    second = desk.request()
    assert not desk.ledger.holds(second)
    assert desk.ledger.stats().waiters == 1


def test_the_connection_used_last_is_handed_out_first():
    desk = Desk()
    first, second = desk.open("first"), desk.open("second")
    desk.release(second)
    desk.release(first)
    assert connection(desk.request()) == "first"
    assert connection(desk.request()) == "second"


def test_a_released_connection_goes_to_the_caller_that_has_waited_longest():
    desk = Desk(size=1)
    holder = desk.open("only")
    first, second = desk.request(), desk.request()
    desk.release(holder)
    assert connection(first) == "only"
    assert desk.woken == [holder, first]
    assert not desk.ledger.holds(second)


def test_a_new_caller_waits_after_those_already_waiting():
    desk = Desk(size=1)
    holder = desk.open("only")
    waiter = desk.request()
    desk.release(holder)
    newcomer = desk.request()
    desk.release(waiter)
    assert desk.woken == [holder, waiter, newcomer]


def test_a_caller_that_gives_up_leaves_the_queue():
    desk = Desk(size=1)
    holder = desk.open("only")
    impatient, patient = desk.request(), desk.request()
    desk.ledger.drop(impatient)
    desk.release(holder)
    assert desk.woken == [holder, patient]


def test_a_caller_that_gives_up_when_just_served_passes_its_place_on():
    desk = Desk(size=1)
    holder = desk.open("only")
    impatient, patient = desk.request(), desk.request()
    desk.release(holder)
    desk.ledger.drop(impatient)
    assert desk.woken == [holder, impatient, patient]
    assert desk.ledger.stats().retired == {"error": 1}


def test_a_failed_opening_gives_the_place_to_the_next():
    desk = Desk(size=1)
    opener = desk.request()
    waiter = desk.request()
    desk.ledger.drop(opener)
    assert desk.woken == [opener, waiter]
    assert connection(waiter) is None


def test_dropping_twice_frees_one_place_only():
    desk = Desk(size=1)
    opener = desk.request()
    desk.request(), desk.request()
    desk.ledger.drop(opener)
    desk.ledger.drop(opener)
    assert len(desk.woken) == 2


def test_a_connection_is_retired_by_messages_age_and_idleness():
    desk = Desk(size=3, max_messages_per_connection=2, max_lifetime=100, max_idle=10)
    busy, old, quiet = desk.open("busy", 50), desk.open("old", 0), desk.open("quiet", 50)
    assert not desk.release(busy, 60, messages=2)
    assert not desk.release(old, 100)
    assert desk.release(quiet, 60)
    assert [lease.reason for lease in (busy, old)] == ["messages", "age"]

    evicted: Lease[str] = Lease()
    assert not desk.ledger.evict(evicted, 69.9)
    assert desk.ledger.evict(evicted, 70)
    assert (connection(evicted), evicted.reason) == ("quiet", "idle")


def test_a_connection_being_closed_keeps_its_place_until_it_is_dropped():
    desk = Desk(size=1, max_messages_per_connection=1)
    holder = desk.open("only")
    waiter = desk.request()
    assert not desk.release(holder)
    assert desk.woken == [holder]
    desk.ledger.drop(holder)
    assert desk.woken == [holder, waiter]


def test_after_a_dead_connection_comes_the_next_idle_one_and_then_an_empty_place():
    desk = Desk()
    first, second = desk.open("first"), desk.open("second")
    desk.release(first)
    desk.release(second)
    lease = desk.request()
    for expected in ("second", "first"):
        assert connection(lease) == expected
        desk.ledger.retire(lease, "dead")
        desk.ledger.refill(lease)
    assert connection(lease) is None
    assert desk.ledger.stats().opening == 1


def test_a_fresh_claim_prefers_an_empty_place_and_leaves_the_idle_one():
    desk = Desk()
    desk.release(desk.open("idle"))
    assert connection(desk.request(fresh=True)) is None
    assert desk.ledger.stats().idle == 1


def test_a_fresh_claim_takes_the_place_of_the_one_used_longest_ago_and_no_other():
    desk = Desk()
    first, second = desk.open("first"), desk.open("second")
    desk.release(first)
    desk.release(second)
    lease = desk.request(fresh=True)
    assert connection(lease) == "first"
    desk.ledger.retire(lease, "idle")
    desk.ledger.refill(lease)
    assert connection(lease) is None
    assert desk.ledger.stats().idle == 1


def test_closing_wakes_all_waiting_callers_and_serves_none():
    desk = Desk(size=1)
    holder = desk.open("only")
    waiters = [desk.request(), desk.request()]
    desk.ledger.close()
    assert desk.woken == [holder, *waiters]
    assert not any(map(desk.ledger.holds, waiters))
    assert not desk.release(holder)
    assert holder.reason == "closed"


def test_closing_retires_the_idle_ones():
    desk = Desk()
    desk.release(desk.open("idle"))
    desk.ledger.close()
    evicted: Lease[str] = Lease()
    assert desk.ledger.evict(evicted, 0)
    assert evicted.reason == "closed"


def test_a_lease_of_another_process_is_not_taken_back():
    theirs, ours = Desk(), Desk()
    lease = theirs.open("inherited")
    assert not ours.release(lease)
    assert lease.reason == "forked"
    assert ours.ledger.stats().idle == 0


def test_all_connections_are_known_whatever_their_stage():
    desk = Desk(size=3)
    idle, used, closing = desk.open("idle"), desk.open("used"), desk.open("closing")
    desk.release(idle)
    desk.ledger.retire(closing, "error")
    assert sorted(entry.connection for entry in desk.ledger.entries()) == [
        "closing",
        "idle",
        "used",
    ]
    desk.ledger.drop(used)
    assert sorted(entry.connection for entry in desk.ledger.entries()) == ["closing", "idle"]


def test_stats_count_every_connection_and_caller():
    desk = Desk(size=3)
    desk.release(desk.open("reused"))
    desk.request()
    desk.ledger.reused()
    desk.release(desk.open("idle"))
    desk.request(fresh=True)
    assert desk.ledger.stats() == PoolStats(
        open=2, idle=1, in_use=1, opening=1, waiters=0, made=2, reused=1, retired={}
    )
