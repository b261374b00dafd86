"""`AsyncMailer` with the interface of `Mailer`: the same tests for both.

Each call is awaited by an event loop in another thread, so that several threads can use one
mailer, as with `Mailer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, Self, TypeVar

from mailbackends import AsyncMailer, Options, Receipt
from mailbackends.mailer import MailerStats
from mailbackends.mailer.aio import AsyncPinnedConnection

__all__ = ["AwaitedMailer", "awaited_mailers"]

T = TypeVar("T")


@contextlib.contextmanager
def awaited_mailers(debug: bool = False) -> Iterator[type[AwaitedMailer]]:
    """A class in place of `Mailer`; its loop runs until the block ends, which closes all."""
    loop = asyncio.new_event_loop()
    loop.set_debug(debug)
    thread = threading.Thread(target=loop.run_forever, name="awaited-mailers")
    thread.start()
    made: list[AsyncMailer] = []

    class Bound(AwaitedMailer):
        def __init__(self, *args: Any, **options: Any) -> None:
            self._loop = loop
            self._mailer = AsyncMailer(*args, **options)
            made.append(self._mailer)

    try:
        yield Bound
    finally:
        try:
            for mailer in made:
                asyncio.run_coroutine_threadsafe(mailer.close(), loop).result(20)
            asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(20)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(20)
            loop.close()


class AwaitedMailer:
    """See `awaited_mailers`."""

    _loop: asyncio.AbstractEventLoop
    _mailer: AsyncMailer

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        """As `Mailer.send_message`."""
        return self._wait(self._mailer.send_message(*args, **kwargs))

    def send_messages(self, messages: Iterable[Any]) -> list[Receipt | Exception]:
        """As `Mailer.send_messages`."""
        return self._wait(self._mailer.send_messages(messages))

    def stream_messages(self, messages: Iterable[Any]) -> Iterator[Receipt | Exception]:
        """As `Mailer.stream_messages`."""
        outcomes = self._mailer.stream_messages(messages)
        try:
            while True:
                try:
                    outcome = self._wait(_next(outcomes))
                except _End:
                    return
                yield outcome
        finally:
            self._wait(_close(outcomes))

    @contextlib.contextmanager
    def hold(self) -> Iterator[_Pinned]:
        """As `Mailer.hold`."""
        held = self._mailer.hold()
        pinned = self._wait(_enter(held))
        try:
            yield _Pinned(self, pinned)
        finally:
            self._wait(_leave(held))

    def open(self) -> bool:
        """As `Mailer.open`."""
        return self._wait(self._mailer.open())

    def warm_up(self, timeout: float = 0.0) -> int:
        """As `Mailer.warm_up`."""
        return self._wait(self._mailer.warm_up(timeout))

    def stats(self) -> MailerStats:
        """As `Mailer.stats`."""
        return self._mailer.stats()

    def close(self) -> None:
        """As `Mailer.close`."""
        self._wait(self._mailer.close())

    @property
    def servers(self) -> tuple[Options, ...]:
        """As `Mailer.servers`."""
        return self._mailer.servers

    @property
    def options(self) -> Options:
        """As `Mailer.options`."""
        return self._mailer.options

    def __getattr__(self, name: str) -> Any:
        """An attribute that a test reads."""
        return getattr(self._mailer, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._mailer).replace("AsyncMailer", type(self).__name__)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if threading.get_ident() == self._loop._thread_id:  # type: ignore[attr-defined]
            coroutine.close()
            raise RuntimeError("an event hook must not wait for the loop that calls it")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


class _Pinned:
    def __init__(self, mailer: AwaitedMailer, pinned: AsyncPinnedConnection) -> None:
        self._mailer = mailer
        self._pinned = pinned

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        return self._mailer._wait(self._pinned.send_message(*args, **kwargs))

    def open(self) -> bool:
        return self._mailer._wait(self._pinned.open())

    def give_back(self) -> None:
        self._mailer._wait(self._pinned.give_back())


class _End(Exception):
    """In place of StopAsyncIteration, which a coroutine cannot raise."""


async def _next(outcomes: Any) -> Any:
    try:
        return await anext(outcomes)
    except StopAsyncIteration:
        raise _End from None


async def _close(outcomes: Any) -> None:
    await outcomes.aclose()


async def _enter(block: Any) -> Any:
    return await block.__aenter__()


async def _leave(block: Any) -> None:
    await block.__aexit__(None, None, None)
