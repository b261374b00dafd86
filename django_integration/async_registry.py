"""The AsyncMailers of this process: one per configuration and event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings

from django_integration.registry import DEFAULT_LIMIT, MailerKey
from mailbackends import AsyncMailer, MailerStats

__all__ = ["AsyncRegistry", "async_registry"]


class _Entry:
    """An AsyncMailer, and the number of ``async with`` blocks that use it now."""

    __slots__ = ("is_dropped", "mailer", "users")

    def __init__(self, mailer: AsyncMailer) -> None:
        self.mailer = mailer
        self.users = 0
        self.is_dropped = False


class _LoopMailers:
    """The AsyncMailers of one event loop; only its thread uses them."""

    def __init__(self) -> None:
        self.entries: OrderedDict[MailerKey, _Entry] = OrderedDict()
        self.closing: set[asyncio.Task[None]] = set()
        self.end: AsyncGenerator[None, None] | None = None

    def close_later(self, mailer: AsyncMailer) -> None:
        """Close it without making the caller wait for messages of others."""
        task = asyncio.get_running_loop().create_task(mailer.close())
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    async def close(self) -> None:
        """Close all of them."""
        while self.entries:
            await self.entries.popitem()[1].mailer.close()


class AsyncRegistry:
    """AsyncMailers by event loop and key, as `Registry` has Mailers by key.

    They are closed at the end of their loop, by ``loop.shutdown_asyncgens()``, which
    ``asyncio.run()`` and ASGI servers call. Those of a loop that was closed without it are
    closed at the next message in any loop.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._loops: dict[asyncio.AbstractEventLoop, _LoopMailers] = {}
        self._lock = threading.Lock()

    @asynccontextmanager
    async def mailer(self, key: MailerKey) -> AsyncIterator[AsyncMailer]:
        """The AsyncMailer for ``key`` in the running loop, open until the block ends."""
        mailers = await self._of_this_loop()
        entry = mailers.entries.get(key)
        if entry is None:
            mailer = AsyncMailer(key.servers, strategy=key.strategy)
            entry = mailers.entries[key] = _Entry(mailer)
        mailers.entries.move_to_end(key)
        entry.users += 1
        while len(mailers.entries) > max(1, self._limit()):
            dropped = mailers.entries.popitem(last=False)[1]
            dropped.is_dropped = True
            if not dropped.users:
                mailers.close_later(dropped.mailer)
        try:
            yield entry.mailer
        finally:
            entry.users -= 1
            if entry.is_dropped and not entry.users:
                mailers.close_later(entry.mailer)

    def stats(self) -> dict[MailerKey, MailerStats]:
        """The statistics of the running loop's AsyncMailers; empty without a running loop."""
        try:
            mailers = self._loops.get(asyncio.get_running_loop())
        except RuntimeError:
            return {}
        entries = mailers.entries.items() if mailers else ()
        return {key: entry.mailer.stats() for key, entry in entries}

    async def aclose(self) -> None:
        """Close the AsyncMailers of the running loop. The next message makes a new one."""
        mailers = self._loops.get(asyncio.get_running_loop())
        if mailers is not None:
            await mailers.close()

    def after_fork(self) -> None:
        """In a forked child, forget the lock; AsyncMailers handle the fork themselves."""
        self._lock = threading.Lock()

    async def _of_this_loop(self) -> _LoopMailers:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is not None:
            return found
        with self._lock:
            mailers = self._loops[loop] = _LoopMailers()
            closed = [each for each in self._loops if each.is_closed()]
            left = [self._loops.pop(each) for each in closed]
        # The loop itself has only a weak reference to the generator.
        mailers.end = self._until_the_end(loop)
        await anext(mailers.end)
        for each in left:
            await each.close()
        return mailers

    async def _until_the_end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                mailers = self._loops.pop(loop, None)
            if mailers is not None:
                await mailers.close()


def _limit() -> int:
    value: Any = getattr(settings, "MAILBACKENDS_MAX_POOLS", DEFAULT_LIMIT)
    return int(value)


async_registry = AsyncRegistry(_limit)
"""The registry of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=async_registry.after_fork)
