"""The pool with threads, on connections in memory."""

from __future__ import annotations

import gc
import logging
import pickle
import threading
import time
import weakref

import pytest

from mailbackends.errors import Outcome, PoolClosed, PoolTimeout
from mailbackends.events import ConnectionOpened, ConnectionRetired, ConnectionReused, Event
from mailbackends.pool import Lease, Pool
from support.background import until
from support.pooled import Dialler, FakeConnection, pool_of


@pytest.fixture
def dial() -> Dialler:
    return Dialler()


class Waiter(threading.Thread):
    """A thread that asks for a connection; `start` returns when it is in the queue."""

    def __init__(self, pool: Pool[FakeConnection], **options: float) -> None:
        super().__init__(daemon=True)
        self.pool, self.options = pool, options
        self.lease: Lease[FakeConnection] | None = None
        self.error: BaseException | None = None
        before = pool.stats().waiters
        self.start()
        until(lambda: pool.stats().waiters == before + 1)

    def run(self) -> None:
        try:
            self.lease = self.pool.acquire(**self.options)
        except BaseException as error:
            self.error = error


# Reuse


def test_a_released_connection_is_used_again(dial):
    pool = pool_of(dial)
    first = pool.acquire()
    pool.release(first, reusable=True)
    second = pool.acquire()
    assert (first.is_reused, second.is_reused) == (False, True)
    assert second.connection is first.connection
    assert (pool.stats().made, pool.stats().reused) == (1, 1)


def test_the_connection_used_last_comes_first(dial):
    pool = pool_of(dial)
    first, second = pool.acquire(), pool.acquire()
    pool.release(second, reusable=True)
    pool.release(first, reusable=True)
    assert pool.acquire().connection is first.connection


def test_a_connection_that_is_not_reusable_is_aborted(dial):
    pool = pool_of(dial)
    pool.release(pool.acquire(), reusable=False)
    assert dial.opened[0].ended == ["aborted"]
    assert pool.stats().retired == {"error": 1}


def test_a_lease_of_another_pool_is_only_aborted(dial):
    pool, other = pool_of(dial), pool_of(dial)
    lease = pool.acquire()
    other.release(lease, reusable=True)
    assert lease.connection.ended == ["aborted"]
    assert other.stats().idle == 0


def test_a_connection_that_is_not_reusable_for_a_harmless_reason_is_closed_politely(dial):
    pool = pool_of(dial)
    pool.release(pool.acquire(), reusable=False, reason="messages")
    assert dial.opened[0].ended == ["closed"]
    assert pool.stats().retired == {"messages": 1}


def test_a_dead_connection_is_dropped_and_the_next_one_taken(dial):
    pool = pool_of(dial, size=3)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        pool.release(lease, reusable=True)
    dial.opened[2].alive = dial.opened[1].alive = False
    lease = pool.acquire()
    assert lease.connection is dial.opened[0]
    assert lease.is_reused
    assert [connection.ended for connection in dial.opened] == [[], ["aborted"], ["aborted"]]
    assert pool.stats().retired == {"dead": 2}


def test_when_all_are_dead_a_new_one_is_opened(dial):
    pool = pool_of(dial)
    pool.release(pool.acquire(), reusable=True)
    dial.opened[0].alive = False
    assert not pool.acquire().is_reused
    assert len(dial.opened) == 2


def test_a_connection_whose_check_fails_counts_as_dead(dial):
    pool = pool_of(dial)
    pool.release(pool.acquire(), reusable=True)
    dial.opened[0].is_alive = lambda: 1 / 0
    assert not pool.acquire().is_reused
    assert pool.stats().retired == {"dead": 1}


def test_fresh_never_returns_a_used_connection_even_if_idle_ones_take_all_places(dial):
    pool = pool_of(dial, size=1)
    pool.release(pool.acquire(), reusable=True)
    lease = pool.acquire(fresh=True)
    assert not lease.is_reused
    assert dial.standing == [lease.connection]
    assert pool.stats().retired == {"idle": 1}


def test_messages_age_and_idleness_retire_a_connection_politely(dial):
    now = 0.0
    pool = pool_of(
        dial,
        size=3,
        max_messages_per_connection=2,
        max_lifetime=100,
        max_idle=10,
        clock=lambda: now,
    )
    leases = [pool.acquire() for _ in range(3)]
    pool.release(leases[0], reusable=True, messages=2)
    pool.release(leases[1], reusable=True)
    now = 10
    assert pool.stats().retired == {"messages": 1, "idle": 1}
    now = 100
    pool.release(leases[2], reusable=True)
    assert pool.stats().retired == {"messages": 1, "idle": 1, "age": 1}
    assert [connection.ended for connection in dial.opened] == [["closed"]] * 3


def test_releasing_a_connection_closes_others_that_were_idle_too_long(dial):
    now = 0.0
    pool = pool_of(dial, max_idle=10, clock=lambda: now)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first, reusable=True)
    now = 10
    pool.release(second, reusable=True)
    assert dial.standing == [second.connection]


def test_a_connection_without_messages_does_not_count_as_used(dial):
    pool = pool_of(dial, max_messages_per_connection=1)
    pool.release(pool.acquire(), reusable=True, messages=0)
    assert pool.acquire().is_reused


def test_releasing_twice_does_not_take_the_connection_from_its_next_user(dial):
    pool = pool_of(dial, size=1)
    first = pool.acquire()
    pool.release(first, reusable=True)
    second = pool.acquire()
    pool.release(first, reusable=False)
    assert second.connection.ended == []
    assert pool.stats().in_use == 1


# The cap, and waiting


def test_a_caller_waits_while_all_are_in_use_and_gets_the_released_one(dial):
    pool = pool_of(dial, size=1)
    holder = pool.acquire()
    waiter = Waiter(pool)
    pool.release(holder, reusable=True)
    waiter.join(10)
    assert waiter.lease is not None
    assert waiter.lease.connection is holder.connection
    assert len(dial.opened) == 1


def test_waiting_callers_are_served_in_the_order_of_arrival(dial):
    pool = pool_of(dial, size=1)
    lease = pool.acquire()
    waiters = [Waiter(pool) for _ in range(5)]
    for waiter in waiters:
        pool.release(lease, reusable=True)
        waiter.join(10)
        assert waiter.lease is not None
        lease = waiter.lease


def test_a_timeout_names_the_size_the_time_and_the_fix(dial):
    pool = pool_of(dial, size=1, timeout=0.01)
    pool.acquire()
    with pytest.raises(PoolTimeout) as caught:
        pool.acquire()
    text = str(caught.value)
    assert "pool_timeout is 0.01 s" in text
    assert "1 in use and 0 being opened of pool_size 1, 1 waiting" in text
    assert "raise pool_size" in text
    assert "\n" not in text
    assert caught.value.outcome is Outcome.NOT_SENT
    assert str(pickle.loads(pickle.dumps(caught.value))) == text  # noqa: S301 - our own bytes
    assert pool.stats().waiters == 0


def test_the_callers_deadline_ends_the_wait_before_the_pools_timeout(dial):
    pool = pool_of(dial, size=1, timeout=1000)
    pool.acquire()
    with pytest.raises(PoolTimeout, match="the rest of the deadline; pool_timeout is 1000 s"):
        pool.acquire(deadline=time.monotonic() + 0.01)


def test_after_the_deadline_a_free_connection_is_still_leased(dial):
    pool = pool_of(dial)
    pool.release(pool.acquire(), reusable=True)
    assert pool.acquire(deadline=time.monotonic() - 1).is_reused


def test_connect_is_given_the_deadline(dial):
    pool = pool_of(dial)
    pool.acquire()
    pool.acquire(deadline=1e12)
    assert dial.deadlines == [None, 1e12]


def test_an_unlimited_wait_does_not_overflow(dial):
    pool = pool_of(dial, timeout=float("inf"))
    assert pool.acquire(deadline=1e300)


def test_a_caller_that_times_out_loses_no_place(dial):
    pool = pool_of(dial, size=1, timeout=0.01)
    lease = pool.acquire()
    with pytest.raises(PoolTimeout):
        pool.acquire()
    pool.release(lease, reusable=True)
    assert pool.acquire().is_reused


def test_a_caller_served_at_the_moment_it_times_out_uses_the_place(dial, monkeypatch):
    pool = pool_of(dial, size=1, timeout=0.01)
    lease = pool.acquire()
    make_lock = threading.Lock

    class Gate:
        """A lock whose timed wait always times out, just after the place became free."""

        def __init__(self) -> None:
            self.lock = make_lock()

        def acquire(self, timeout: float | None = None) -> bool:
            if timeout is not None:
                pool.release(lease, reusable=True)
                return False
            return self.lock.acquire()

        def release(self) -> None:
            self.lock.release()

    monkeypatch.setattr(threading, "Lock", Gate)
    assert pool.acquire().connection is lease.connection


# Faults


def test_a_failed_connect_gives_the_place_back_and_wakes_the_next(dial):
    at_it, go_on = threading.Event(), threading.Event()

    def connect(deadline: float | None) -> FakeConnection:
        if not at_it.is_set():
            at_it.set()
            go_on.wait(10)
            raise ConnectionRefusedError("nobody there")
        return dial(deadline)

    pool = pool_of(connect, size=1)

    def fail() -> None:
        with pytest.raises(ConnectionRefusedError):
            pool.acquire()

    failing = threading.Thread(target=fail)
    failing.start()
    at_it.wait(10)
    waiter = Waiter(pool)
    go_on.set()
    failing.join(10)
    waiter.join(10)
    assert waiter.lease is not None
    assert pool.stats().in_use == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, OSError])
@pytest.mark.parametrize("where", ["connect", "is_alive", "hook"])
def test_no_exception_of_any_kind_leaks_a_place(error, where):
    armed = False

    def fail(*_: object) -> bool:
        if armed:
            raise error
        return True

    class Connection(FakeConnection):
        def is_alive(self) -> bool:
            return where != "is_alive" or fail()

    def connect(deadline: float | None) -> Connection:
        if where == "connect":
            fail()
        return Connection()

    pool = pool_of(connect, size=1, on_event=fail if where == "hook" else None)
    pool.release(pool.acquire(), reusable=where == "is_alive")
    armed = True
    try:
        lease = pool.acquire()
    except error:
        assert pool.stats().in_use == pool.stats().opening == 0
    else:
        armed = False
        pool.release(lease, reusable=True)
    armed = False
    pool.release(pool.acquire(), reusable=True)


def test_a_connection_whose_close_fails_is_aborted_and_its_place_is_free(dial):
    pool = pool_of(dial, size=1, max_messages_per_connection=1)
    lease = pool.acquire()
    lease.connection.close = lambda: 1 / 0
    pool.release(lease, reusable=True)
    assert lease.connection.ended == ["aborted"]
    assert pool.acquire()


def test_an_interrupted_close_frees_the_places_of_all_that_are_closed(dial):
    now = 0.0
    pool = pool_of(dial, size=2, max_idle=10, clock=lambda: now)
    leases = [pool.acquire(), pool.acquire()]

    def interrupt() -> None:
        raise KeyboardInterrupt

    for lease in leases:
        lease.connection.close = interrupt
        pool.release(lease, reusable=True)
    now = 10.0
    for _ in leases:
        with pytest.raises(KeyboardInterrupt):
            pool.acquire()
    assert [pool.acquire().is_reused for _ in leases] == [False, False]
    assert [lease.connection.ended for lease in leases] == [["aborted"], ["aborted"]]


# Closing


def test_closing_ends_the_idle_ones_politely_and_the_others_when_released(dial):
    pool = pool_of(dial)
    used, idle = pool.acquire(), pool.acquire()
    pool.release(idle, reusable=True)
    pool.close()
    pool.close()
    assert (used.connection.ended, idle.connection.ended) == ([], ["closed"])
    pool.release(used, reusable=True)
    assert used.connection.ended == ["closed"]
    assert pool.stats().retired == {"closed": 2}


def test_a_closed_pool_raises_pool_closed(dial):
    pool = pool_of(dial)
    pool.close()
    with pytest.raises(PoolClosed, match="the pool is closed") as caught:
        pool.acquire()
    assert caught.value.outcome is Outcome.NOT_SENT
    assert not dial.opened


def test_waiting_callers_get_pool_closed_when_the_pool_closes(dial):
    pool = pool_of(dial, size=1)
    pool.acquire()
    waiters = [Waiter(pool), Waiter(pool)]
    pool.close()
    for waiter in waiters:
        waiter.join(10)
        assert isinstance(waiter.error, PoolClosed)


def test_closing_aborts_the_connections_left_when_its_time_is_up(dial):
    now = 0.0
    pool = pool_of(dial, clock=lambda: now)
    leases = [pool.acquire(), pool.acquire()]

    def dawdle() -> None:
        nonlocal now
        now += 1.0

    leases[0].connection.close = dawdle
    for lease in leases:
        pool.release(lease, reusable=True)
    pool.close(timeout=1.0)
    assert leases[1].connection.ended == ["aborted"]


def test_watching_a_pool_does_not_keep_it_alive(dial):
    pool = weakref.ref(pool_of(dial))
    gc.collect()
    assert pool() is None


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_without_places_is_refused(dial, size):
    with pytest.raises(ValueError, match=f"size must be at least 1, got {size}"):
        pool_of(dial, size=size)


# Events


def test_events_report_the_life_of_a_connection(dial):
    events: list[Event] = []
    now = 0.0

    def connect(deadline: float | None) -> FakeConnection:
        nonlocal now
        now += 2.0
        return dial(deadline)

    pool = pool_of(connect, on_event=events.append, clock=lambda: now)
    pool.release(pool.acquire(), reusable=True, messages=3)
    now += 5.0
    pool.release(pool.acquire(), reusable=False)
    assert events == [
        ConnectionOpened(duration=2.0),
        ConnectionReused(messages=3, idle=5.0),
        ConnectionRetired(reason="error", messages=4, age=5.0),
    ]


def test_a_hook_that_raises_breaks_nothing_and_is_logged_once(dial, caplog):
    def hook(event: Event) -> None:
        raise RuntimeError("broken hook")

    pool = pool_of(dial, size=1, on_event=hook)
    for _ in range(3):
        pool.release(pool.acquire(), reusable=True)
    pool.close()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in warnings] == ["mailbackends.pool"]
    assert warnings[0].exc_info


def test_a_hook_may_ask_the_pool(dial):
    seen: list[int] = []
    pool = pool_of(dial, on_event=lambda event: seen.append(pool.stats().open))
    pool.release(pool.acquire(), reusable=False)
    assert seen == [1, 0]
