"""One message to the servers of a Mailer: the first, and the next where that can do no harm."""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, get_args

from mailbackends.errors import (
    ConfigurationError,
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    PoolClosed,
    RateLimited,
    RecipientsSuppressed,
    SMTPException,
    SuppressionError,
)
from mailbackends.events import EventHook, EventSink
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.dispatch import Deadlines
from mailbackends.mailer.leases import Leases
from mailbackends.mailer.recipients import Failover
from mailbackends.mailer.server import Counters, Server
from mailbackends.mailer.submission import Job, Receipt, Submission, job_or_none
from mailbackends.mailer.throttle import LocalThrottle, Throttle
from mailbackends.pool import Lease
from mailbackends.protocol.transaction import Delivery
from mailbackends.suppression.store import SuppressionLookup
from mailbackends.transport.waiting import BLOCKING

__all__ = ["LeasesAt", "Router", "Strategy", "as_outcome"]

logger: logging.Logger = logging.getLogger("mailbackends.mailer")

Strategy = Literal["ordered", "round_robin"]
"""Which server a message is tried at first: the first of the list, or each in turn."""

_BEFORE_SENDING = (
    *(InvalidAddressError, InvalidMessageError, RateLimited),
    *(RecipientsSuppressed, SuppressionError),
)

_NO_DEADLINES = Deadlines(None, None)

LeasesAt: TypeAlias = Callable[[Server], Leases]


def as_outcome(error: Exception) -> Exception:
    """The error as one of a batch's outcomes. All have ``outcome``.

    Also what a message object or a token provider raised: the other messages have theirs.
    """
    if not isinstance(error, SMTPException):
        vars(error).setdefault("outcome", Outcome.NOT_SENT)
    return error


class Router:
    """Sends messages to the servers in turn. Thread-safe.

    A server whose circuit is open is not left out but comes last: where no other takes the
    message, it is better tried there than not at all.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        strategy: Strategy,
        throttle: Throttle | None,
        on_event: EventHook | None,
    ) -> None:
        self._suppression = servers[0].options.suppression
        self.suppresses: bool = self._suppression is not None
        """Whether there is a suppression list to ask."""
        if strategy not in get_args(Strategy):
            raise ConfigurationError(
                f"strategy={strategy!r} is none of {', '.join(map(repr, get_args(Strategy)))}"
            )
        self._servers = tuple(servers)
        self._only = ((servers[0], 0),) if len(servers) == 1 else None
        self._is_round_robin = strategy == "round_robin"
        self._turns = itertools.count()
        self._throttle = throttle
        self._deadline = servers[0].options.deadline
        # With one server, its counters have the outcome of each message that came to it.
        self._counts = self._only is None
        self.counters: Counters = Counters(EventSink(on_event))

    async def outcome(
        self,
        submission: Submission | Job,
        leases: LeasesAt = Server.leases,
        on_job: Callable[[Job], object] | None = None,
    ) -> Receipt | Exception:
        """Send one message, and return what `send` returns or raises."""
        try:
            return await self.send(submission, leases, on_job)
        except Exception as error:
            return as_outcome(error)

    async def send(
        self,
        submission: Submission | Job,
        leases: LeasesAt = Server.leases,
        on_job: Callable[[Job], object] | None = None,
    ) -> Receipt:
        """Send one message, or wait for the result of one that is in flight.

        ``on_job`` is called with the message once it is known to be valid.

        Raises:
            InvalidAddressError, InvalidMessageError: nothing was sent.
            SMTPException: with its outcome.
        """
        started = time.monotonic()
        job: Job | None = None
        try:
            job = submission if isinstance(submission, Job) else Job(submission)
            if on_job is not None:
                on_job(job)
            if job.stream is not None:
                self.classify(job)
            if job.suppressed is None and self._suppression is not None:
                await self.ask(job)
            if not job.envelope.forward_paths and job.suppressed:
                raise RecipientsSuppressed(job.suppressed)
            if self._throttle is not None:
                await self._wait_for_rate(self._throttle, started)
        except _BEFORE_SENDING as error:
            recipients = len(job.envelope.forward_paths) + len(job.suppressed or ()) if job else 0
            self.counters.failed(error, job, started, recipients=recipients)
            raise
        except GeneratorExit:
            raise  # collected as garbage
        except BaseException as error:
            vars(error).setdefault("outcome", Outcome.NOT_SENT)
            self.counters.failed(error, job, started)
            raise
        try:
            delivery = await self._try_servers(job, leases, started)
        except SMTPException as error:
            if self._counts:
                self.counters.count(error)
            raise
        except GeneratorExit:
            raise  # collected as garbage
        except BaseException as error:
            # Of a part before, where the session has not said so.
            outcome = Outcome.UNKNOWN if job.was_sent else Outcome.NOT_SENT
            vars(error).setdefault("outcome", outcome)
            self.counters.failed(error, job, started, recipients=len(job.envelope.forward_paths))
            raise
        if self._counts:
            self.counters.count()
        if delivery.reply is None:  # pragma: no cover - a delivery has one by its contract
            raise RuntimeError("a delivery without a reply")
        receipt = Receipt(
            tuple(delivery.accepted),
            delivery.reply,
            delivery.refused,
            job.message_id,
            time.monotonic() - started,
            job.suppressed or {},
        )
        if receipt.refused:
            logger.warning("partial refusal: %s", receipt)
        if receipt.suppressed:
            logger.info("some recipients are suppressed: %s", receipt)
        return receipt

    def classify(self, job: Job) -> None:
        """Note whether it is bulk mail: its stream is, unless the suppression list exempts it."""
        if job.stream not in getattr(self._suppression, "exempt", ()):
            job.bulk_stream = job.stream

    async def ask(self, job: Job) -> None:
        """Remove the recipients that the suppression list has; once for each message.

        Raises:
            SuppressionError: it could not be asked.
        """
        if self._suppression is None or job.suppressed is not None:
            return
        lookup = SuppressionLookup(self._suppression)
        asking = functools.partial(lookup.suppressed, job.envelope.forward_paths, job.stream)
        waiter = self._servers[0].waiter
        job.withhold(asking() if waiter is BLOCKING else await waiter.call(asking, None))

    async def ask_for_all(self, items: Sequence[Submission | Job]) -> list[Submission | Job]:
        """The same messages, with the suppression list asked once for each stream of them.

        If it cannot be asked, each message asks by itself, and has the error as its outcome.
        """
        if self._suppression is None:
            return list(items)
        jobs = [job_or_none(each) for each in items]
        lookup = SuppressionLookup(self._suppression)
        asked = [each for each in jobs if each is not None and each.suppressed is None]
        asking = functools.partial(
            lookup.prefetch, [(each.stream, each.envelope.forward_paths) for each in asked]
        )
        waiter = self._servers[0].waiter
        try:
            asking() if waiter is BLOCKING else await waiter.call(asking, None)
        except SuppressionError:
            return list(items)
        for job in asked:
            job.withhold(lookup.suppressed(job.envelope.forward_paths, job.stream))
        return [item if job is None else job for item, job in zip(items, jobs, strict=True)]

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """The number of messages by outcome."""
        found = Counter(self.counters.outcomes)
        if not self._counts:
            found.update(self._servers[0].counters.outcomes)
        return dict(found)

    async def open(self, leases: LeasesAt = Server.leases) -> bool:
        """Take a connection to the first server that gives one. True if it is a new one.

        Raises:
            SMTPException: none does. ``earlier`` has the errors of the others.
        """
        started = time.monotonic()
        errors: list[SMTPException] = []
        for server, further in self._only or self._in_order():
            source = leases(server)
            lease: Lease[Connection] | None = None
            try:
                lease = await source.acquire(deadline=self._deadlines(started, further).connected)
            except SMTPException as error:
                server.failed(error)
                error.server, error.wording = server.options.server, server.options.wording
                error.outcome = error.outcome or Outcome.NOT_SENT
                error.earlier = tuple(errors)
                errors.append(error)
                if isinstance(error, PoolClosed) or not self._goes_on(started, further):
                    raise
                logger.warning("%s: trying the next server", error)
            else:
                server.worked()
                return not lease.is_reused
            finally:
                source.release(lease)
        raise RuntimeError("a Mailer without a server")  # pragma: no cover

    async def _wait_for_rate(self, throttle: Throttle, started: float) -> None:
        latest = None if self._deadline is None else started + self._deadline
        waiter = self._servers[0].waiter
        if waiter is BLOCKING:
            throttle.wait(latest)
        elif isinstance(throttle, LocalThrottle):
            await waiter.sleep(throttle.reserve(latest))
        else:
            # It asks a store over the network.
            await waiter.call(functools.partial(throttle.wait, latest), None)

    async def _try_servers(self, job: Job, leases: LeasesAt, started: float) -> Delivery:
        failover = Failover(job.envelope.forward_paths)
        tried_at = started
        # The circuit of the only server is not asked: there is no other.
        for server, further in self._only or self._in_order():
            recipients, deadlines = failover.left, self._deadlines(started, further)
            try:
                delivery = await server.dispatcher.send(job, recipients, leases(server), deadlines)
            except (InvalidAddressError, InvalidMessageError) as error:
                # No other server would take it either.
                server.counters.failed(error, job, tried_at, recipients=len(recipients))
                if not failover.is_served:
                    raise
                goes_on = False
            except SMTPException as error:
                server.failed(error)
                failover.failed(error)
                goes_on = bool(failover.left) and self._goes_on(started, further)
                server.counters.failed(
                    error, job, tried_at, recipients=len(recipients), is_final=not goes_on
                )
                if goes_on:
                    logger.warning("%s: trying the next server", error)
            else:
                server.worked()
                failover.delivered(delivery)
                goes_on = bool(failover.left) and self._goes_on(started, further)
                if goes_on:
                    await job.note_part(delivery, failover.left)
                server.counters.sent(delivery, job, tried_at, is_final=not goes_on)
            if not goes_on:
                break
            tried_at = time.monotonic()
        return failover.end()

    def _in_order(self) -> Iterator[tuple[Server, int]]:
        """The servers in the order in which to try them, each with the number of those after it.

        Their circuits are asked only when it is their turn: to admit a message that never
        comes would waste the probe.
        """
        count = len(self._servers)
        first = next(self._turns) % count if self._is_round_robin else 0
        line = self._servers[first:] + self._servers[:first]
        last: list[Server] = []
        further = count
        for server in line:
            if server.admits():
                further -= 1
                yield server, further
            else:
                last.append(server)
        for server in last:
            further -= 1
            yield server, further

    def _deadlines(self, started: float, further: int) -> Deadlines:
        if self._deadline is None:
            return _NO_DEADLINES
        # No server may spend more than its share on getting a connection: one that
        # swallows packets must leave time for the next. What is under way may take all.
        latest = started + self._deadline
        if not further:
            return Deadlines(latest, latest)
        now = time.monotonic()
        return Deadlines(now + (latest - now) / (further + 1), latest)

    def _goes_on(self, started: float, further: int) -> bool:
        """Whether there is a server left, and time for it."""
        is_in_time = self._deadline is None or time.monotonic() < started + self._deadline
        return further > 0 and is_in_time
