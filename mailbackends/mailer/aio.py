"""The Mailer for asyncio: the logic of `Mailer`, awaited in the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from email.message import Message
from typing import Any, TypeVar

from mailbackends.errors import ConfigurationError, Outcome
from mailbackends.mailer.aio_sending import AsyncSender
from mailbackends.mailer.aio_upkeep import TaskKeeper
from mailbackends.mailer.batch import (
    AHEAD,
    AsyncItems,
    Messages,
    PipelinedBatch,
    as_values,
    each_of,
)
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.leaving import (
    at,
    first_of,
    known,
    locked,
    not_sent,
    note,
    result_of,
)
from mailbackends.mailer.server import PinnedLeases
from mailbackends.mailer.submission import BeforeEnd, Job, Receipt, Submission
from mailbackends.message import Email
from mailbackends.pool.aio import AsyncPool
from mailbackends.pool.base import BasePool
from mailbackends.transport.aio import LoopWaiter
from mailbackends.transport.waiting import Waiter

__all__ = ["AsyncMailer", "AsyncPinnedConnection"]

T = TypeVar("T")


class AsyncMailer(AsyncSender):
    """As `Mailer`, with the same arguments, for the coroutines of one event loop.

    Make one per process and configuration, at import or later; it serves the loop that runs
    at its first use. When that loop was closed, it serves the next one, with new connections.

    Cancellation: before the end of the content was sent, the message is not sent, and its
    connection is dropped. After that the reply is awaited in the background, and event,
    statistics and log have the outcome. With ``batch_pipeline``, messages in flight are finished
    if the end of the first of them was sent. The ``CancelledError`` has two attributes:
    ``outcome``, which is `Outcome.UNKNOWN` where it is not certain yet, and for several messages;
    and ``results``, one future for each message that was taken and whose outcome was not
    returned, in order. Each gets what `stream_messages` would have yielded, or a
    ``CancelledError`` for a message that was not sent, at the latest after ``content_timeout``.

    Raises:
        ConfigurationError: an option is unknown, unusable or contradicts another.
    """

    def _set_up(self) -> tuple[Waiter, type[BasePool[Connection]], type[TaskKeeper]]:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._tasks, self._guard = set(), None
        return LoopWaiter(), AsyncPool, TaskKeeper

    async def send_message(
        self,
        msg: Message[Any, Any] | Email | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        before_end: BeforeEnd | None = None,
        stream: str | None = None,
    ) -> Receipt:
        """Send one message; see `Mailer.send_message`. ``before_end`` may be a coroutine function.

        Raises:
            InvalidAddressError, InvalidMessageError: before a byte was sent.
            SMTPException: ``outcome`` says what became of the message.
            CancelledError: see above.
        """
        self._enter_loop()
        submission = Submission(
            *(msg, from_addr, to_addrs, mail_options, rcpt_options),
            before_end=before_end,
            stream=stream,
        )
        return await self._send(submission)

    async def send_messages(self, messages: Messages) -> list[Receipt | Exception]:
        """As `Mailer.send_messages`; the iterable may be an asynchronous one.

        Raises:
            CancelledError: ``results`` has a future for each message.
        """
        given: list[Any] = [as_values(message) async for message in each_of(messages)]
        if self._router.suppresses:
            given = await self._router.ask_for_all(given)
        outcomes: list[Receipt | Exception] = []
        try:
            async with contextlib.aclosing(self.stream_messages(given)) as stream:
                async for outcome in stream:
                    outcomes.append(outcome)
        except asyncio.CancelledError as error:
            # The error is also the result of one message. From here on it describes the whole
            # batch, so that message gets another one.
            alone = not_sent()
            results = (
                *map(known, outcomes),
                *(
                    known(alone) if each.done() and each.result() is error else each
                    for each in getattr(error, "results", ())
                ),
            )
            unread = (known(not_sent()) for _ in given[len(results) :])
            note(error, Outcome.UNKNOWN if results else Outcome.NOT_SENT, (*results, *unread))
            raise
        return outcomes

    def stream_messages(self, messages: Messages) -> AsyncGenerator[Receipt | Exception, None]:
        """Send each message, and yield its `Receipt` or the exception, in order.

        ``messages`` is an iterable or asynchronous iterable, of any length. Where it raises,
        the outcomes of the messages before are yielded first. A loop that is left early should
        close the iterator: ``async with contextlib.aclosing(mailer.stream_messages(...))``.
        """
        if self._may_pipeline:
            return self._pipelined(messages)
        if self.options.batch_connections > 1:
            return self._side_by_side(messages, self.options.batch_connections)
        return self._one_by_one(messages)

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[AsyncPinnedConnection]:
        """Keep one connection of the pool for the block, taken at the first message."""
        self._enter_loop()
        pinned = AsyncPinnedConnection(self)
        try:
            yield pinned
        finally:
            await self._shielded(pinned.give_back())

    async def open(self) -> bool:
        """Make sure that a connection is ready. Returns True if one had to be opened.

        Raises:
            SMTPException: as `send_message`, where none can be opened.
        """
        self._enter_loop()
        return await self._router.open()

    async def warm_up(self, timeout: float = 0.0) -> int:  # noqa: ASYNC109 - it raises nothing
        """As `Mailer.warm_up`, for the event loop that is running."""
        self._enter_loop()
        return await self._keeper_for_warm_up().warm_up(timeout)

    async def close(self) -> None:
        """Close idle connections now and the others when they are released; send no more.

        Waits for messages whose callers have left, each for ``content_timeout`` at most.
        """
        if self._keeper is not None:
            await self._keeper.stopped()
        for server in self._servers:
            server.pool.close()
        if self._loop is asyncio.get_running_loop():
            while self._tasks:
                await asyncio.wait(tuple(self._tasks))

    async def __aenter__(self) -> AsyncMailer:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None:
            if self._loop.is_running() and self._pid == os.getpid():
                raise ConfigurationError(
                    "this AsyncMailer serves another running event loop: make one for each loop"
                )
            self._tasks.clear()
            self._guard = None
            for server in self._servers:
                server.pool.leave_loop()
        self._loop, self._pid = loop, os.getpid()

    async def _one_by_one(self, messages: Messages) -> AsyncGenerator[Receipt | Exception, None]:
        self._enter_loop()
        async for item in each_of(messages):
            yield await self._outcome(item)

    async def _side_by_side(
        self, messages: Messages, connections: int
    ) -> AsyncGenerator[Receipt | Exception, None]:
        self._enter_loop()
        free = asyncio.Semaphore(connections)
        pending: deque[asyncio.Task[Receipt | Exception]] = deque()
        begun: set[asyncio.Task[Any] | None] = set()
        source = AsyncItems(messages)

        async def send(item: Submission | Job) -> Receipt | Exception:
            async with free:
                begun.add(asyncio.current_task())
                return await self._outcome(item)

        try:
            async for item in source:
                pending.append(self._start(send(item)))
                while len(pending) >= connections * AHEAD or (pending and pending[0].done()):
                    yield await first_of(pending)
                    begun = {task for task in begun if task in pending}
            while pending:
                yield await first_of(pending)
            if source.failure is not None:
                raise source.failure
        except asyncio.CancelledError as error:
            left = tuple(pending)
            pending.clear()
            for task in left:
                task.cancel()
            note(error, Outcome.UNKNOWN, tuple(map(result_of, left)))
            raise
        finally:
            # Left in another way: what has begun is finished, as by threads.
            for task in pending:
                if task not in begun:
                    task.cancel()
            if pending:
                await asyncio.wait(pending)

    async def _pipelined(self, messages: Messages) -> AsyncGenerator[Receipt | Exception, None]:
        self._enter_loop()
        batch = PipelinedBatch(self._router, self._servers[0])
        source = AsyncItems(messages)
        lock = asyncio.Lock()
        step: asyncio.Task[Receipt | Exception] | None = None
        closing: asyncio.Task[list[Receipt | Exception]] | None = None
        before = 0

        async def next_outcome() -> Receipt | Exception:
            nonlocal step, before
            before, step = len(batch), self._start(locked(lock, batch.next_outcome))
            outcome, step = await asyncio.shield(step), None
            return outcome

        try:
            async for item in source:
                batch.add(item)
                if batch.is_full:
                    yield await next_outcome()
            while not batch.is_empty:
                yield await next_outcome()
            if source.failure is not None:
                raise source.failure
        except asyncio.CancelledError as error:
            waiting = []
            if step is not None and not batch.may_be_delivered:
                step.cancel()
            if step is not None and len(batch) < before:
                waiting.append(result_of(step))  # else its message is still the first of the batch
            closing = self._start_in_background(locked(lock, batch.close))
            left = range(len(batch))
            waiting += [result_of(closing, functools.partial(at, place)) for place in left]
            note(error, Outcome.UNKNOWN, tuple(waiting))
            raise
        finally:
            if closing is None:
                await self._shielded(locked(lock, batch.close))


class AsyncPinnedConnection:
    """As `PinnedConnection`: a connection of the pool for one caller, until the block ends.

    Messages that are sent at once by several tasks go one after the other.
    """

    def __init__(self, mailer: AsyncMailer) -> None:
        self._mailer = mailer
        self._lock = asyncio.Lock()
        self._leases = PinnedLeases()

    async def send_message(
        self,
        msg: Message[Any, Any] | Email | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        before_end: BeforeEnd | None = None,
        stream: str | None = None,
    ) -> Receipt:
        """As `AsyncMailer.send_message`, over the pinned connection."""
        submission = Submission(
            *(msg, from_addr, to_addrs, mail_options, rcpt_options),
            before_end=before_end,
            stream=stream,
        )
        return await self._mailer._send(submission, self._leases, self._lock)

    async def open(self) -> bool:
        """Take the connection now. Returns True if a new one had to be opened.

        Raises:
            SMTPException: as `send_message`, where none can be opened.
        """
        return await locked(self._lock, functools.partial(self._mailer._router.open, self._leases))

    async def give_back(self) -> None:
        """Return the connection to the pool."""
        async with self._lock:
            await self._leases.give_back()
