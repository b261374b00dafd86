"""One SMTP connection that is ready for messages, and the messages over it."""

from __future__ import annotations

import functools
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mailbackends.errors import (
    Outcome,
    SMTPDeliveryUnknown,
    SMTPException,
)
from mailbackends.mailer.in_flight import InFlightTransaction, InFlightTransactions
from mailbackends.mailer.opening import open_driver, timeouts_of
from mailbackends.mailer.options import Options
from mailbackends.mailer.submission import Job
from mailbackends.pool import Lease
from mailbackends.pool.upkeep import check_interval
from mailbackends.protocol import dialogue
from mailbackends.protocol.chunking import Chunking, fits_one_flight
from mailbackends.protocol.command import Command
from mailbackends.protocol.negotiation import Prepared
from mailbackends.protocol.session import Session
from mailbackends.protocol.state import State
from mailbackends.protocol.transaction import Delivery, deliver
from mailbackends.transport.driver import Driver
from mailbackends.transport.waiting import BLOCKING, GaveWay, Interruptible, Timeouts, Waiter

__all__ = ["Connection"]

logger: logging.Logger = logging.getLogger("mailbackends.wire")


# A connection used within this many seconds is assumed to be alive: no firewall forgets it that
# fast. After a longer pause, the content waits for the replies to the envelope.
_FRESH = 5.0
# With upkeep a connection is checked instead, which may take a moment beyond its time.
_CHECK_MARGIN = 2.0

# After this many refusals in a row another connection is opened. Postfix answers each error a
# second late from the 10th on, and closes after 20, unless a message is accepted in between.
_MAX_REFUSALS = 10


class Connection:
    """A connection in the pool. Not thread-safe: only one caller at a time may use it."""

    def __init__(self, options: Options, driver: Driver) -> None:
        self._options = options
        self._driver = driver
        offered = driver.session.extensions
        self.is_pipelined: bool = options.pipelining and "PIPELINING" in offered
        """True if the server announces PIPELINING and the options allow it."""
        self.is_one_flight: bool = self.is_pipelined and options.chunking and "CHUNKING" in offered
        """True if the content may be sent before any reply."""
        announced = offered.max_messages
        self._most = float(options.max_messages_per_connection)
        if announced is not None and announced < self._most:
            self._most = announced
        self._timeouts = timeouts_of(options)
        self._in_flight = InFlightTransactions(driver, self._timeouts)
        self._signs_at_once = options.signer is None or options.signer.is_local
        self._sent_singly = 0
        self.refusals: int = 0
        """How often the server refused something since it last accepted a message."""
        self._used_at = time.monotonic()
        """When the server last answered."""
        self._fresh_seconds = _FRESH
        if options.min_idle:
            self._fresh_seconds = max(_FRESH, check_interval(options.max_idle) + _CHECK_MARGIN)

    @classmethod
    async def open(
        cls,
        options: Options,
        context: ssl.SSLContext | None,
        latest: float | None,
        waiter: Waiter = BLOCKING,
    ) -> Connection:
        """Connect and log in, so that MAIL can follow, before ``latest`` on the clock.

        Raises:
            SMTPConnectionError: no connection could be made.
            SMTPException: greeting, TLS or login failed.
        """
        return cls(options, await open_driver(options, context, latest, waiter))

    @property
    def messages(self) -> int:
        """How many were sent over it, or tried."""
        return self._sent_singly + self._in_flight.ended

    @property
    def is_ready(self) -> bool:
        """True if the session can go on."""
        if self._in_flight.pending:
            return self._driver.session.state is not State.CLOSED
        return self._driver.session.is_reusable

    def spent(self, limit: int | None = None) -> str:
        """Why no other message can go over this connection; empty if one can.

        ``limit`` is the number of messages after which the server was seen to refuse, unannounced.
        """
        if not self.is_ready:
            return "error"
        if self._in_flight.pending:  # the last of them decides
            return ""
        if self.refusals >= _MAX_REFUSALS:
            return "refusals"
        most = self._most if limit is None or limit > self._most else limit
        return "" if self.messages < most else "messages"

    async def deliver(
        self,
        job: Job,
        recipients: tuple[str, ...],
        latest: float | None,
        *,
        lock_step: bool = False,
        chunking: Chunking = Chunking.UNPROVED,
    ) -> Delivery:
        """Send one message to these recipients, or to as many as the server announces (RFC 9422).

        ``lock_step`` is for a server that is known to need it. ``chunking`` is what is known
        about BDAT on this server; `Session.take_chunking` returns what the message has shown.

        Raises:
            SMTPException: with its outcome. `spent` says whether the connection can go on.
            InvalidMessageError: before anything was sent.
        """
        self._timeouts.latest = latest
        started, job.in_flight = job.in_flight, None
        if started is not None:
            return await self._result(job, started)
        session = self._driver.session
        waiter = self._driver.stream.waiter
        if waiter is not BLOCKING and (job.is_large or not self._signs_at_once):
            prepared = await waiter.call(functools.partial(self._prepare, job), None)
        else:
            prepared = self._prepare(job)
        self._driver.loads_in_thread = (
            waiter is not BLOCKING and prepared.content.is_made_while_sent
        )
        self._sent_singly += 1
        envelope, part = prepared.envelope, recipients[: session.extensions.max_recipients]
        if part is not envelope.forward_paths:
            envelope = replace(envelope, forward_paths=part)
        transaction = deliver(
            session,
            envelope,
            prepared.content,
            pipelining=self._options.pipelining and not lock_step,
            chunking=chunking if self._options.chunking and not lock_step else Chunking.OFF,
            is_fresh=self._is_fresh,
            gate=job.gate,
        )
        job.session = session
        try:
            delivery = await self._driver.run(transaction, self._timeouts)
        except SMTPDeliveryUnknown:
            job.was_sent = True
            raise
        except SMTPException as error:
            self._count_refusals(error)
            raise
        except BaseException as error:
            _note_outcome(error, job)
            raise
        else:
            job.was_sent = True
            self.refusals = 0
            return delivery
        finally:
            job.session = None
            self._used_at = time.monotonic()

    async def _result(self, job: Job, started: InFlightTransaction) -> Delivery:
        job.answering = started
        try:
            delivery = await self._in_flight.result(started, self._options.deadline)
        except SMTPDeliveryUnknown:
            job.was_sent = True
            raise
        except SMTPException as error:
            self._count_refusals(error)
            raise
        except BaseException as error:
            _note_outcome(error, job)
            raise
        else:
            job.was_sent = True
            self.refusals = 0
            return delivery
        finally:
            job.answering = None
            self._used_at = time.monotonic()

    def _count_refusals(self, error: SMTPException) -> None:
        if error.outcome is Outcome.REFUSED:
            # One for each recipient, and one for MAIL, the content, or DATA without recipients.
            self.refusals += 1 + len(error.refused)

    def retire(self) -> None:
        """Send no other message over it: the server refuses what it may take over a new one."""
        self.refusals = _MAX_REFUSALS

    def is_accepted(self, started: InFlightTransaction) -> bool:
        """True if a message in flight was accepted for everyone. Reads, and never waits."""
        return self._in_flight.is_accepted(started)

    @property
    def session(self) -> Session:
        """The SMTP session, which knows what the server has shown."""
        return self._driver.session

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self._used_at < self._fresh_seconds

    def start(self, job: Job, lease: Lease[Any], *, limit: int | None) -> bool:
        """Start a message after those in flight, and wait for nothing; `deliver` has its result.

        False if it has to wait for the others: only small messages that need one round
        trip can be started so, on a server on which BDAT has worked, and no more than
        ``limit`` over one connection.
        """
        session = self._driver.session
        if session.is_lmtp or not self.is_one_flight or not self._signs_at_once:
            return False
        most = self._most if limit is None else min(self._most, limit)
        if self.messages + len(self._in_flight.pending) >= most:
            return False
        if not (self.is_ready if self._in_flight.pending else self._is_fresh and self.is_alive()):
            return False
        try:
            prepared = self._prepare(job)
        except (SMTPException, ValueError):
            return False  # `deliver` raises it when its turn comes.
        at_once = session.extensions.max_recipients
        recipients = len(prepared.envelope.forward_paths)
        if not fits_one_flight(prepared.content) or (at_once is not None and recipients > at_once):
            return False
        transaction = deliver(
            session,
            prepared.envelope,
            prepared.content,
            chunking=Chunking.PROVED,
            follows_another=True,
            gate=job.gate,
        )
        job.in_flight = self._in_flight.start(lease, transaction, prepared.envelope.forward_paths)
        return True

    def _prepare(self, job: Job) -> Prepared:
        session = self._driver.session
        return job.prepare(
            session.extensions,
            is_tls=session.is_tls,
            fast=self._options.fast_paths,
            sign=self._options.finish,
        )

    async def settle(self) -> None:
        """Wait for all that are in flight. Interrupted, the connection cannot go on."""
        await self._in_flight.settle(self._options.deadline)

    # For the pool

    def is_alive(self) -> bool:
        """False if the server has closed the connection or sent unexpected data. Never waits.

        Not to be called with messages in flight: their replies may come at any time.
        """
        if not self.is_ready:
            return False
        if self._driver.stream.is_quiet():
            return True
        # The data was consumed: a second check would find nothing.
        self._driver.session.close()
        return False

    async def check(self, seconds: float, is_wanted: Callable[[], bool]) -> bool:
        """Ask the server by RSET; see `Checkable.check`.

        Not by NOOP: servers that count commands without a message allow one RSET for free.
        """
        driver = self._driver
        waiter = driver.stream.waiter
        driver.stream.waiter = Interruptible(waiter, is_wanted)
        latest = time.monotonic() + seconds
        try:
            await driver.run(
                dialogue.ask(driver.session, Command("RSET")),
                Timeouts(seconds, seconds, seconds, latest),
            )
        except (SMTPException, GaveWay, OSError):
            return False
        finally:
            driver.stream.waiter = waiter
        self._used_at = time.monotonic()
        return self.is_ready

    def use(self, waiter: Waiter) -> None:
        """Wait by ``waiter`` from now on."""
        self._driver.stream.waiter = waiter

    def close(self) -> None:
        """Send QUIT if the server can read it, and close without waiting for the reply."""
        try:
            if self._driver.session.is_reusable:
                dialogue.quit_now(self._driver.session)
                self._driver.send_at_once()
        except OSError:
            logger.debug("QUIT could not be sent", exc_info=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the descriptor without sending a byte."""
        self._driver.session.close()
        self._driver.stream.abort()
        self._in_flight.abandon()


def _note_outcome(error: BaseException, job: Job) -> None:
    """Interrupted, or cancelled: only the session knows how far the message had come."""
    vars(error)["outcome"] = Outcome.UNKNOWN if job.may_be_delivered else Outcome.NOT_SENT
