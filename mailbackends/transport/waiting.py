"""Waiting: the operations in which threads and an event loop differ, and how long they may take.

All logic above is written once, as coroutines that await these operations and nothing else.
With `BLOCKING` none of them ever suspends, so that `run` takes a whole coroutine to its end
in one step, in the caller's thread. `mailbackends.transport.aio` has the other form.
"""

from __future__ import annotations

import contextvars
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = [
    "BLOCKING", "Blocking", "Deadline", "GaveWay", "Interruptible", "Timeouts", "Waiter", "run",
    "start_call",
]  # fmt: skip

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits by `BLOCKING` only.

    Raises:
        RuntimeError: it awaited something that belongs to an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking call awaited an event loop: use AsyncMailer within one")


class Waiter(Protocol):
    """Ways to wait. Seconds may be None, for no limit, and are never negative."""

    async def ready(
        self, sock: socket.socket, *, reading: bool, writing: bool, seconds: float | None
    ) -> bool:
        """True once ``sock`` can be read or written, as asked; False if time ran out first."""

    async def connected(
        self, socks: Collection[socket.socket], seconds: float | None
    ) -> list[socket.socket]:
        """Those whose attempt to connect has ended; none where time ran out first."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def pause(self) -> None:
        """Let others run, amid work that needs no waiting."""

    async def call(self, function: Callable[[], T], seconds: float | None) -> T:
        """What ``function`` returns or raises; it runs in a thread, which may outlive the wait.

        For what blocks and takes no time limit, such as the system's resolver.

        Raises:
            TimeoutError: it took longer.
            RuntimeError: no thread could be started.
        """

    def forget(self, sock: socket.socket) -> None:
        """``sock`` is about to be closed."""


class Blocking:
    """Waits in the calling thread. Honours gevent's monkey patching."""

    async def ready(
        self, sock: socket.socket, *, reading: bool, writing: bool, seconds: float | None
    ) -> bool:
        """See `Waiter.ready`."""
        # Looked up at each call: gevent may have put its own in place.
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock, select.POLLIN * reading | select.POLLOUT * writing)
            return bool(poll.poll(None if seconds is None else seconds * 1000))
        asked = [sock]
        readable = asked if reading else []
        writable = asked if writing else []
        return any(select.select(readable, writable, asked, seconds))

    async def connected(
        self, socks: Collection[socket.socket], seconds: float | None
    ) -> list[socket.socket]:
        """See `Waiter.connected`."""
        if not hasattr(select, "poll"):
            everyone = list(socks)
            _, writable, failed = select.select([], everyone, everyone, seconds)
            return list({*writable, *failed})
        poll = select.poll()
        by_descriptor = {sock.fileno(): sock for sock in socks}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLOUT)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return [by_descriptor[descriptor] for descriptor, _ in ready]

    async def sleep(self, seconds: float) -> None:
        """See `Waiter.sleep`."""
        time.sleep(seconds)  # noqa: ASYNC251 - to block is what this class is for

    async def pause(self) -> None:
        """See `Waiter.pause`: other threads run anyway."""

    async def call(self, function: Callable[[], T], seconds: float | None) -> T:
        """See `Waiter.call`."""
        done = threading.Event()
        result = start_call(function, done.set)
        if not done.wait(seconds):
            raise TimeoutError
        return result()

    def forget(self, sock: socket.socket) -> None:
        """See `Waiter.forget`."""


BLOCKING = Blocking()


def start_call(function: Callable[[], T], done: Callable[[], object]) -> Callable[[], T]:
    """Start ``function`` in a thread; what is returned gives its result once ``done`` was called.

    At the end of the process no thread can be started since Python 3.12: then it runs here.

    Raises:
        RuntimeError: no thread could be started.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def call() -> None:
        try:
            results.append(context.run(function))
        except BaseException as error:
            errors.append(error)
        finally:
            done()

    def result() -> T:
        if errors:
            raise errors[0]
        return results[0]

    try:
        threading.Thread(target=call, name="mailbackends-call", daemon=True).start()
    except RuntimeError as error:
        if "interpreter shutdown" not in str(error):
            raise
        call()
    return result


class GaveWay(Exception):
    """What waited is no longer wanted: see `Interruptible`."""


# Seconds after which somebody who waits for something that is not wanted notices that.
_SLICE = 0.05


class Interruptible:
    """Waits as another `Waiter` does, but raises `GaveWay` soon after ``is_wanted`` returns False.

    For what is done in the background, and should stop when something more urgent comes.
    """

    def __init__(self, waiter: Waiter, is_wanted: Callable[[], bool]) -> None:
        self._waiter = waiter
        self._is_wanted = is_wanted

    async def ready(
        self, sock: socket.socket, *, reading: bool, writing: bool, seconds: float | None
    ) -> bool:
        """See `Waiter.ready`."""
        for some in self._slices(seconds):
            if await self._waiter.ready(sock, reading=reading, writing=writing, seconds=some):
                return True
        return False

    async def connected(
        self, socks: Collection[socket.socket], seconds: float | None
    ) -> list[socket.socket]:
        """See `Waiter.connected`."""
        for some in self._slices(seconds):
            if done := await self._waiter.connected(socks, some):
                return done
        return []

    async def sleep(self, seconds: float) -> None:
        """See `Waiter.sleep`."""
        for some in self._slices(seconds):
            await self._waiter.sleep(some)

    async def pause(self) -> None:
        """See `Waiter.pause`."""
        await self._waiter.pause()

    async def call(self, function: Callable[[], T], seconds: float | None) -> T:
        """See `Waiter.call`."""
        done = threading.Event()
        result = start_call(function, done.set)
        for some in self._slices(seconds, shortest=0.001):
            if done.is_set():
                return result()
            await self._waiter.sleep(some)
        if not done.is_set():
            raise TimeoutError
        return result()

    def forget(self, sock: socket.socket) -> None:
        """See `Waiter.forget`."""
        self._waiter.forget(sock)

    def _slices(self, seconds: float | None, shortest: float = _SLICE) -> Iterator[float]:
        """Parts of the time, one at least; raises `GaveWay` instead of the next one."""
        end = None if seconds is None else time.monotonic() + seconds
        some = shortest
        while True:
            if not self._is_wanted():
                raise GaveWay
            left = some if end is None else end - time.monotonic()
            yield max(0.0, min(some, left))
            if end is not None and time.monotonic() >= end:
                return
            some = min(2 * some, _SLICE)


# poll() counts milliseconds in 32 bits: a wait of more than 24 days is beyond it.
_LONGEST = 1_000_000.0


@dataclass(slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds; None means no limit."""

    at: float | None
    phase: str

    @classmethod
    def after(cls, seconds: float | None, phase: str, *, latest: float | None = None) -> Deadline:
        """``seconds`` from now, and not later than ``latest`` on the clock."""
        at = None if seconds is None else time.monotonic() + seconds
        if latest is not None and (at is None or latest < at):
            return cls(latest, f"{phase} (the deadline for the whole message)")
        return cls(at, phase)

    def remaining(self) -> float | None:
        """The seconds left, 0 or less if it has passed; None if there is no limit."""
        return None if self.at is None else min(self.at - time.monotonic(), _LONGEST)

    def exceeded(self) -> str:
        """The text for the error: what took too long."""
        return f"timed out: {self.phase}"


@dataclass(slots=True)
class Timeouts:
    """Seconds for each kind of wait; None waits without limit. RFC 5321 section 4.5.3.2.

    ``latest`` is the point on the monotonic clock at which all waits end; it is set for each
    message.
    """

    connect: float | None = 30.0
    command: float | None = 30.0
    content: float | None = 120.0
    latest: float | None = None

    def for_connect(self) -> Deadline:
        """For name resolution, the TCP connection and the TLS handshake."""
        return Deadline.after(self.connect, "connecting", latest=self.latest)

    def for_handshake(self) -> Deadline:
        """For the TLS handshake."""
        return Deadline.after(self.connect, "the TLS handshake", latest=self.latest)

    def for_login(self) -> Deadline:
        """For this side's own part of a login: a token, or the derivation of a key."""
        return Deadline.after(self.connect, "preparing the login", latest=self.latest)

    def for_reply(self) -> Deadline:
        """For the reply to a command, however slowly its bytes arrive."""
        return Deadline.after(self.command, "waiting for a reply", latest=self.latest)

    def for_content_reply(self) -> Deadline:
        """For the reply to the content."""
        return Deadline.after(
            self.content, "waiting for the reply to the content", latest=self.latest
        )

    def for_writing(self) -> Deadline:
        """For the server to take more bytes."""
        return Deadline.after(
            self.command, "waiting for the server to take more", latest=self.latest
        )
