"""One AsyncMailer for each event loop, closed at the end of its loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable

from mailbackends import AsyncMailer

__all__ = ["LoopMailers", "is_for_one_call"]


class LoopMailers:
    """The AsyncMailers of one backend, made by ``make`` at the first message of each loop.

    ``loop.shutdown_asyncgens()`` closes them, which ``asyncio.run()`` and ASGI servers call.
    Those of a loop that was closed without it are closed at the next message in any loop.
    """

    def __init__(self, make: Callable[[], AsyncMailer]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._mailers: dict[asyncio.AbstractEventLoop, AsyncMailer] = {}
        # A loop has only weak references to its generators, and to its tasks.
        self._ends: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def get(self) -> AsyncMailer:
        """Return the AsyncMailer of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._mailers.get(loop)
        if found is not None:
            return found
        mailer = self._make()
        end = self._until_the_end(loop)
        with self._lock:
            self._mailers[loop], self._ends[loop] = mailer, end
            closed = [each for each in self._mailers if each.is_closed()]
            left = [self._mailers.pop(each) for each in closed]
            for each in closed:
                self._ends.pop(each, None)
        await anext(end)
        for unclosed in left:
            await unclosed.close()
        return mailer

    def close(self) -> None:
        """Close all of them, each in its loop. Those that send go on until it is done."""
        with self._lock:
            mailers, self._mailers = self._mailers, {}
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, mailer in mailers.items():
            if loop is running:
                task = loop.create_task(mailer.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(mailer.close(), loop)

    async def _until_the_end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                mailer = self._mailers.pop(loop, None)
                self._ends.pop(loop, None)
            if mailer is not None:
                await mailer.close()


def is_for_one_call(loop: asyncio.AbstractEventLoop) -> bool:
    """True for a loop that ends with the present call: Flask's, for one async view under WSGI.

    Its connections would end with the view, and MAIL_POOL_SIZE would be for each view.
    """
    asgiref = sys.modules.get("asgiref.sync")
    loops = getattr(getattr(asgiref, "AsyncToSync", None), "loop_thread_executors", ())
    return loop in loops
