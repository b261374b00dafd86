"""What upkeep does to a pool: on connections in memory, and a clock that the test moves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from mailbackends.errors import SMTPAuthenticationError, SMTPConnectionError
from mailbackends.events import ConnectionChecked, ConnectionOpened, Event, UpkeepFailed
from mailbackends.pool import Lease, Pool
from mailbackends.pool.base import BasePool
from mailbackends.pool.ledger import Ledger, Limits
from mailbackends.pool.maintenance import maintain
from mailbackends.pool.upkeep import Planner
from mailbackends.transport.waiting import GaveWay, run
from support.pooled import FakeConnection


class Checked(FakeConnection):
    """A connection to `FakeServer`, which may close it for several reasons."""

    def __init__(self, server: FakeServer, number: int) -> None:
        super().__init__(number)
        self.server = server
        self.opened_at = self.command_at = self.message_at = server.now
        self.checks = 0
        self.during_check: Callable[[], None] = lambda: None

    def is_alive(self) -> bool:
        """False once the server has closed it."""
        now, server = self.server.now, self.server
        return (
            self.alive
            and now - self.command_at < server.silence
            and now - self.message_at < server.age
        )

    async def check(self, seconds: float, is_wanted: Callable[[], bool]) -> bool:
        """The server answers, unless it has had enough of checks."""
        assert self.is_alive()
        assert not self.ended
        self.during_check()
        self.checks += 1
        self.command_at = self.server.now
        self.alive = self.checks <= self.server.checks
        return self.alive and is_wanted()


class FakeServer:
    """Opens connections, and closes those that are idle too long. Its clock is ``now``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.silence = self.age = self.checks = inf
        self.error: Exception | None = None
        self.opened: list[Checked] = []
        self.attempts: list[float] = []
        self.during_open: Callable[[], None] = lambda: None
        self.events: list[Event] = []

    def pool(self, min_idle: int = 1, **options: Any) -> Pool[Checked]:
        given = {"size": 4, "max_messages_per_connection": inf, "timeout": 10.0}
        limits = {"max_lifetime": 600.0, "max_idle": 60.0}
        made: Pool[Checked] = Pool(
            lambda deadline: self.open(),
            **{**given, **limits, **options},
            min_idle=min_idle,
            clock=lambda: self.now,
            on_event=self.events.append,
        )
        without_jitter(made)
        return made

    def open(self) -> Checked:
        self.attempts.append(self.now)
        if self.error is not None:
            raise self.error
        self.opened.append(Checked(self, len(self.opened)))
        return self.opened[-1]

    async def open_ahead(self, deadline: float, is_wanted: Callable[[], bool]) -> Checked:
        assert deadline > self.now
        self.during_open()
        if not is_wanted():
            raise GaveWay
        return self.open()

    @property
    def standing(self) -> list[Checked]:
        return [each for each in self.opened if not each.ended]

    def keep(self, pool: Pool[Checked], seconds: float) -> None:
        """Run the rounds of so many seconds."""
        end = self.now + seconds
        rounds = 0
        while True:
            due = run(maintain(pool, self.open_ahead))
            rounds += 1
            assert rounds <= 3 * seconds + 20, "the rounds come too fast"
            if due > end:
                break
            self.now = max(self.now, due)
        self.now = end

    def message(self, pool: Pool[Checked], seconds: float = 0.0) -> Checked:
        """Send one over a connection that is alive, or a new one; it takes so long."""
        lease = pool.acquire()
        self.now += seconds
        connection = lease.connection
        connection.command_at = connection.message_at = self.now
        connection.checks = 0
        pool.release(lease, reusable=True)
        return connection


def without_jitter(pool: BasePool[Any]) -> None:
    planner = pool._here().planner
    assert planner is not None
    planner._jitter = lambda: 1.0


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


# Opened ahead


@pytest.mark.parametrize("count", [1, 2, 4])
def test_so_many_connections_are_opened_ahead(server, count):
    pool = server.pool(min_idle=count)
    server.keep(pool, 1)
    stats = pool.stats()
    assert (stats.idle, stats.made, stats.opened_ahead) == (count, count, count)
    assert [each.is_ahead for each in server.events if isinstance(each, ConnectionOpened)] == (
        [True] * count
    )


def test_a_message_opens_none_afterwards(server):
    pool = server.pool()
    server.keep(pool, 1)
    assert server.message(pool) is server.opened[0]
    assert (pool.stats().made, pool.stats().reused) == (1, 1)


def test_without_the_option_there_is_no_upkeep(server):
    pool = server.pool(min_idle=1)
    pool._limits = Limits(4, inf, inf, inf)
    pool._books.clear()
    assert run(maintain(pool, server.open_ahead)) == inf
    assert server.opened == []


def test_a_connection_that_is_used_for_a_moment_is_not_replaced(server):
    pool = server.pool()
    server.keep(pool, 1)
    for _ in range(20):
        lease = pool.acquire()
        server.keep(pool, 0.5)
        pool.release(lease, reusable=True)
        server.keep(pool, 0.5)
    assert pool.stats().made == 1


def test_a_connection_that_is_used_for_long_is_replaced_until_it_comes_back(server):
    pool = server.pool()
    server.keep(pool, 1)
    lease = pool.acquire()
    server.keep(pool, 2)
    assert (pool.stats().in_use, pool.stats().idle) == (1, 1)
    pool.release(lease, reusable=True)
    server.keep(pool, 90)
    # The surplus one is not checked, and closed after max_idle as without upkeep.
    assert pool.stats().retired == {"idle": 1}
    assert pool.stats().idle == 1


def test_no_more_are_opened_than_the_pool_has_places(server):
    pool = server.pool(min_idle=2, size=2)
    leases = [pool.acquire(), pool.acquire()]
    server.keep(pool, 10)
    assert pool.stats().made == 2
    for lease in leases:
        pool.release(lease, reusable=True)
    server.keep(pool, 10)
    assert (pool.stats().made, pool.stats().idle) == (2, 2)


def test_nothing_is_opened_after_close(server):
    pool = server.pool()
    server.keep(pool, 1)
    pool.close()
    assert run(maintain(pool, server.open_ahead)) == inf
    assert server.standing == []
    assert pool.stats().made == 1


def test_a_pool_that_closes_during_an_attempt_takes_no_connection(server):
    pool = server.pool()
    server.during_open = pool.close
    assert run(maintain(pool, server.open_ahead)) == inf
    assert server.opened == []


# Checked and renewed


def test_an_idle_connection_is_checked_every_twenty_seconds(server):
    pool = server.pool()
    server.keep(pool, 81)
    assert pool.stats().checked == 4
    assert pool.stats().made == 1
    checks = [each for each in server.events if isinstance(each, ConnectionChecked)]
    assert [each.is_alive for each in checks] == [True] * 4


def test_a_third_of_max_idle_is_the_longest_interval(server):
    pool = server.pool(max_idle=9.0)
    server.keep(pool, 10)
    assert pool.stats().checked == 3


def test_a_connection_in_use_is_not_checked(server):
    pool = server.pool()
    for _ in range(100):
        server.message(pool)
        server.keep(pool, 5)
    assert pool.stats().checked == 0


def test_only_the_connections_that_are_kept_ready_are_checked(server):
    pool = server.pool(min_idle=1)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        pool.release(lease, reusable=True)
    server.keep(pool, 50)
    assert pool.stats().checked == 2
    assert server.message(pool) is leases[-1].connection


def test_a_connection_is_renewed_before_ten_checks_which_exim_does_not_allow(server):
    pool = server.pool()
    server.keep(pool, 1000)
    assert max(each.checks for each in server.opened) == 8
    assert set(pool.stats().retired) == {"renewed"}
    # It was replaced before it was closed: at no time was there none.
    for old, new in zip(server.opened, server.opened[1:], strict=False):
        assert old.ended == ["closed"]
        assert new.opened_at - old.command_at < 20.0


def test_a_connection_is_renewed_before_its_lifetime_ends(server):
    pool = server.pool(max_lifetime=100.0)
    for _ in range(30):
        server.keep(pool, 10)
        assert pool.stats().idle == 1
    assert set(pool.stats().retired) == {"renewed"}
    assert pool.stats().made == 4


def test_a_connection_is_renewed_before_its_last_message(server):
    pool = server.pool(max_messages_per_connection=3)
    used = []
    for _ in range(9):
        server.keep(pool, 3)
        used.append(server.message(pool).number)
    assert used == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert set(pool.stats().retired) == {"renewed"}


def test_renewal_needs_no_further_place(server):
    pool = server.pool(size=1, max_lifetime=100.0)
    server.keep(pool, 300)
    assert pool.stats().retired["renewed"] == 3
    assert len(server.standing) == 1


def test_a_connection_that_the_server_has_closed_is_replaced_within_seconds(server):
    pool = server.pool()
    server.message(pool)
    server.keep(pool, 30)
    server.opened[0].alive = False
    server.keep(pool, 6)
    assert pool.stats().retired == {"dead": 1}
    assert pool.stats().idle == 1
    # No message met the dead one.
    assert server.message(pool) is server.opened[1]


# Limits that a server does not announce


def test_an_idle_limit_of_two_seconds_is_learned(server):
    server.silence = 2.0
    pool = server.pool()
    server.keep(pool, 30)
    assert pool.stats().retired["dead"] == 3
    for _ in range(60):
        server.keep(pool, 1.7)
        assert pool.stats().idle == 1
    # Renewed after eight checks, and never again closed by the server.
    assert pool.stats().retired["dead"] == 3
    made = pool.stats().made
    server.message(pool)
    assert pool.stats().made == made


def test_a_limit_on_the_time_without_a_message_is_learned(server):
    server.age = 50.0
    pool = server.pool()
    server.keep(pool, 200)
    dead = pool.stats().retired["dead"]
    assert dead == 2
    server.keep(pool, 1000)
    assert pool.stats().retired["dead"] == dead
    assert pool.stats().idle == 1


def test_a_limit_on_the_number_of_checks_is_learned(server):
    server.checks = 3
    pool = server.pool()
    server.keep(pool, 300)
    dead = pool.stats().retired["dead"]
    assert dead == 2
    server.keep(pool, 1000)
    assert pool.stats().retired["dead"] == dead


def test_one_restart_of_the_server_teaches_nothing(server):
    pool = server.pool(min_idle=3)
    server.keep(pool, 7)
    for connection in server.standing:
        connection.alive = False
    server.keep(pool, 10)
    made, checked = pool.stats().made, pool.stats().checked
    server.keep(pool, 60)
    assert pool.stats().made == made == 6
    assert pool.stats().checked == checked + 9


def test_what_was_learned_is_forgotten_after_an_hour(server):
    server.silence = 2.0
    pool = server.pool()
    server.keep(pool, 30)
    server.silence = inf
    server.keep(pool, 3700)
    before = pool.stats().checked
    server.keep(pool, 100)
    assert pool.stats().checked - before <= 6


def test_a_server_that_closes_at_once_is_not_flooded(server):
    server.silence = 0.0
    pool = server.pool()
    server.keep(pool, 600)
    assert len(server.attempts) <= 18


# A server that is down


def refused() -> SMTPConnectionError:
    return SMTPConnectionError("Connection refused")


def test_a_server_that_is_down_is_tried_again_with_backoff(server):
    server.error = refused()
    pool = server.pool()
    server.keep(pool, 200)
    waits = [round(b - a, 3) for a, b in zip(server.attempts, server.attempts[1:], strict=False)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pool.stats().failed_ahead == len(server.attempts) == 9
    failures = [each for each in server.events if isinstance(each, UpkeepFailed)]
    assert [each.failures for each in failures] == list(range(1, 10))
    assert failures[-1].retry_in == 60


def test_after_it_is_back_the_connections_are_there_within_a_minute(server, caplog):
    server.error = refused()
    pool = server.pool(min_idle=2)
    server.keep(pool, 200)
    server.error = None
    with caplog.at_level(logging.INFO, "mailbackends.pool"):
        server.keep(pool, 61)
    assert pool.stats().idle == 2
    assert "again, after 9 failures" in caplog.text


def test_only_the_first_failure_is_logged_as_a_warning(server, caplog):
    server.error = refused()
    pool = server.pool()
    with caplog.at_level(logging.DEBUG, "mailbackends.pool"):
        server.keep(pool, 200)
    levels = [each.levelname for each in caplog.records if "ahead" in each.message]
    assert levels == ["WARNING"] + ["DEBUG"] * 8
    assert "Connection refused" in caplog.text


def test_a_wrong_password_is_tried_every_five_minutes_only(server):
    server.error = SMTPAuthenticationError(535, b"5.7.8 wrong")
    pool = server.pool()
    server.keep(pool, 1000)
    assert len(server.attempts) == 4


def test_a_connection_that_a_message_opens_ends_the_wait(server):
    server.error = refused()
    pool = server.pool(min_idle=2)
    nudged: list[bool] = []
    pool.on_shortage = lambda: nudged.append(True)
    server.keep(pool, 100)
    server.error = None
    server.message(pool)
    assert nudged
    server.keep(pool, 0.5)
    assert pool.stats().idle == 2


def test_a_caller_does_not_wait_for_the_place_of_a_connection_opened_ahead(server):
    pool = server.pool(size=1)
    asked: list[Lease[Checked]] = []

    def ask() -> None:
        server.during_open = lambda: None
        lease: Lease[Checked] = Lease()
        with pool._here().lock:
            pool._here().ledger.request(lease)
        asked.append(lease)

    server.during_open = ask
    server.keep(pool, 0.5)
    # Upkeep gave way, and the caller has the place.
    assert pool._here().ledger.holds(asked[0])
    assert server.attempts == []
    assert pool.stats().failed_ahead == 0


def test_a_caller_who_waits_during_a_check_gets_the_connection_that_was_checked(server):
    pool = server.pool(size=1)
    server.keep(pool, 1)
    asked: list[Lease[Checked]] = []

    def ask() -> None:
        lease: Lease[Checked] = Lease()
        with pool._here().lock:
            assert not pool._here().ledger.request(lease)
        asked.append(lease)

    server.opened[0].during_check = ask
    server.keep(pool, 21)
    assert asked[0].entry is not None
    assert asked[0].entry.connection is server.opened[0]
    assert pool.stats().in_use == 1


def test_a_connection_that_is_checked_while_the_pool_closes_is_closed(server):
    pool = server.pool()
    server.keep(pool, 1)
    server.opened[0].during_check = pool.close
    server.keep(pool, 21)
    assert server.opened[0].checks == 1
    assert server.standing == []
    assert pool.stats().retired == {"closed": 1}


# When a shortage is reported


def test_a_shortage_is_reported_once_until_upkeep_has_run(server):
    pool = server.pool()
    nudged: list[bool] = []
    pool.on_shortage = lambda: nudged.append(True)
    for _ in range(3):
        lease = pool.acquire()
        pool.release(lease, reusable=True)
    assert len(nudged) == 1
    server.keep(pool, 1)
    lease = pool.acquire()
    assert len(nudged) == 2
    pool.release(lease, reusable=False)
    assert len(nudged) == 2


def test_a_plan_of_an_empty_ledger_is_to_open_at_once():
    ledger: Ledger[str] = Ledger(Limits(2, inf, inf, inf, 1))
    planner = Planner(ledger, Limits(2, inf, inf, inf, 1))
    assert planner.next_time(5.0) == 6.0
    assert not planner.is_settled
    assert planner.interval(5.0) == 20.0
