"""One server of a Mailer: its options, its connections, its circuit and its counters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from mailbackends.errors import (
    BeforeEndError,
    Outcome,
    PoolClosed,
    PoolTimeout,
    SigningError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupportedError,
    SMTPSenderRefused,
)
from mailbackends.events import EventHook, EventSink, MessageFailed, MessageSent
from mailbackends.mailer.circuit import Circuit, CircuitState
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.dispatch import Dispatcher
from mailbackends.mailer.leases import LeasedConnection, PoolLeases
from mailbackends.mailer.opening import context_of
from mailbackends.mailer.options import Options
from mailbackends.mailer.submission import Job
from mailbackends.pool import Pool, PoolStats
from mailbackends.pool.base import BasePool
from mailbackends.pool.process import ProcessLock
from mailbackends.protocol.transaction import Delivery
from mailbackends.texts import fields_as_dict
from mailbackends.transport.waiting import BLOCKING, Interruptible, Waiter, run

__all__ = ["Counters", "PinnedLeases", "Server", "ServerStats"]

# Faults on this side, which say nothing about the server.
_NOT_THE_SERVERS = (PoolTimeout, PoolClosed, BeforeEndError, SMTPNotSupportedError, SigningError)


@dataclass(frozen=True, slots=True)
class ServerStats:
    """A snapshot of one server of a Mailer."""

    server: str
    """``host:port``, or the path of its Unix socket."""
    circuit: CircuitState
    pool: PoolStats
    messages: dict[Outcome, int]
    """The number of messages that were tried here, by their outcome at this server."""

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return fields_as_dict(self)


class Counters:
    """Messages by outcome, since the start or, as the pool's counts, since the fork.

    Thread-safe. Times are seconds of the monotonic clock.
    """

    def __init__(self, emit: EventSink) -> None:
        self._emit = emit
        self._lock = ProcessLock()
        self._outcomes: Counter[Outcome] = Counter()
        # A forked child has another lock, and must not count its parent's messages again.
        self._counted_under = self._lock.here

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """The number of messages by outcome."""
        lock = self._lock.here
        with lock:
            return dict(self._outcomes) if lock is self._counted_under else {}

    def count(self, error: BaseException | None = None) -> None:
        """Count a message that was accepted, or the outcome of one that failed with `error`."""
        outcome = Outcome.ACCEPTED
        if error is not None:
            outcome = getattr(error, "outcome", None) or Outcome.NOT_SENT
        lock = self._lock.here
        with lock:
            if lock is not self._counted_under:
                self._outcomes, self._counted_under = Counter(), lock
            self._outcomes[outcome] += 1

    def sent(self, delivery: Delivery, job: Job, started: float, *, is_final: bool = True) -> None:
        """Count a message that a server accepted, and emit the event."""
        self.count()
        if self._emit.is_heard:
            self._emit(
                MessageSent(
                    accepted=len(delivery.accepted),
                    refused=len(delivery.refused),
                    suppressed=len(job.suppressed or ()),
                    size=job.size,
                    duration=time.monotonic() - started,
                    is_final=is_final,
                )
            )

    def failed(
        self,
        error: BaseException,
        job: Job | None,
        started: float,
        *,
        recipients: int = 0,
        is_final: bool = True,
    ) -> None:
        """Count a message that failed, and emit the event; ``job`` is None for an unusable one."""
        self.count(error)
        self._emit(
            MessageFailed.because_of(
                error,
                duration=time.monotonic() - started,
                recipients=recipients,
                size=job.size if job else None,
                is_final=is_final,
            )
        )


class Server:
    """Where messages can be sent. Thread-safe."""

    def __init__(
        self,
        options: Options,
        on_event: EventHook | None,
        waiter: Waiter = BLOCKING,
        pool: type[BasePool[Connection]] = Pool,
    ) -> None:
        """``waiter`` and ``pool`` are those for threads, or those for an event loop."""
        self.options = options
        self.waiter = waiter
        # Made once: loading the system's certificates takes longer than sending a message.
        self._context = context = context_of(options)
        port = None if options.socket_path else options.server_port
        emit = EventSink(on_event, options.socket_path or options.host, port)
        self.dispatcher: Dispatcher = Dispatcher(options)
        self.counters: Counters = Counters(emit)

        # Without a reference to this server: the pool is freed, and its connections are closed, as
        # soon as the Mailer is, and not when the collector finds them, in an order of its choice.
        async def connect(deadline: float | None) -> Connection:
            return await Connection.open(options, context, deadline, waiter)

        self.pool: BasePool[Connection] = pool(
            (lambda deadline: run(connect(deadline))) if waiter is BLOCKING else connect,
            size=options.pool_size,
            timeout=inf if options.pool_timeout is None else options.pool_timeout,
            max_messages_per_connection=options.max_messages_per_connection,
            max_lifetime=options.max_lifetime,
            max_idle=options.max_idle,
            min_idle=options.min_idle,
            on_event=emit,
        )
        self._circuit = Circuit(options.circuit_failures, options.circuit_pause)
        self._lock = ProcessLock()

    def leases(self) -> PoolLeases:
        """A connection for one message."""
        return PoolLeases(self.pool)

    def admits(self) -> bool:
        """Whether the next message should go here first. See `Circuit.admits`."""
        if self._circuit.is_untroubled:
            return True
        with self._lock.here:
            return self._circuit.admits(time.monotonic())

    def worked(self) -> None:
        """Note that the server accepted a message, or was ready for one."""
        if not self._circuit.is_untroubled:
            with self._lock.here:
                self._circuit.succeeded()

    def failed(self, error: SMTPException) -> None:
        """Note a fault, unless it is on this side and says nothing about the server."""
        if isinstance(error, _NOT_THE_SERVERS):
            return
        # A refusal of recipients, or for good, is about the message: the server works.
        is_overworked = isinstance(error, SMTPSenderRefused | SMTPDataError) and error.is_transient
        with self._lock.here:
            if error.outcome is Outcome.REFUSED and not is_overworked:
                self._circuit.succeeded()
            else:
                self._circuit.failed(time.monotonic())

    @property
    def is_in_service(self) -> bool:
        """True unless it failed several times in a row: messages go there."""
        return self._circuit.state is CircuitState.CLOSED

    async def open_ahead(self, deadline: float, is_wanted: Callable[[], bool]) -> Connection:
        """A connection for the pool, opened in the background. The circuit does not notice.

        Raises:
            GaveWay: ``is_wanted`` returned False before it was open.
            SMTPException: it could not be opened.
        """
        waiter = Interruptible(self.waiter, is_wanted)
        try:
            connection = await Connection.open(self.options, self._context, deadline, waiter)
        except SMTPException as error:
            error.server, error.wording = self.options.server, self.options.wording
            raise
        connection.use(self.waiter)
        return connection

    def stats(self) -> ServerStats:
        """The connections and messages so far."""
        return ServerStats(
            server=self.options.server,
            circuit=self._circuit.state,
            pool=self.pool.stats(),
            messages=self.counters.outcomes,
        )


class PinnedLeases:
    """The same connection to a server for each message, as long as it can be used.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._leased: dict[Server, LeasedConnection] = {}

    def __call__(self, server: Server) -> LeasedConnection:
        if server not in self._leased:
            self._leased[server] = LeasedConnection(server.pool)
        return self._leased[server]

    async def give_back(self) -> None:
        """Return the connections to their pools."""
        while self._leased:
            _, leased = self._leased.popitem()
            await leased.give_back()
