"""The pool for an asyncio event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

from mailbackends.pool.base import BasePool
from mailbackends.pool.ledger import PoolStats
from mailbackends.pool.poolable import Poolable

__all__ = ["AsyncPool"]

C = TypeVar("C", bound=Poolable)


class AsyncPool(BasePool[C], Generic[C]):
    """As `Pool`, for the coroutines of one event loop: ``connect`` is a coroutine function.

    `fill` takes the place of `Pool.acquire`. Waiting costs no thread.
    """

    _thread: int | None = None
    """The thread of the event loop, once it has opened a connection."""

    def stats(self) -> PoolStats:
        """See `BasePool.stats`; another thread than the loop's closes nothing."""
        if self._thread in (None, threading.get_ident()):
            return super().stats()
        books = self._here()
        with books.lock:
            return books.ledger.stats()

    def enter_loop(self) -> None:
        """Note the thread of the event loop that is running."""
        self._thread = threading.get_ident()

    async def _open(self, deadline: float | None) -> C:
        self.enter_loop()
        connection: C = await self._connect(deadline)
        return connection

    def _gate(self) -> tuple[Callable[[], object], asyncio.Future[None]]:
        loop = asyncio.get_running_loop()
        gate: asyncio.Future[None] = loop.create_future()
        thread = threading.get_ident()

        def wake() -> None:
            # A lease that is collected as garbage may be released in any thread.
            if threading.get_ident() == thread:
                _open_gate(gate)
            else:
                loop.call_soon_threadsafe(_open_gate, gate)

        return wake, gate

    async def _wait(self, gate: asyncio.Future[None], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        timer = None if seconds == inf else loop.call_later(seconds, _open_gate, gate)
        try:
            await gate
        finally:
            if timer is not None:
                timer.cancel()


def _open_gate(gate: asyncio.Future[None]) -> None:
    if not gate.done():
        gate.set_result(None)
