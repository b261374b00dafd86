"""Waiting in an asyncio event loop. Sockets and TLS are those of the blocking form."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Collection
from typing import TypeVar

from mailbackends.errors import ConfigurationError
from mailbackends.transport.waiting import start_call

__all__ = ["LoopWaiter", "SocketWait"]

T = TypeVar("T")


class LoopWaiter:
    """Waits in the event loop that is running. See `Waiter`."""

    def __init__(self) -> None:
        self._readers: dict[int, _Reader] = {}
        self._pid = os.getpid()

    async def ready(
        self, sock: socket.socket, *, reading: bool, writing: bool, seconds: float | None
    ) -> bool:
        """See `Waiter.ready`."""
        loop = asyncio.get_running_loop()
        fd = sock.fileno()
        done = SocketWait(loop=loop)
        reader = self._reader(loop, fd) if reading else None
        if reader is not None:
            reader.waiting = done
        if writing:
            loop.add_writer(fd, _wake, done)
        timer = None if seconds is None else loop.call_later(seconds, _expire, done)
        try:
            return await done
        except asyncio.CancelledError:
            if not done.goes_on:
                raise
        finally:
            if timer is not None:
                timer.cancel()
            if writing:
                loop.remove_writer(fd)
            if reader is not None:
                reader.waiting = None
        rest = None if timer is None else max(0.0, timer.when() - loop.time())
        return await self.ready(sock, reading=reading, writing=writing, seconds=rest)

    async def connected(
        self, socks: Collection[socket.socket], seconds: float | None
    ) -> list[socket.socket]:
        """See `Waiter.connected`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        ready: list[socket.socket] = []

        def note(sock: socket.socket) -> None:
            ready.append(sock)
            loop.remove_writer(sock)
            _wake(done)

        timer = None if seconds is None else loop.call_later(seconds, _expire, done)
        waiting = tuple(socks)
        for sock in waiting:
            _check(loop.add_writer, sock, note, sock)
        try:
            await done
            return ready
        finally:
            if timer is not None:
                timer.cancel()
            for sock in waiting:
                loop.remove_writer(sock)

    async def sleep(self, seconds: float) -> None:
        """See `Waiter.sleep`."""
        await asyncio.sleep(seconds)

    async def pause(self) -> None:
        """See `Waiter.pause`."""
        await asyncio.sleep(0)

    async def call(self, function: Callable[[], T], seconds: float | None) -> T:
        """See `Waiter.call`. Not by the loop's executor: others may need all of its threads."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def finished() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_wake, done)

        result = start_call(function, finished)
        # Not asyncio.timeout(): the task that begins this may not be the one that ends it.
        timer = None if seconds is None else loop.call_later(seconds, _expire, done)
        try:
            if not await done:
                raise TimeoutError
        finally:
            if timer is not None:
                timer.cancel()
        return result()

    def forget(self, sock: socket.socket) -> None:
        """See `Waiter.forget`."""
        fd = sock.fileno()
        # A forked child shares the parent's epoll instance, which must not change.
        if os.getpid() == self._pid and (reader := self._readers.pop(fd, None)) is not None:
            reader.stop()

    def _reader(self, loop: asyncio.AbstractEventLoop, fd: int) -> _Reader:
        reader = self._readers.get(fd)
        if reader is None or reader.loop is not loop or not reader.is_registered:
            reader = self._readers[fd] = _Reader(loop, fd)
        return reader


class SocketWait(asyncio.Future[bool]):
    """A wait for a socket, and for nothing else."""

    goes_on = False
    """True if the wait goes on in another task although it was cancelled in the first one."""


class _Reader:
    """Watches one descriptor for bytes, and goes on between two waits.

    To register it for each wait would cost two system calls for each. An event that comes
    while nothing waits ends it, so that an idle connection that received data does not keep the
    loop busy.
    """

    __slots__ = ("_fd", "_may_be_old", "is_registered", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self.loop = loop
        self.waiting: asyncio.Future[bool] | None = None
        self.is_registered = True
        self._fd = fd
        self._may_be_old = False
        _check(loop.add_reader, fd, self._wake)

    def stop(self) -> None:
        """Watch no more."""
        if self.is_registered:
            self.is_registered = False
            if not self.loop.is_closed():
                self.loop.remove_reader(self._fd)

    def _wake(self) -> None:
        if self._may_be_old:
            # The loop looked before the waiter of the last event had read: if there is still
            # something to read, the loop reports it again.
            self._may_be_old = False
        elif self.waiting is None:
            self.stop()
        elif not self.waiting.done():
            self.waiting.set_result(True)
            self._may_be_old = True


def _wake(done: asyncio.Future[bool]) -> None:
    if not done.done():
        done.set_result(True)


def _expire(done: asyncio.Future[bool]) -> None:
    if not done.done():
        done.set_result(False)


def _check(add: Callable[..., object], *arguments: object) -> None:
    try:
        add(*arguments)
    except NotImplementedError:
        raise ConfigurationError(
            "this event loop cannot watch sockets, as the default one on Windows: use "
            "asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)"
        ) from None
