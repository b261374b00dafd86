"""A batch over one connection, each message begun before those in front of it were answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from mailbackends.mailer.leased import LeasedConnection
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.router import Route
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import Job, Submission

__all__ = ["PipelinedBatch"]


class PipelinedBatch:
    """Keeps up to ``batch_pipeline`` messages on their way at once (RFC 3030 section 4.2).

    Each is led by RSET, so that it does not matter how the one in front of it ends. What
    became of a message is asked in the same way and in the same order as without a train;
    only a connection that breaks leaves more of them unknown. For one thread.
    """

    def __init__(self, route: Route, server: Server) -> None:
        self._route = route
        self._server = server
        self._kept = LeasedConnection(server.pool)
        self._length = server.options.batch_pipeline
        self._line: deque[Submission | Job] = deque()
        self._failure: Exception | None = None

    def outcomes(self, items: Iterable[Submission]) -> Iterator[Receipt | Exception]:
        """What became of each message, in their order.

        Where the caller stops early, what was begun is brought to its end.
        """
        try:
            for item in self._taken(items):
                self._line.append(item)
                if len(self._line) >= self._length:
                    yield self._head()
            while self._line:
                yield self._head()
            if self._failure is not None:
                raise self._failure
        finally:
            self._kept.close()
            while self._is_begun:
                self._head()

    def _taken(self, items: Iterable[Submission]) -> Iterator[Submission]:
        """The items. Where they fail, those before are told of first: they may be sent."""
        try:
            for item in items:
                yield _as_values(item)
        except Exception as error:
            self._failure = error

    def _head(self) -> Receipt | Exception:
        # Not before all that were begun are answered: a server that throws away what stands
        # behind a chunk would answer the next message in the place of those.
        if not self._is_begun:
            if self._server.pool.is_closed:
                self._kept.close()
            self._begin()
        return self._route.outcome(self._line.popleft(), lambda server: self._kept)

    @property
    def _is_begun(self) -> bool:
        """True where the head of the line is on its way."""
        return bool(self._line) and isinstance(self._line[0], Job) and bool(self._line[0].flight)

    def _begin(self) -> None:
        """Begin as many of the line as can go now."""
        if (lease := self._kept.reused()) is None:
            return
        for place in range(len(self._line)):
            job = _job(self._line[place])
            if job is None:
                return
            self._line[place] = job
            if not self._server.dispatcher.begin(job, lease):
                return


def _as_values(item: Submission) -> Submission:
    """The same, with what can be read only once read: where it is not fit, it is read again."""
    read = {name: getattr(item, name) for name in ("to_addrs", "mail_options", "rcpt_options")}
    once: dict[str, Any] = {
        name: tuple(value) for name, value in read.items() if not isinstance(value, _VALUES)
    }
    return replace(item, **once) if once else item


_VALUES = (str, tuple, list, type(None))


def _job(item: Submission | Job) -> Job | None:
    """None for one that cannot be sent: it is told so when its turn comes."""
    try:
        return item if isinstance(item, Job) else Job(item)
    except Exception:
        return None
