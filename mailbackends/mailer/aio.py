"""The Mailer for asyncio: the logic of `Mailer`, awaited in the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from email.message import Message
from typing import Any, TypeVar

from mailbackends.errors import ConfigurationError, Outcome, SMTPException
from mailbackends.mailer.base import BaseMailer
from mailbackends.mailer.batch import AsyncItems, Messages, PipelinedBatch, as_submission, each_of
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.leases import LeasedConnection
from mailbackends.mailer.router import LeasesAt
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import BeforeEnd, Job, Receipt, Submission
from mailbackends.pool.aio import AsyncPool
from mailbackends.pool.base import BasePool
from mailbackends.transport.aio import LoopWaiter
from mailbackends.transport.waiting import Waiter

__all__ = ["AsyncMailer", "AsyncPinnedConnection"]

T = TypeVar("T")
# How many messages each connection of a batch may be ahead of the slowest one.
_AHEAD = 4


class AsyncMailer(BaseMailer):
    """As `Mailer`, with the same arguments, for the coroutines of one event loop.

    Make one per process and configuration, at import or later; it serves the loop that runs
    at its first use. When that loop was closed, it serves the next one, with new connections.

    Cancellation: before the end of the content was sent, the message is not sent, and its
    connection is dropped. After that the message may be at the server: the reply is awaited
    in the background, and event, statistics and log have its outcome. The ``CancelledError``
    has two attributes:

    - ``outcome``: `Outcome.NOT_SENT`, or `Outcome.UNKNOWN` where that is not certain yet;
    - ``results``, a tuple of futures, one for each message that was taken and whose outcome was
      not returned, in order. Each gets what `stream_messages` would have yielded, at the latest
      after ``content_timeout``: a `Receipt` or an exception. That of a message which was not
      sent is a ``CancelledError``.

    Raises:
        ConfigurationError: an option is unknown, unusable or contradicts another.
    """

    def _set_up(self) -> tuple[Waiter, type[BasePool[Connection]]]:
        self._loop: asyncio.AbstractEventLoop | None = None
        # The loop itself holds only weak references to tasks.
        self._tasks: set[asyncio.Task[Any]] = set()
        return LoopWaiter(), AsyncPool

    async def send_message(
        self,
        msg: Message[Any, Any] | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        before_end: BeforeEnd | None = None,
    ) -> Receipt:
        """Send one message; see `Mailer.send_message`. ``before_end`` may be a coroutine function.

        Raises:
            InvalidAddressError, InvalidMessageError: before a byte was sent.
            SMTPException: ``outcome`` says what became of the message.
            CancelledError: see above.
        """
        self._enter_loop()
        submission = Submission(
            msg, from_addr, to_addrs, mail_options, rcpt_options, before_end=before_end
        )
        return await self._send(submission)

    async def send_messages(self, messages: Messages) -> list[Receipt | Exception]:
        """Send all messages now, and return a `Receipt` or the exception for each, in order.

        The iterable, or asynchronous iterable, is read to its end before the first message is
        sent: one that raises sends nothing.
        """
        given = [message async for message in each_of(messages)]
        return [outcome async for outcome in self.stream_messages(given)]

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

    async def close(self) -> None:
        """Close idle connections now and the others when they are released; send no more.

        Waits for messages whose callers have left, each for ``content_timeout`` at most.
        """
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
            if self._loop.is_running():
                raise ConfigurationError(
                    "this AsyncMailer serves another event loop that is still running: make one "
                    "for each loop"
                )
            self._tasks.clear()
            for server in self._servers:
                server.pool.leave_loop()
        self._loop = loop

    async def _send(
        self,
        submission: Submission,
        leases: LeasesAt = Server.leases,
        lock: asyncio.Lock | None = None,
    ) -> Receipt:
        jobs: list[Job] = []
        sending = self._router.send(submission, leases, jobs.append)
        task = self._start(sending if lock is None else _locked(lock, sending))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if jobs and jobs[0].may_be_delivered:
                _note(error, Outcome.UNKNOWN, (_result(task, unless_known=Outcome.UNKNOWN),))
                raise
            task.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await task
            _note(error, Outcome.NOT_SENT, (_known(error),))
            if not jobs:
                # The task was cancelled before its first step, where it would have been counted.
                self._router.counters.failed(error, None, time.monotonic())
            raise

    async def _outcome(self, item: Submission) -> Receipt | Exception:
        try:
            return await self._send(item)
        except SMTPException as error:
            return error

    async def _one_by_one(self, messages: Messages) -> AsyncGenerator[Receipt | Exception, None]:
        self._enter_loop()
        async for item in each_of(messages):
            yield await self._outcome(as_submission(item))

    async def _side_by_side(
        self, messages: Messages, connections: int
    ) -> AsyncGenerator[Receipt | Exception, None]:
        self._enter_loop()
        free = asyncio.Semaphore(connections)
        pending: deque[asyncio.Task[Receipt | Exception]] = deque()
        begun: set[asyncio.Task[Any] | None] = set()
        source = AsyncItems(messages)

        async def send(item: Submission) -> Receipt | Exception:
            async with free:
                begun.add(asyncio.current_task())
                return await self._outcome(item)

        try:
            async for item in source:
                pending.append(self._start(send(item)))
                while len(pending) >= connections * _AHEAD or (pending and pending[0].done()):
                    outcome = await asyncio.shield(pending[0])
                    pending.popleft()
                    yield outcome
            while pending:
                outcome = await asyncio.shield(pending[0])
                pending.popleft()
                yield outcome
            if source.failure is not None:
                raise source.failure
        except asyncio.CancelledError as error:
            left = tuple(pending)
            pending.clear()
            for task in left:
                task.cancel()
            _note(error, Outcome.UNKNOWN, tuple(map(_result, left)))
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
        # One step at a time: one whose caller has left ends in the background.
        lock = asyncio.Lock()
        step: asyncio.Task[Receipt | Exception] | None = None
        before = 0
        try:
            async for item in source:
                batch.add(item)
                if batch.is_full:
                    before = len(batch)
                    step = self._start(_locked(lock, batch.next_outcome()))
                    outcome, step = await asyncio.shield(step), None
                    yield outcome
            while not batch.is_empty:
                before = len(batch)
                step = self._start(_locked(lock, batch.next_outcome()))
                outcome, step = await asyncio.shield(step), None
                yield outcome
            if source.failure is not None:
                raise source.failure
        except asyncio.CancelledError as error:
            waiting = []
            if step is not None and len(batch) < before:
                waiting.append(_result(step))
            elif step is not None:
                step.cancel()  # its message is still the first of the batch
            closing = self._start(_locked(lock, batch.close()))
            for place in range(len(batch)):
                waiting.append(_result(closing, functools.partial(_at, place)))
            _note(error, Outcome.UNKNOWN, tuple(waiting))
            raise
        except BaseException:
            await self._shielded(_locked(lock, batch.close()))
            raise
        else:
            await self._shielded(_locked(lock, batch.close()))

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Its caller may have left, and nobody else asks.

    async def _shielded(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result; it goes on in the background where the caller leaves."""
        return await asyncio.shield(self._start(coroutine))


class AsyncPinnedConnection:
    """As `PinnedConnection`: a connection of the pool for one caller, until the block ends.

    Messages that are sent at once by several tasks go one after the other.
    """

    def __init__(self, mailer: AsyncMailer) -> None:
        self._mailer = mailer
        self._lock = asyncio.Lock()
        self._leased: dict[Server, LeasedConnection] = {}

    async def send_message(
        self,
        msg: Message[Any, Any] | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        before_end: BeforeEnd | None = None,
    ) -> Receipt:
        """As `AsyncMailer.send_message`, over the pinned connection."""
        submission = Submission(
            msg, from_addr, to_addrs, mail_options, rcpt_options, before_end=before_end
        )
        return await self._mailer._send(submission, self._leases, self._lock)

    async def open(self) -> bool:
        """Take the connection now. Returns True if a new one had to be opened.

        Raises:
            SMTPException: as `send_message`, where none can be opened.
        """
        return await _locked(self._lock, self._mailer._router.open(self._leases))

    async def give_back(self) -> None:
        """Return the connection to the pool."""
        async with self._lock:
            while self._leased:
                _, leased = self._leased.popitem()
                await leased.give_back()

    def _leases(self, server: Server) -> LeasedConnection:
        if server not in self._leased:
            self._leased[server] = LeasedConnection(server.pool)
        return self._leased[server]


def _note(
    error: asyncio.CancelledError,
    outcome: Outcome,
    results: tuple[asyncio.Future[Receipt | BaseException], ...],
) -> None:
    """Record on the error what is known of messages whose caller leaves."""
    error.outcome = outcome if results else Outcome.NOT_SENT  # type: ignore[attr-defined]
    error.results = results  # type: ignore[attr-defined]


def _known(result: Receipt | BaseException) -> asyncio.Future[Receipt | BaseException]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


def _result(
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


def _at(place: int, outcomes: list[Receipt | Exception]) -> Receipt | BaseException:
    """The outcome of one message of a batch that was in flight; those after them were not sent."""
    if place < len(outcomes):
        return outcomes[place]
    not_sent = asyncio.CancelledError()
    not_sent.outcome = Outcome.NOT_SENT  # type: ignore[attr-defined]
    return not_sent


async def _locked(lock: asyncio.Lock, coroutine: Coroutine[Any, Any, T]) -> T:
    async with lock:
        return await coroutine
