"""Ctrl-C between any two lines of the pool: no place is lost, and no connection is left open."""

from __future__ import annotations

import gc
import linecache
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from weakref import WeakSet

import pytest

import mailbackends.pool.base
import mailbackends.pool.blocking
import mailbackends.pool.ledger
import mailbackends.pool.poolable
from mailbackends.pool import Pool
from support.pooled import FakeConnection, pool_of

SIZE = 2
FILES = {
    module.__file__
    for module in (
        mailbackends.pool.blocking,
        mailbackends.pool.base,
        mailbackends.pool.poolable,
        mailbackends.pool.ledger,
    )
}


def interrupt_at(number: int, act: Callable[[], object]) -> bool:
    """Run `act` with a Ctrl-C just before the line of that number; False if it has fewer."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line" and not is_with(frame):
            lines += 1
            if lines == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    gc.disable()  # it would interrupt the finalizer of an earlier pool
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


def is_with(frame: FrameType) -> bool:
    """Leaving a `with` block visits its line again, where only a tracer could interrupt.

    A signal handler cannot: the interpreter checks for signals after calls and jumps, and
    there is none between the end of the block and the call that frees the lock.
    """
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


@pytest.fixture(scope="module", autouse=True)
def only_new_garbage() -> Iterator[None]:
    """Collect only what these tests make: the rest of a long test run takes too long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Scene:
    """A pool in some state, and the call that Ctrl-C interrupts."""

    def __init__(self) -> None:
        self.now = 0.0
        self.connections: WeakSet[FakeConnection] = WeakSet()
        self.pool: Pool[FakeConnection] = pool_of(
            self.connect, size=SIZE, timeout=0.0, max_idle=10, clock=lambda: self.now
        )

    def connect(self, deadline: float | None) -> FakeConnection:
        connection = FakeConnection()
        self.connections.add(connection)
        return connection

    def make_idle(self, count: int) -> None:
        for lease in [self.pool.acquire() for _ in range(count)]:
            self.pool.release(lease, reusable=True)

    def standing(self) -> list[FakeConnection]:
        """The connections that are still open; garbage is closed when it is collected."""
        if all(connection.ended for connection in self.connections):
            return []
        gc.collect()
        return [connection for connection in self.connections if not connection.ended]

    def check(self) -> None:
        stats = self.pool.stats()
        standing = self.standing()
        assert (stats.in_use, stats.opening, stats.waiters) == (0, 0, 0)
        assert stats.idle == len(standing)
        leases = [self.pool.acquire() for _ in range(SIZE)]
        assert len({id(lease.connection) for lease in leases}) == SIZE
        assert all(not lease.connection.ended for lease in leases)


def acquire_new(scene: Scene) -> Callable[[], object]:
    return scene.pool.acquire


def acquire_used(scene: Scene) -> Callable[[], object]:
    scene.make_idle(SIZE)
    return scene.pool.acquire


def acquire_fresh(scene: Scene) -> Callable[[], object]:
    scene.make_idle(SIZE)
    return lambda: scene.pool.acquire(fresh=True)


def acquire_past_the_dead(scene: Scene) -> Callable[[], object]:
    scene.make_idle(SIZE)
    for connection in scene.connections:
        connection.alive = False
    return scene.pool.acquire


def acquire_past_the_spent(scene: Scene) -> Callable[[], object]:
    scene.make_idle(SIZE)
    scene.now = 10
    return scene.pool.acquire


def wait_in_vain(scene: Scene) -> Callable[[], object]:
    leases = [scene.pool.acquire() for _ in range(SIZE)]

    def act() -> None:
        try:
            with pytest.raises(TimeoutError):
                scene.pool.acquire()
        finally:
            sys.settrace(None)
            for lease in leases:
                scene.pool.release(lease, reusable=True)

    return act


def give_back(*, reusable: bool) -> Callable[[Scene], Callable[[], object]]:
    def prepare(scene: Scene) -> Callable[[], object]:
        lease = scene.pool.acquire()

        def act() -> None:
            try:
                scene.pool.release(lease, reusable=reusable)
            except KeyboardInterrupt:
                # As a caller's `finally` may do, and must if the interrupt came first.
                scene.pool.release(lease, reusable=reusable)
                raise

        return act

    return prepare


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(acquire_new, id="acquire-new"),
        pytest.param(acquire_used, id="acquire-used"),
        pytest.param(acquire_fresh, id="acquire-fresh"),
        pytest.param(acquire_past_the_dead, id="acquire-past-the-dead"),
        pytest.param(acquire_past_the_spent, id="acquire-past-the-spent"),
        pytest.param(wait_in_vain, id="wait-in-vain"),
        pytest.param(give_back(reusable=True), id="release-reusable"),
        pytest.param(give_back(reusable=False), id="release-broken"),
    ],
)
def test_ctrl_c_before_any_line_leaks_nothing(prepare):
    number = 1
    while True:
        scene = Scene()
        if not interrupt_at(number, prepare(scene)):
            break
        scene.check()
        number += 1
    assert number > 10, "too few lines were interrupted"


def test_ctrl_c_before_any_line_of_close_leaves_no_place_taken():
    number = 1
    while True:
        scene = Scene()
        scene.make_idle(SIZE)
        if not interrupt_at(number, scene.pool.close):
            break
        scene.pool.close()
        assert scene.standing() == []
        number += 1
    assert number > 10, "too few lines were interrupted"
