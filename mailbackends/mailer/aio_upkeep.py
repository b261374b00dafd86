"""Upkeep of an AsyncMailer's connections: a task for each round, and a timer in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from math import inf

from mailbackends.mailer.upkeep import LOOK, Upkeep
from mailbackends.pool.aio import AsyncPool

__all__ = ["TaskKeeper"]


class TaskKeeper:
    """A task for each round, and a timer in between, in the event loop of the first `nudge`.

    When that loop runs no more, it is the one of the next `nudge`.
    """

    def __init__(self, upkeep: Upkeep) -> None:
        self.upkeep = upkeep
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False

    def nudge(self) -> None:
        """See `Keeper.nudge`."""
        loop = _running_loop()
        if loop is not None and (self._loop is None or not self._loop.is_running()):
            self._loop = loop
            self._task = self._timer = None
        if self._loop is not None and loop is self._loop:
            self._start()
        elif self._loop is not None:
            # A lease that is collected as garbage may be released in any thread.
            with contextlib.suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(_start, weakref.ref(self))

    async def warm_up(self, timeout: float) -> int:  # noqa: ASYNC109 - it raises nothing
        """Begin now; see `Mailer.warm_up`."""
        self.nudge()
        end = time.monotonic() + timeout
        # Not an event: what is waited for belongs to the pools, and others use them too.
        while not self.upkeep.is_settled and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        return self.upkeep.ready

    def stop(self) -> None:
        """Run no more rounds until the next `nudge`. In the loop's thread."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def stopped(self) -> None:
        """Stop, and wait until the round that is under way has ended."""
        if self._loop is not asyncio.get_running_loop():
            return
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.wait([task])

    def __del__(self) -> None:
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_due = self._task is not None
        if self._loop is not None and self._task is None:
            self._task = self._loop.create_task(_rounds(self.upkeep, weakref.ref(self)))

    def _sleep(self, seconds: float) -> None:
        self._task = None
        if self._is_due:
            self._start()
        elif self._loop is not None and seconds < inf:
            self._timer = self._loop.call_later(seconds, _start, weakref.ref(self))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _start(ref: weakref.ref[TaskKeeper]) -> None:
    if (keeper := ref()) is not None:
        keeper._start()


async def _rounds(upkeep: Upkeep, ref: weakref.ref[TaskKeeper]) -> None:
    for server in upkeep.servers():
        if isinstance(server.pool, AsyncPool):
            server.pool.enter_loop()
    try:
        seconds = await upkeep.round(lambda: ref() is not None)
    except asyncio.CancelledError:
        if (keeper := ref()) is not None:
            keeper._task = None
        raise
    if (keeper := ref()) is not None:
        keeper._sleep(seconds)
