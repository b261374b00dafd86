"""Many messages, one outcome for each, in order."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from email.message import Message
from typing import Any, Generic, TypeAlias, TypeVar

from mailbackends.errors import SuppressionError
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.leases import LeasedConnection
from mailbackends.mailer.router import Router
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import Job, Receipt, Submission, job_or_none
from mailbackends.message import Email
from mailbackends.pool import Lease

__all__ = [
    "AHEAD", "AsyncItems", "Items", "Messages", "PipelinedBatch", "Sendable", "as_submission",
    "as_values", "each_of", "in_order",
]  # fmt: skip

# A `Job` only from the Mailer itself, which has asked the suppression list about it.
Sendable: TypeAlias = "Message[Any, Any] | Email | Submission | Job"
Messages: TypeAlias = "Iterable[Sendable] | AsyncIterable[Sendable]"
Item = TypeVar("Item")
Result = TypeVar("Result")

# How many items each worker may be ahead of the slowest one before it waits for it.
AHEAD = 4


class Items(Generic[Item]):
    """The items before the iterable raised; ``failure`` is that exception, for the end of the
    batch.

    The outcomes of the messages before come first: nothing else reports them.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[Item]:
        try:
            yield from self._items
        except Exception as error:
            self.failure = error


class AsyncItems:
    """As `Items`, for an iterable or an asynchronous iterable of messages."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncGenerator[Submission | Job, None]:
        try:
            async for message in each_of(self._messages):
                yield as_values(message)
        except Exception as error:
            self.failure = error


async def each_of(messages: Messages) -> AsyncGenerator[Submission | Job, None]:
    """The messages of an iterable or an asynchronous iterable, with their envelopes."""
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield as_submission(message)
    else:
        for message in messages:
            yield as_submission(message)


def in_order(
    send: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yield ``send(item)`` for each item, in order, calling it in ``workers`` threads.

    ``items`` may be endless: only a few for each worker are read ahead, always in the caller's
    thread. If the caller stops early, calls that have begun are finished, and no others begin.
    """
    if workers == 1:
        for item in items:
            yield send(item)
        return
    source = Items(items)
    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="mailbackends-batch")
    try:
        for item in source:
            pending.append(executor.submit(contextvars.copy_context().run, send, item))
            while len(pending) >= workers * AHEAD or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if source.failure is not None:
            raise source.failure
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class PipelinedBatch:
    """Messages over one connection, up to ``batch_pipeline`` in flight (RFC 3030 section 4.2).

    Each is preceded by RSET, so that it does not matter how the one before it ends. Outcomes
    come in the same order as without pipelining; only a connection that breaks leaves more
    of them unknown. Not thread-safe.
    """

    def __init__(self, router: Router, server: Server) -> None:
        self._router = router
        self._server = server
        self._leases = LeasedConnection(server.pool)
        self._size = server.options.batch_pipeline
        self._queue: deque[Submission | Job] = deque()
        self._current: Job | None = None  # whose outcome was asked for last

    def add(self, item: Submission | Job) -> None:
        """Put a message, as `as_values` gives it, at the end of the queue."""
        self._queue.append(item)

    def __len__(self) -> int:
        """The number of messages without an outcome."""
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """True if an outcome has to be taken before the next message is added."""
        return len(self._queue) >= self._size

    @property
    def is_empty(self) -> bool:
        """True if no message is left."""
        return not self._queue

    async def next_outcome(self) -> Receipt | Exception:
        """The outcome of the oldest message."""
        # Not before all that are in flight are answered: a server that drops what follows a
        # chunk would answer the next message in place of those.
        if not self._is_in_flight:
            if self._server.pool.is_closed:
                await self._leases.close()
            await self._start()
        self._current = None
        return await self._router.outcome(
            self._queue.popleft(), lambda server: self._leases, self._note
        )

    def _note(self, job: Job) -> None:
        self._current = job

    @property
    def may_be_delivered(self) -> bool:
        """True once the server may have the message whose outcome was asked for last.

        Those in flight after it are sent as well, then.
        """
        return self._current is not None and self._current.may_be_delivered

    async def next_outcomes(self) -> list[Receipt | Exception]:
        """The outcome of the oldest message, and of those after it that were accepted by then.

        No other outcome can be had without waiting for the server.
        """
        outcomes = [await self.next_outcome()]
        while self._is_next_accepted:
            outcomes.append(await self.next_outcome())
        return outcomes

    @property
    def _is_next_accepted(self) -> bool:
        if not self._queue:
            return False
        oldest = self._queue[0]
        started = oldest.in_flight if isinstance(oldest, Job) else None
        return started is not None and started.lease.connection.is_accepted(started)

    async def close(self) -> list[Receipt | Exception]:
        """Finish what is in flight, start nothing more, and return the connection.

        Returns the outcomes of the oldest messages, those that were in flight.
        """
        outcomes: list[Receipt | Exception] = []
        await self._leases.close()
        while self._is_in_flight:
            outcomes.append(await self.next_outcome())
        return outcomes

    @property
    def _is_in_flight(self) -> bool:
        """True if the oldest message is in flight."""
        if not self._queue:
            return False
        oldest = self._queue[0]
        return isinstance(oldest, Job) and oldest.in_flight is not None

    async def _start(self) -> None:
        """Start as many messages of the queue as can go now."""
        if (lease := self._leases.reused()) is not None:
            try:
                await self._start_over(lease)
            except BaseException:
                # Nothing of it was sent, and the caller has left.
                lease.connection.session.discard_output()
                raise

    async def _start_over(self, lease: Lease[Connection]) -> None:
        for place in range(len(self._queue)):
            job = job_or_none(self._queue[place])
            if job is None:
                return
            self._queue[place] = job
            if job.stream is not None:
                self._router.classify(job)
            if self._router.suppresses and job.suppressed is None:
                try:
                    await self._router.ask(job)
                except SuppressionError:
                    return  # It asks again, and fails, when its turn comes.
            if not job.envelope.forward_paths:
                return  # Its outcome comes when those before it have theirs.
            if not self._server.dispatcher.start(job, lease):
                return


def as_submission(item: Sendable) -> Submission | Job:
    """The item as a `Submission`; a message object has its envelope in its fields."""
    return item if isinstance(item, Submission | Job) else Submission(item)


def as_values(item: Submission | Job) -> Submission | Job:
    """The same with its iterators read, so that it can be read more than once."""
    if isinstance(item, Job):
        return item
    read = {name: getattr(item, name) for name in ("to_addrs", "mail_options", "rcpt_options")}
    once: dict[str, Any] = {
        name: _as_tuple(value) for name, value in read.items() if not isinstance(value, _VALUES)
    }
    return replace(item, **once) if once else item


_VALUES = (str, tuple, list, type(None))


def _as_tuple(values: Iterable[str]) -> Iterable[str]:
    try:
        return tuple(values)
    except Exception as error:
        return _Unreadable(error)


class _Unreadable:
    """In place of an iterable that raised, so that the message has this error as its outcome."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __iter__(self) -> Iterator[str]:
        raise self._error
