"""The Mailers of this process, and the AsyncMailers of its event loops: one per configuration.

Django makes a new backend for each message. Connections must outlive it, so the Mailers
that own them are kept here.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from django.conf import settings
from django.core.signals import setting_changed

from mailbackends import AsyncMailer, Mailer, MailerStats, Options

__all__ = ["DEFAULT_LIMIT", "AsyncRegistry", "MailerKey", "Registry", "async_registry", "registry"]

DEFAULT_LIMIT = 32
"""The number of Mailers kept at once, unless ``MAILBACKENDS_MAX_POOLS`` is set."""


@dataclass(frozen=True)
class MailerKey:
    """What a `Mailer` is made from. Equal keys share a Mailer, and so its connections."""

    servers: tuple[Options, ...]
    """The server, and further ones for mail that it does not accept for now."""
    strategy: Literal["ordered", "round_robin"] = "ordered"

    @cached_property
    def _hash(self) -> int:
        return hash((self.servers, self.strategy))

    def __hash__(self) -> int:
        """Computed once: it covers all options, and each message needs it."""
        return self._hash


class _Entry:
    """A Mailer, and the number of ``with`` blocks of `Registry.mailer` that use it now."""

    __slots__ = ("is_dropped", "mailer", "registry", "users")

    def __init__(self, mailer: Mailer, registry: Registry) -> None:
        self.mailer = mailer
        self.registry = registry
        self.users = 0
        self.is_dropped = False

    def __enter__(self) -> Mailer:
        return self.mailer

    def __exit__(self, *exc: object) -> None:
        self.registry.leave(self)


class Registry:
    """Mailers by key. Beyond ``limit``, the least recently used Mailer is closed.

    Without a limit, one Mailer per tenant or per set of credentials would grow for ever.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._entries: OrderedDict[MailerKey, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def mailer(self, key: MailerKey) -> AbstractContextManager[Mailer]:
        """The Mailer for ``key``, which stays open until the ``with`` block ends."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                entry.users += 1
                return entry
            mailer = Mailer(key.servers, strategy=key.strategy)
            entry = self._entries[key] = _Entry(mailer, self)
            entry.users += 1
            dropped = self._drop(len(self._entries) - max(1, self._limit()))
        _close(dropped)
        return entry

    def leave(self, entry: _Entry) -> None:
        """End a block. The last user of a Mailer that was dropped meanwhile closes it."""
        with self._lock:
            entry.users -= 1
            is_last = entry.is_dropped and entry.users == 0
        if is_last:
            entry.mailer.close()

    def stats(self) -> dict[MailerKey, MailerStats]:
        """The statistics of each Mailer, the most recently used one last."""
        with self._lock:
            entries = [(key, entry.mailer) for key, entry in self._entries.items()]
        return {key: mailer.stats() for key, mailer in entries}

    def close(self) -> None:
        """Close all Mailers. The next message makes a new one."""
        with self._lock:
            dropped = self._drop(len(self._entries))
        _close(dropped)

    def _drop(self, count: int) -> list[_Entry]:
        dropped = [self._entries.popitem(last=False)[1] for _ in range(count)]
        for entry in dropped:
            entry.is_dropped = True
        return [entry for entry in dropped if entry.users == 0]

    def after_fork(self) -> None:
        """In a forked child, forget the lock and the uses of threads that do not exist there.

        The pools handle the fork themselves.
        """
        self._lock = threading.Lock()
        for entry in self._entries.values():
            entry.users = 0


def _close(entries: list[_Entry]) -> None:
    for entry in entries:
        entry.mailer.close()


registry = Registry(lambda: int(getattr(settings, "MAILBACKENDS_MAX_POOLS", DEFAULT_LIMIT)))
"""The registry of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=registry.after_fork)


def _follow_settings(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith(("EMAIL_", "MAILBACKENDS")) or setting == "MAILERS":
        registry.close()


setting_changed.connect(_follow_settings, dispatch_uid="mailbackends")


class _AsyncEntry:
    """An AsyncMailer, and the number of ``async with`` blocks that use it now."""

    __slots__ = ("is_dropped", "mailer", "users")

    def __init__(self, mailer: AsyncMailer) -> None:
        self.mailer = mailer
        self.users = 0
        self.is_dropped = False


class _LoopMailers:
    """The AsyncMailers of one event loop; only its thread uses them."""

    def __init__(self) -> None:
        self.entries: OrderedDict[MailerKey, _AsyncEntry] = OrderedDict()
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
            entry = mailers.entries[key] = _AsyncEntry(mailer)
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
