"""One message of an event loop's Mailer, and what becomes of it if its caller leaves."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from mailbackends.errors import Outcome
from mailbackends.mailer.aio_upkeep import TaskKeeper
from mailbackends.mailer.base import BaseMailer
from mailbackends.mailer.leaving import (
    Inline,
    end_of,
    known,
    locked,
    note,
    outcome_of,
    result_of,
    until_shutdown,
)
from mailbackends.mailer.router import LeasesAt, as_outcome
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import Job, Receipt, Submission

__all__ = ["AsyncSender"]

T = TypeVar("T")


class AsyncSender(BaseMailer[TaskKeeper]):
    """The part of `AsyncMailer` that sends one message, and keeps the tasks."""

    _tasks: set[asyncio.Task[Any]]  # the loop has only weak references
    _guard: AsyncGenerator[None, None] | None  # ends those that are left when it shuts down

    async def _send(
        self,
        submission: Submission | Job,
        leases: LeasesAt = Server.leases,
        lock: asyncio.Lock | None = None,
    ) -> Receipt:
        jobs: list[Job] = []
        sending = functools.partial(self._router.send, submission, leases, jobs.append)
        inline = Inline(sending() if lock is None else locked(lock, sending))
        task: asyncio.Task[Receipt] | None = None
        try:
            # A hook may ask for the task that runs it: that must not change.
            if not _has_hook(submission) and await inline:
                return inline.result
            task = self._start(inline.rest())
            return await asyncio.shield(task)
        except asyncio.CancelledError as error:
            is_over = inline.is_over if task is None else task.done()
            if not is_over and jobs and jobs[0].may_be_delivered:
                task = task or self._start_in_background(inline.rest(after_cancel=True))
                note(error, Outcome.UNKNOWN, (result_of(task, unless_known=Outcome.UNKNOWN),))
                raise
            result = await self._cancelled(inline, task, error)
            if isinstance(result, asyncio.CancelledError):
                note(error, outcome_of(result), (known(error),))
                if not jobs:
                    # Cancelled before its first step, where it would have been counted.
                    self._router.counters.failed(error, None, time.monotonic())
            else:
                # It came to its end in the same iteration of the loop.
                note(error, outcome_of(result), (known(result),))
            raise

    async def _cancelled(
        self,
        inline: Inline[Receipt],
        task: asyncio.Task[Receipt] | None,
        error: asyncio.CancelledError,
    ) -> Receipt | BaseException:
        """What a message that is not sent any more returns or raises."""
        result: Receipt | BaseException = error
        if task is not None:
            task.cancel()
            result = await end_of(task)
        # A task that was cancelled before its first step has not cancelled the coroutine.
        if inline.is_over or not isinstance(result, asyncio.CancelledError):
            return result
        try:
            inline.cancel(error)
        except (Exception, asyncio.CancelledError) as raised:
            return raised
        return inline.result if inline.is_over else await end_of(self._start(inline.rest()))

    async def _outcome(self, item: Submission | Job) -> Receipt | Exception:
        try:
            return await self._send(item)
        except Exception as error:
            return as_outcome(error)

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _start_in_background(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """As `_start`, for what goes on after its caller has left."""
        if self._guard is None:
            self._guard = until_shutdown(self._tasks)
        return self._start(coroutine)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Its caller may have left, and nobody else asks.

    async def _shielded(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result; it goes on in the background where the caller leaves."""
        return await asyncio.shield(self._start(coroutine))


def _has_hook(item: Submission | Job) -> bool:
    submission = item.submission if isinstance(item, Job) else item
    return submission.before_end is not None or submission.after_part is not None
