"""Many messages, one outcome for each, in order; over several connections where asked."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# How many items each worker may be ahead of the slowest one before it waits for it.
_AHEAD = 4


def in_order(
    send: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """``send(item)`` for each item, in the items' order, by so many threads side by side.

    ``items`` may be endless: no more than a few for each worker are taken ahead, always in
    the caller's own thread. Where the caller stops early, what was begun is finished, and
    nothing more is begun.
    """
    if workers == 1:
        for item in items:
            yield send(item)
        return
    source = _Source(items)
    pending: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="mailbackends-batch")
    try:
        for item in source:
            pending.append(executor.submit(contextvars.copy_context().run, send, item))
            while len(pending) >= workers * _AHEAD or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if source.failure is not None:
            raise source.failure
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Source(Generic[Item]):
    """The items up to the one whose making raised: ``failure`` is for the end of the batch.

    Outcomes of messages that were sent before come first: nobody else would report them.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[Item]:
        try:
            yield from self._items
        except Exception as error:
            self.failure = error
