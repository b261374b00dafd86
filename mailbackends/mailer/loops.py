"""The AsyncMailers of a process, for the integrations: one for each event loop and key."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

from mailbackends.mailer.aio import AsyncMailer
from mailbackends.mailer.base import MailerStats
from mailbackends.mailer.leaving import settled
from mailbackends.pool.process import ProcessLock
from mailbackends.transport.aio import LoopWaiter

__all__ = ["LoopMailers"]

K = TypeVar("K", bound=Hashable)


class _Entry:
    """An AsyncMailer, and the number of ``async with`` blocks that use it now."""

    __slots__ = ("is_dropped", "mailer", "users")

    def __init__(self, mailer: AsyncMailer) -> None:
        self.mailer = mailer
        self.users = 0
        self.is_dropped = False


class _OfOneLoop(Generic[K]):
    """The AsyncMailers of one event loop; only its thread uses them."""

    def __init__(self) -> None:
        self.entries: OrderedDict[K, _Entry] = OrderedDict()
        # A loop has only weak references to its tasks, and to its generators.
        self.closing: set[asyncio.Task[None]] = set()
        self.end: AsyncGenerator[None, None] | None = None

    def drop(self, count: int) -> None:
        """Use the oldest ones no more; each is closed when nobody uses it."""
        for _ in range(count):
            entry = self.entries.popitem(last=False)[1]
            entry.is_dropped = True
            self.close_unused(entry)

    def close_unused(self, entry: _Entry) -> None:
        """Close one that was dropped, without making the caller wait for messages of others."""
        if entry.is_dropped and not entry.users:
            task = asyncio.get_running_loop().create_task(entry.mailer.close())
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    async def close(self) -> None:
        """Close all of them now, and wait for messages whose callers have left."""
        while self.entries:
            await self.entries.popitem()[1].mailer.close()


class LoopMailers(Generic[K]):
    """AsyncMailers by event loop and key, made by ``make(key)`` at the first message.

    They are closed at the end of their loop, by ``loop.shutdown_asyncgens()``, which
    ``asyncio.run()`` and ASGI servers call. Those of a loop that was closed without it are
    closed at the next message in any loop. Beyond ``limit()`` for each loop, the least
    recently used one is closed. Thread-safe.
    """

    def __init__(
        self, make: Callable[[K], AsyncMailer], limit: Callable[[], int] = lambda: 1
    ) -> None:
        self._make = make
        self._limit = limit
        self._loops: dict[asyncio.AbstractEventLoop, _OfOneLoop[K]] = {}
        self._lock = ProcessLock()
        self._pid = os.getpid()

    @asynccontextmanager
    async def mailer(self, key: K) -> AsyncIterator[AsyncMailer]:
        """The AsyncMailer for ``key`` in the running loop, open until the block ends."""
        mailers = self._loops.get(asyncio.get_running_loop()) or await self._enter_loop()
        entry = mailers.entries.get(key)
        if entry is None:
            # In a thread: a TLS context reads the system's certificates.
            made = await LoopWaiter().call(partial(self._make, key), None)
            entry = mailers.entries.setdefault(key, _Entry(made))
        mailers.entries.move_to_end(key)
        entry.users += 1
        mailers.drop(len(mailers.entries) - max(1, self._limit()))
        try:
            yield entry.mailer
        finally:
            entry.users -= 1
            mailers.close_unused(entry)

    def stats(self) -> list[tuple[K, MailerStats]]:
        """The statistics of each, of all event loops; from any thread."""
        with self._lock.here:
            loops = list(self._loops.values())
        return [
            (key, entry.mailer.stats())
            for each in loops
            for key, entry in list(each.entries.items())
        ]

    async def aclose(self) -> None:
        """Close those of the running loop, and wait until all outcomes there are settled.

        The next message makes a new one.
        """
        mailers = self._loops.get(asyncio.get_running_loop())
        if mailers is not None:
            await mailers.close()
        await settled()

    def close(self) -> None:
        """Drop all of them, from any thread; each is closed in its loop when nobody uses it."""
        for loop, mailers in self._all().items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda each: each.drop(len(each.entries)), mailers)

    def _all(self) -> dict[asyncio.AbstractEventLoop, _OfOneLoop[K]]:
        with self._lock.here:
            if self._pid != os.getpid():
                # A forked child has none of its parent's loops.
                self._pid, self._loops = os.getpid(), {}
            return dict(self._loops)

    async def _enter_loop(self) -> _OfOneLoop[K]:
        loop = asyncio.get_running_loop()
        self._all()
        with self._lock.here:
            mailers = self._loops[loop] = _OfOneLoop()
            closed = [each for each in self._loops if each.is_closed()]
            left = [self._loops.pop(each) for each in closed]
        mailers.end = self._until_the_end(loop)
        await anext(mailers.end)
        for each in left:
            await each.close()
        return mailers

    async def _until_the_end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock.here:
                mailers = self._loops.pop(loop, None)
            if mailers is not None:
                await mailers.close()
