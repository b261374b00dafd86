"""Upkeep's decisions, carried out: connections opened ahead, checked and retired.

Written once for threads and for an event loop, as everything in `base`. One caller at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from mailbackends.events import ConnectionChecked, ConnectionOpened, UpkeepFailed, error_type
from mailbackends.pool.base import BasePool, Books
from mailbackends.pool.ledger import Entry, Lease
from mailbackends.pool.poolable import Checkable, is_alive
from mailbackends.pool.upkeep import Planner, Step
from mailbackends.transport.waiting import GaveWay

__all__ = ["OpenAhead", "maintain"]

logger: logging.Logger = logging.getLogger("mailbackends.pool")

C = TypeVar("C", bound=Checkable)

OpenAhead: TypeAlias = Callable[[float, Callable[[], bool]], Awaitable[C]]
"""Opens a connection before a time of the clock, and raises `GaveWay` once it is not wanted."""

# Seconds for all of an attempt to open a connection.
_OPEN_SECONDS = 30.0
# Seconds to wait for the answer to a check, and what is left of them once somebody waits.
_CHECK_SECONDS = 10.0
_SHORT_CHECK_SECONDS = 1.0


async def maintain(
    pool: BasePool[C], open_ahead: OpenAhead[C], goes_on: Callable[[], bool] = lambda: True
) -> float:
    """Do what is due, and return the time of the pool's clock at which to come again.

    `math.inf` means never: the pool is closed or has no upkeep, or ``goes_on`` returned False,
    which ends what is under way as well. Connections that have expired are closed, too. A server
    that cannot be reached is logged once, and raises nothing.
    """
    books = pool._here()
    pool._sweep(books)
    planner = books.planner
    while planner is not None and goes_on():
        lease: Lease[C] = Lease()
        try:
            with books.lock:
                step = planner.next_step(lease, pool._clock())
                next_time = planner.next_time(pool._clock()) if step is None else 0.0
            if step is None:
                pool._sweep(books)  # The pool may have been closed during a check.
                return next_time
            if step is Step.OPEN:
                await _open(pool, books, planner, lease, open_ahead, goes_on)
            elif step is Step.RETIRE:
                with books.lock:
                    books.ledger.retire(lease, lease.reason)
                pool._finish(books, lease)
            else:
                is_asked = step is Step.CHECK
                await _examine(pool, books, planner, lease, goes_on, is_asked=is_asked)
        except BaseException:
            pool._abandon(books, lease)
            raise
    return float("inf")


async def _open(
    pool: BasePool[C],
    books: Books[C],
    planner: Planner[C],
    lease: Lease[C],
    open_ahead: OpenAhead[C],
    goes_on: Callable[[], bool],
) -> None:
    def is_wanted() -> bool:
        return goes_on() and not lease.gives_way

    started = pool._clock()
    try:
        connection = await open_ahead(started + _OPEN_SECONDS, is_wanted)
    except GaveWay:
        with books.lock:
            books.ledger.drop(lease)
        return
    except Exception as error:
        with books.lock:
            books.ledger.drop(lease)
            is_transient = getattr(error, "is_transient", True)
            retry_in = planner.failed(pool._clock(), is_transient=is_transient)
            failures = planner.failures
        level = logging.WARNING if failures == 1 else logging.DEBUG
        logger.log(
            level,
            "no connection could be opened ahead%s: %s; the next attempt is in %.0f s, and further "
            "failures are logged at DEBUG",
            f" [{server}]" if (server := getattr(error, "server", None)) else "",
            getattr(error, "what", error),  # without the outcome: there is no message
            retry_in,
        )
        pool._emit(UpkeepFailed(error_type=error_type(error), failures=failures, retry_in=retry_in))
        return
    entry = lease.entry = Entry(connection, pool._clock())
    with books.lock:
        failures = planner.failures
        books.ledger.opened(lease, entry)
        planner.opened()
        is_idle = books.ledger.release(lease, entry.opened_at, messages=0)
    if failures:
        logger.info("connections are opened ahead again, after %d failures", failures)
    pool._emit(ConnectionOpened(duration=entry.opened_at - started, is_ahead=True))
    if not is_idle:
        pool._finish(books, lease)


async def _examine(
    pool: BasePool[C],
    books: Books[C],
    planner: Planner[C],
    lease: Lease[C],
    goes_on: Callable[[], bool],
    *,
    is_asked: bool,
) -> None:
    entry = lease.entry
    if entry is None:
        raise RuntimeError("there is nothing to check")  # pragma: no cover
    started = pool._clock()

    def is_wanted() -> bool:
        may_wait = not lease.gives_way or pool._clock() < started + _SHORT_CHECK_SECONDS
        return may_wait and goes_on()

    is_there = is_alive(entry.connection)
    was_asked = is_asked and is_there
    if was_asked:
        is_there = await entry.connection.check(_CHECK_SECONDS, is_wanted)
    now = pool._clock()
    with books.lock:
        if is_there:
            entry.looked_at = now
            if was_asked:
                planner.checked(entry, now)
            books.ledger.put_back(lease)
        else:
            planner.closed(entry, now, was_asked=was_asked)
            books.ledger.retire(lease, "dead")
    if was_asked:
        pool._emit(ConnectionChecked(duration=now - started, is_alive=is_there))
    if not is_there:
        logger.debug("an idle connection was closed by the server")
        pool._finish(books, lease)
