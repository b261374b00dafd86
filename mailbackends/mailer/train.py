"""A batch over one connection, each message begun before those in front of it were answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mailer.kept import Kept
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.route import Route
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import Job, Submission

__all__ = ["Train"]


class Train:
    """Keeps up to ``messages_in_flight`` messages on their way at once (RFC 3030 section 4.2).

    Each is led by RSET, so that it does not matter how the one in front of it ends. What
    became of a message is asked in the same way and in the same order as without a train;
    only a connection that breaks leaves more of them unknown. For one thread.
    """

    def __init__(self, route: Route, server: Server) -> None:
        self._route = route
        self._server = server
        self._kept = Kept(server.pool)
        self._length = server.options.messages_in_flight
        self._line: deque[Submission | Job] = deque()
        self._begun = 0  # how many of the line, from its head on

    def outcomes(self, items: Iterable[Submission]) -> Iterator[Receipt | Exception]:
        """What became of each message, in their order.

        Where the caller stops early, what was begun is brought to its end.
        """
        try:
            for item in items:
                self._line.append(item)
                if len(self._line) >= self._length:
                    yield self._head()
            while self._line:
                yield self._head()
        finally:
            self._kept.close()
            for _ in range(self._begun):
                self._head()

    def _head(self) -> Receipt | Exception:
        self._begin()
        self._begun = max(0, self._begun - 1)
        return self._route.outcome(self._line.popleft(), lambda server: self._kept)

    def _begin(self) -> None:
        """Begin as many of the line as can go now."""
        lease = self._kept.reused()
        while lease is not None and self._begun < len(self._line):
            last = self._line[self._begun - 1] if self._begun else None
            if isinstance(last, Job) and last.flight and last.flight.lease is not lease:
                return  # Those go first that were begun over a connection which is gone.
            job = _job(self._line[self._begun])
            if job is None or not self._server.dispatcher.begin(job, lease):
                return
            self._line[self._begun] = job
            self._begun += 1


def _job(item: Submission | Job) -> Job | None:
    """None for one that cannot be sent: it is told so when its turn comes."""
    try:
        return item if isinstance(item, Job) else Job(item)
    except (InvalidAddressError, InvalidMessageError):
        return None
