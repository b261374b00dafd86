"""What becomes of the messages of a caller that leaves an event loop's Mailer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Generator
from typing import Any, Generic, TypeVar

from mailbackends.errors import Outcome
from mailbackends.mailer.submission import Receipt
from mailbackends.pool.process import EXIT_SECONDS
from mailbackends.transport.aio import SocketWait

__all__ = [
    "Inline",
    "at",
    "end_of",
    "first_of",
    "known",
    "locked",
    "not_sent",
    "note",
    "outcome_of",
    "result_of",
    "settle_in_background",
    "settle_when_known",
    "settled",
    "until_shutdown",
]

T = TypeVar("T")


class Inline(Generic[T]):
    """Runs a coroutine in its caller's task, as long as it waits for sockets only.

    ``await`` it: True if it came to its end, and `result` has its result; False if another task
    has to go on with it, by `rest`. A task for each message from the start, and what shields
    it from its caller, take as long as a third of sending one.
    """

    result: T

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._wait: Any = None  # what the coroutine waits for
        self.has_begun: bool = False
        self.is_over: bool = False

    def __await__(self) -> Generator[Any, None, bool]:
        self.has_begun = True
        self._go_on(self._coroutine.send, None)
        while not self.is_over:
            if self._wait is not None and type(self._wait) is not SocketWait:
                return False
            yield self._wait
            self._go_on(self._coroutine.send, None)
        return True

    def _go_on(self, step: Callable[..., Any], value: Any) -> None:
        try:
            self._wait = step(value)
        except StopIteration as stop:
            self.is_over, self.result = True, stop.value
        except BaseException:
            self.is_over = True
            raise

    def cancel(self, error: asyncio.CancelledError) -> None:
        """Raise ``error`` in the coroutine, which was cancelled while it was awaited.

        Raises: what the coroutine raises. It may go on: see `is_over`.
        """
        self._go_on(self._coroutine.throw, error)

    async def rest(self, *, after_cancel: bool = False) -> T:
        """Go on in another task: as if nothing had happened, ``after_cancel`` too."""
        return await _Rest(self, after_cancel)


class _Rest(Generic[T]):
    """What is left of an `Inline` coroutine."""

    def __init__(self, inline: Inline[T], after_cancel: bool) -> None:
        self._inline = inline
        self._after_cancel = after_cancel

    def __await__(self) -> Generator[Any, None, T]:
        inline = self._inline
        coroutine = inline._coroutine
        if self._after_cancel and inline._wait is not None:
            inline._wait.goes_on = True
        if self._after_cancel or not inline.has_begun:
            inline.has_begun = True
            inline._go_on(coroutine.send, None)
        while not inline.is_over:
            try:
                yield inline._wait
            except BaseException as error:
                inline._go_on(coroutine.throw, error)
            else:
                inline._go_on(coroutine.send, None)
        return inline.result


async def locked(lock: asyncio.Lock, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What ``function`` returns, once those that have the lock are done."""
    async with lock:
        return await function()


async def first_of(pending: deque[asyncio.Task[T]]) -> T:
    """The result of the first, which stays there where the wait is cancelled."""
    outcome = await asyncio.shield(pending[0])
    pending.popleft()
    return outcome


def note(
    error: asyncio.CancelledError,
    outcome: Outcome,
    results: tuple[asyncio.Future[Receipt | BaseException], ...],
) -> None:
    """Record on the error what is known of messages whose caller leaves."""
    error.outcome = outcome if results else Outcome.NOT_SENT  # type: ignore[attr-defined]
    error.results = results  # type: ignore[attr-defined]


async def end_of(task: asyncio.Task[Receipt]) -> Receipt | BaseException:
    """What a task that was cancelled returned or raised, however often its caller is."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((task,))
    try:
        return task.result()
    except (Exception, asyncio.CancelledError) as error:
        return error


def outcome_of(result: Receipt | BaseException) -> Outcome:
    """The outcome of a message, given its receipt or its error."""
    return getattr(result, "outcome", None) or Outcome.NOT_SENT


def known(result: Receipt | BaseException) -> asyncio.Future[Receipt | BaseException]:
    """A future that has its result."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def result_of(
    task: asyncio.Future[Any],
    choose: Callable[[Any], Receipt | BaseException] = lambda result: result,
    unless_known: Outcome = Outcome.NOT_SENT,
) -> asyncio.Future[Receipt | BaseException]:
    """What becomes of ``task`` after its caller has left, as a value.

    Another future, so that whoever waits for it, and leaves too, does not cancel the task.
    """
    future: asyncio.Future[Receipt | BaseException] = task.get_loop().create_future()

    def end(done: asyncio.Future[Any]) -> None:
        if future.done():
            return
        try:
            future.set_result(choose(done.result()))
        except asyncio.CancelledError as error:
            if further := getattr(error, "results", ()):
                further[0].add_done_callback(end)
            else:
                vars(error).setdefault("outcome", unless_known)
                future.set_result(error)
        except Exception as error:
            future.set_result(error)

    task.add_done_callback(end)
    return future


def at(place: int, outcomes: list[Receipt | Exception]) -> Receipt | BaseException:
    """The outcome of one message of a batch that was in flight; those after them were not sent."""
    return outcomes[place] if place < len(outcomes) else not_sent()


def not_sent() -> asyncio.CancelledError:
    """The result of a message that was not begun when its caller left."""
    error = asyncio.CancelledError()
    error.outcome = Outcome.NOT_SENT  # type: ignore[attr-defined]
    return error


_settling: set[asyncio.Task[None]] = set()


def settle_when_known(
    result: asyncio.Future[Receipt | BaseException],
    settle: Callable[[Receipt | BaseException], Awaitable[None]],
    error: asyncio.CancelledError,
) -> None:
    """Await ``settle`` with one of the ``results`` of a caller's ``error``, in the background.

    Where the event loop ends before, it gets the error.
    """

    async def wait() -> None:
        try:
            outcome: Receipt | BaseException = await result
        except asyncio.CancelledError:
            outcome = error
        await settle(outcome)

    settle_in_background(wait())


def settle_in_background(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that `settled` waits for, even if nobody else does any more.

    An event loop has only weak references to its tasks.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    _settling.add(task)
    task.add_done_callback(_settling.discard)
    return task


async def settled() -> None:
    """Wait for what was begun in the running loop to settle messages of callers that left."""
    loop = asyncio.get_running_loop()
    while here := [task for task in _settling if task.get_loop() is loop]:
        await asyncio.wait(here)


def until_shutdown(tasks: Collection[asyncio.Task[Any]]) -> AsyncGenerator[None, None]:
    """Keep the result: when the running loop shuts down, what is left of ``tasks`` is cancelled.

    `asyncio.run` cancels the tasks that it finds at the end, and not those that they start in order
    to wait for a reply. Afterwards it closes all asynchronous generators, as other runners do.
    """
    guard = _cancel_at_the_end(tasks)
    with contextlib.suppress(StopIteration):
        guard.asend(None).send(None)  # The loop knows only those that have begun.
    return guard


async def _cancel_at_the_end(tasks: Collection[asyncio.Task[Any]]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        while left := [task for task in tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                await settled()
