"""A connection is released within the pool's own code, by the thread that runs it.

The garbage collector runs at any time, and may close a batch that is not referenced any more: this
releases a connection, in a thread that may hold the pool's lock.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import mailbackends.pool.ledger
from mailbackends.errors import PoolTimeout
from mailbackends.pool import Lease, Pool
from support.pooled import Dialler, FakeConnection, pool_of

SIZE = 2

ThePool = Pool[FakeConnection]


def amid(number: int, act: Callable[[], object], between: Callable[[], object]) -> bool:
    """Run `act`, and `between` just before its line of this number in the ledger.

    Returns False if it has fewer lines there.
    """
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != mailbackends.pool.ledger.__file__:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                sys.settrace(None)
                between()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(PoolTimeout):
            act()
    finally:
        sys.settrace(before)
    return lines >= number


def acquire(pool: ThePool, held: list[Lease[FakeConnection]]) -> None:
    held.append(pool.acquire())


def acquire_fresh(pool: ThePool, held: list[Lease[FakeConnection]]) -> None:
    held.append(pool.acquire(fresh=True))


def release(pool: ThePool, held: list[Lease[FakeConnection]]) -> None:
    pool.release(held.pop(), reusable=True)


def release_spent(pool: ThePool, held: list[Lease[FakeConnection]]) -> None:
    pool.release(held.pop(), reusable=False)


def look(pool: ThePool, held: list[Lease[FakeConnection]]) -> None:
    pool.stats()


def close(pool: ThePool, held: list[Lease[FakeConnection]]) -> None:
    pool.close()


@pytest.mark.parametrize("is_reusable", [True, False], ids=["reusable", "spent"])
@pytest.mark.parametrize("others", ["none", "in use", "idle", "idle too long"])
@pytest.mark.parametrize("act", [acquire, acquire_fresh, release, release_spent, look, close])
def test_a_release_at_any_line_of_the_ledger_loses_no_place_and_leases_none_twice(
    act: Callable[[ThePool, list[Lease[FakeConnection]]], None], others: str, is_reusable: bool
) -> None:
    numbers = itertools.count(1)
    while check_at(next(numbers), act, others, is_reusable=is_reusable):
        pass
    assert next(numbers) > 4


def check_at(
    number: int,
    act: Callable[[ThePool, list[Lease[FakeConnection]]], None],
    others: str,
    *,
    is_reusable: bool,
) -> bool:
    """One run; False if ``act`` has no such line."""
    now = 0.0
    dial = Dialler()
    pool = pool_of(dial, size=SIZE, timeout=0.0, max_idle=10, clock=lambda: now)
    forgotten = pool.acquire()
    held: list[Lease[FakeConnection]] = []
    gives_back = act in (release, release_spent)
    if others != "none" or gives_back:
        held.append(pool.acquire())
    if others.startswith("idle") and not gives_back:
        pool.release(held.pop(), reusable=True)
    if others == "idle too long":
        now = 20.0
    if not amid(
        number, lambda: act(pool, held), lambda: pool.release(forgotten, reusable=is_reusable)
    ):
        return False
    stats = pool.stats()
    assert (stats.in_use, stats.opening, stats.waiters) == (len(held), 0, 0)
    assert stats.open == len(dial.standing) <= SIZE
    if act is not close:
        # Each place can be leased once, and no connection is leased twice.
        while len(held) < SIZE:
            held.append(pool.acquire())
        assert {lease.connection for lease in held} == {*dial.standing}
        with pytest.raises(PoolTimeout):
            pool.acquire()
    for lease in held:
        pool.release(lease, reusable=True)
    pool.close()
    assert dial.standing == []
    return True
