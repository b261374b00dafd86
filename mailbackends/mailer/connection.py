"""One SMTP connection that is ready for messages: greeted, encrypted and logged in."""

from __future__ import annotations

import contextlib
import functools
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mailbackends.errors import (
    Outcome,
    SMTPConnectionError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPTimeoutError,
)
from mailbackends.mailer.in_flight import InFlightTransactions
from mailbackends.mailer.options import Options
from mailbackends.mailer.submission import Job
from mailbackends.pool import Lease
from mailbackends.protocol import dialogue
from mailbackends.protocol.negotiation import Prepared
from mailbackends.protocol.session import Dialogue, Session
from mailbackends.protocol.state import State
from mailbackends.protocol.transaction import Chunking, Delivery, deliver, fits_one_flight
from mailbackends.transport.deadline import Timeouts
from mailbackends.transport.dial import dial, dial_unix
from mailbackends.transport.driver import Driver
from mailbackends.transport.hostname import address_literal, own_name
from mailbackends.transport.stream import Stream
from mailbackends.transport.waiting import BLOCKING, Waiter

__all__ = ["Connection"]

logger = logging.getLogger("mailbackends.wire")


# A connection that was used so many seconds ago is taken for alive: no firewall forgets it
# that fast. After more, the content waits for the replies to the envelope.
_FRESH = 5.0

# This host's name, once it was looked up: the resolver may take seconds, and it does not change.
_known_names: list[str] = []

# After so many seconds an address has to do: the server waits for EHLO meanwhile.
_NAME_SECONDS = 5.0


class Connection:
    """What the pool holds. Not thread-safe: one caller at a time may use it."""

    def __init__(self, options: Options, driver: Driver) -> None:
        self._options = options
        self._driver = driver
        offered = driver.session.extensions
        self.is_pipelined = options.pipelining and "PIPELINING" in offered
        """True where the server announces PIPELINING and the options allow it."""
        self.is_one_flight = self.is_pipelined and options.chunking and "CHUNKING" in offered
        """True where the content may be sent before any reply."""
        self._timeouts = _timeouts(options)
        self._in_flight = InFlightTransactions(driver, self._timeouts)
        self._sent_singly = 0
        self._used_at = time.monotonic()

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
        timeouts = _timeouts(options)
        timeouts.latest = latest
        stream = await _dial(options, timeouts, waiter)
        try:
            trace = _trace(options.server) if logger.isEnabledFor(logging.DEBUG) else None
            session = Session(is_lmtp=options.protocol == "lmtp", trace=trace)
            driver = Driver(session, stream, tls_context=context, tls_hostname=options.host)
            if options.security == "tls" and context is not None:
                await stream.start_tls(context, options.host, timeouts.for_handshake())
                session.is_tls = True
            name = options.local_hostname or await _own_name(stream, timeouts)
            await driver.run(_introduction(session, options, name), timeouts)
            if (credentials := options.credentials) is not None:
                login = dialogue.login(session, credentials, options.auth_mechanisms)
                if options.token_provider is not None or _derives_keys(session):
                    await driver.run_in_thread(login, timeouts)
                else:
                    await driver.run(login, timeouts)
        except BaseException:
            stream.abort()
            raise
        return cls(options, driver)

    @property
    def messages(self) -> int:
        """How many were sent over it, or tried."""
        return self._sent_singly + self._in_flight.ended

    @property
    def is_ready(self) -> bool:
        """True where the session can go on."""
        if self._in_flight.pending:
            return self._driver.session.state is not State.CLOSED
        return self._driver.session.is_reusable

    def spent(self, limit: int | None = None) -> str:
        """Why no other message can go over this connection; empty where one can.

        ``limit`` is how many messages the server was seen to take, without announcing it.
        """
        if not self.is_ready:
            return "error"
        # Where messages are in flight, the last of them decides.
        return "" if self._in_flight.pending or self.messages < self._most(limit) else "messages"

    def _most(self, limit: int | None) -> float:
        most, announced = (
            self._options.max_messages_per_connection,
            self._driver.session.extensions.max_messages,
        )
        if announced is not None and announced < most:
            most = announced
        return most if limit is None else min(most, limit)

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
        about BDAT on this server; `take_chunking` returns what the message has shown.

        Raises:
            SMTPException: with its outcome. `spent` says whether the connection can go on.
            InvalidMessageError: before anything was sent.
        """
        self._timeouts.latest = latest
        started, job.in_flight = job.in_flight, None
        if started is not None:
            try:
                return await self._in_flight.result(started)
            finally:
                self._used_at = time.monotonic()
        session = self._driver.session
        waiter = self._driver.stream.waiter
        if waiter is not BLOCKING and job.is_large:
            prepared = await waiter.call(functools.partial(self._prepare, job), None)
        else:
            prepared = self._prepare(job)
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
        )
        job.session = session
        try:
            delivery = await self._driver.run(transaction, self._timeouts)
        except SMTPDeliveryUnknown:
            job.was_sent = True
            raise
        except BaseException as error:
            if not isinstance(error, Exception):
                # Interrupted or cancelled: then only the session knows how far it had come.
                vars(error)["outcome"] = (
                    Outcome.UNKNOWN if job.may_be_delivered else Outcome.NOT_SENT
                )
            raise
        else:
            job.was_sent = True
            return delivery
        finally:
            job.session = None
            self._used_at = time.monotonic()

    def take_chunking(self) -> Chunking | None:
        """What messages have shown about BDAT since the last call, or None."""
        session = self._driver.session
        shown, session.chunking = session.chunking, None
        return shown

    @property
    def stalled_in_group(self) -> bool:
        """True where the server answered the first commands of a write, and then nothing more."""
        return self._driver.session.stalled_in_group

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self._used_at < _FRESH

    def start(self, job: Job, lease: Lease[Any], *, limit: int | None) -> bool:
        """Start a message after those in flight, and wait for nothing; `deliver` has its result.

        False where it has to wait for the others: only small messages that need one round
        trip can be started so, on a server on which BDAT has worked, and no more than
        ``limit`` over one connection.
        """
        session = self._driver.session
        if session.is_lmtp or not self.is_one_flight:
            return False
        if self.messages + len(self._in_flight.pending) >= self._most(limit):
            return False
        if not (self.is_ready if self._in_flight.pending else self._is_fresh and self.is_alive()):
            return False
        try:
            prepared = self._prepare(job)
        except (SMTPException, ValueError):
            return False  # `deliver` raises it when its turn comes.
        most = session.extensions.max_recipients
        recipients = len(prepared.envelope.forward_paths)
        if not fits_one_flight(prepared.content) or (most is not None and recipients > most):
            return False
        transaction = deliver(
            session,
            prepared.envelope,
            prepared.content,
            chunking=Chunking.PROVED,
            follows_another=True,
        )
        job.in_flight = self._in_flight.start(lease, transaction)
        return True

    def _prepare(self, job: Job) -> Prepared:
        session = self._driver.session
        return job.prepare(session.extensions, is_tls=session.is_tls, fast=self._options.fast_paths)

    async def settle(self) -> None:
        """Wait for all that are in flight. Interrupted, the connection cannot go on."""
        await self._in_flight.settle(self._options.deadline)

    # For the pool

    def is_alive(self) -> bool:
        """False where the server has hung up, or sent anything unasked. Never waits.

        Not for while messages are in flight: their replies come at any time.
        """
        if not self.is_ready:
            return False
        if not self._driver.stream.is_quiet():
            # What came is consumed: the next look would find nothing.
            self._driver.session.close()
        return self.is_ready

    def close(self) -> None:
        """Send QUIT where the server can take it, and hang up. Its reply is not awaited."""
        try:
            if self._driver.session.is_reusable:
                dialogue.quit_now(self._driver.session)
                self._driver.send_at_once()
        except OSError:
            logger.debug("QUIT could not be sent", exc_info=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the descriptor without a byte on the wire."""
        self._driver.session.close()
        self._driver.stream.abort()
        self._in_flight.abandon()


async def _own_name(stream: Stream, timeouts: Timeouts) -> str:
    """This host's name, or an address literal where the resolver takes too long."""
    if not _known_names:
        seconds = timeouts.for_reply().remaining()
        with contextlib.suppress(TimeoutError, RuntimeError):
            name = await stream.waiter.call(
                functools.partial(own_name, stream.sock),
                _NAME_SECONDS if seconds is None else min(_NAME_SECONDS, max(0.0, seconds / 2)),
            )
            _known_names.append(name)
    return _known_names[0] if _known_names else address_literal(stream.sock)


def _introduction(session: Session, options: Options, name: str) -> Dialogue[None]:
    yield from dialogue.greeting(session)
    yield from dialogue.hello(session, name)
    if options.security == "starttls":
        yield from dialogue.starttls(session, name)


def _derives_keys(session: Session) -> bool:
    """True where the server may ask for as many rounds of SCRAM as it likes (RFC 5802)."""
    return any(name.startswith("SCRAM-") for name in session.extensions.auth_mechanisms)


async def _dial(options: Options, timeouts: Timeouts, waiter: Waiter) -> Stream:
    deadline = timeouts.for_connect()
    try:
        if options.socket_path is not None:
            return Stream(await dial_unix(options.socket_path, deadline, waiter), waiter)
        sock = await dial(
            options.host.strip("[]"),
            options.server_port,
            deadline,
            source_address=options.source_address,
            waiter=waiter,
        )
        return Stream(sock, waiter)
    except SMTPException:
        raise
    except TimeoutError as error:
        raise SMTPTimeoutError(f"{deadline.exceeded()} to {options.server}") from error
    except OSError as error:
        raise SMTPConnectionError.because_of(error, options.server) from error


def _timeouts(options: Options) -> Timeouts:
    return Timeouts(
        connect=options.connect_timeout or options.timeout,
        command=options.timeout,
        content=options.content_timeout,
    )


def _trace(server: str) -> Callable[[str], None]:
    return functools.partial(logger.debug, "%s %s", server)
