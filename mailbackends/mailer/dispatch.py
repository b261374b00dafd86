"""One message over one connection, or over a second one where that can do no harm."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Protocol

from mailbackends.errors import (
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPServerDisconnected,
)
from mailbackends.events import EventHook, MessageFailed, MessageSent
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.learned import Learned
from mailbackends.mailer.options import Options
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.split import Parts
from mailbackends.mailer.submission import Job, Submission
from mailbackends.pool import Lease
from mailbackends.protocol.transaction import Delivery

__all__ = ["Dispatcher", "Leases"]

logger = logging.getLogger("mailbackends.mailer")

# What servers say to commands that came before they were asked for.
_OUT_OF_ORDER = frozenset({500, 503})


class Leases(Protocol):
    """Where connections come from: the pool, or one that is held."""

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[Connection]:
        """A connection of one's own."""

    def release(
        self, lease: Lease[Connection], *, reusable: bool, messages: int = 1, reason: str = ""
    ) -> None:
        """Give it back."""


class Dispatcher:
    """Sends messages and keeps count of what became of them. Thread-safe."""

    def __init__(self, options: Options, emit: EventHook) -> None:
        self._options = options
        self._emit = emit
        self._lock = threading.Lock()
        self._outcomes: Counter[Outcome] = Counter()
        self._learned = Learned()

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """How many messages came to which end so far."""
        with self._lock:
            return dict(self._outcomes)

    def send(self, submission: Submission, leases: Leases) -> Receipt:
        """Send one message.

        Raises:
            InvalidAddressError, InvalidMessageError: nothing was sent.
            SMTPException: ``outcome`` tells what became of it.
        """
        started = time.monotonic()
        job: Job | None = None
        try:
            job = Job(submission)
            delivery = self._deliver(job, leases, started)
        except (SMTPException, InvalidAddressError, InvalidMessageError) as error:
            self._failed(error, job, started)
            raise
        return self._sent(delivery, job, started)

    def _deliver(self, job: Job, leases: Leases, started: float) -> Delivery:
        """Send the message, in parts where the server takes only so many recipients."""
        latest = None if self._options.deadline is None else started + self._options.deadline
        parts = Parts(job.envelope.forward_paths)
        while parts.left:
            part = parts.left[: self._learned.max_recipients]
            try:
                limit = parts.delivered(self._deliver_part(job, part, leases, latest))
            except SMTPException as error:
                error.server = self._options.server
                error.outcome = error.outcome or Outcome.NOT_SENT
                parts.failed(error)
            else:
                if limit is not None:
                    self._learned.took_recipients(limit)
        return parts.result

    def _deliver_part(
        self, job: Job, recipients: tuple[str, ...], leases: Leases, latest: float | None
    ) -> Delivery:
        lock_step = self._learned.needs_lock_step
        fresh = False
        while True:
            lease = leases.acquire(deadline=latest, fresh=fresh)
            try:
                delivery = self._over(lease, leases, job, recipients, latest, lock_step=lock_step)
            except _Retry as retry:
                # Each way is gone once: first to a new connection, then to lock-step.
                fresh, lock_step = True, retry.lock_step
                continue
            if lock_step:
                self._learned.stumbled_over_groups()
            return delivery

    def _over(
        self,
        lease: Lease[Connection],
        leases: Leases,
        job: Job,
        recipients: tuple[str, ...],
        latest: float | None,
        *,
        lock_step: bool,
    ) -> Delivery:
        connection = lease.connection
        try:
            return connection.deliver(job, recipients, latest, lock_step=lock_step)
        except SMTPException as error:
            was_grouped = connection.is_pipelined and not lock_step
            if was_grouped and isinstance(error, SMTPDeliveryUnknown):
                self._learned.stumbled_over_groups()
            if lease.is_reused and _is_broken(error):
                if error.reply is not None:  # a 421
                    self._learned.took_messages(connection.messages - 1)
                # The server hung up while the connection lay idle: nothing was sent.
                logger.info("%s: a pooled connection was dead, trying a new one", error)
                raise _Retry(lock_step=lock_step) from error
            if was_grouped and (_is_out_of_order(error) or (_is_broken(error) and not error.reply)):
                logger.warning("%s: trying again with one command at a time", error)
                raise _Retry(lock_step=True) from error
            raise
        finally:
            # On every way out, whatever the exception: the session says what it is worth.
            limit = self._learned.max_messages
            is_spent = limit is not None and connection.messages >= limit
            reusable = connection.is_reusable and not is_spent
            reason = "messages" if connection.is_ready else "error"
            leases.release(lease, reusable=reusable, reason=reason)

    def _sent(self, delivery: Delivery, job: Job, started: float) -> Receipt:
        if delivery.reply is None:  # pragma: no cover - a delivery has one by its contract
            raise RuntimeError("a delivery without a reply")
        receipt = Receipt(
            accepted=tuple(delivery.accepted),
            refused=dict(delivery.refused),
            reply=delivery.reply,
            message_id=job.message_id,
            duration=time.monotonic() - started,
        )
        self._count(Outcome.ACCEPTED)
        self._emit(
            MessageSent(
                accepted=len(receipt.accepted),
                refused=len(receipt.refused),
                size=job.size,
                duration=receipt.duration,
            )
        )
        if receipt.refused:
            logger.warning("partial refusal: %s", receipt)
        return receipt

    def _failed(self, error: Exception, job: Job | None, started: float) -> None:
        self._count(getattr(error, "outcome", None) or Outcome.NOT_SENT)
        self._emit(
            MessageFailed.because_of(
                error,
                duration=time.monotonic() - started,
                recipients=len(job.envelope.forward_paths) if job else 0,
                size=job.size if job else None,
            )
        )

    def _count(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes[outcome] += 1


class _Retry(Exception):
    def __init__(self, *, lock_step: bool) -> None:
        super().__init__()
        self.lock_step = lock_step


def _is_broken(error: SMTPException) -> bool:
    """True where the connection failed and the end of the content was never sent."""
    return error.outcome is Outcome.NOT_SENT and isinstance(
        error, SMTPServerDisconnected | SMTPProtocolError
    )


def _is_out_of_order(error: SMTPException) -> bool:
    """True where the server seems not to know grouped commands though it announced them."""
    return (
        isinstance(error, SMTPRecipientsRefused | SMTPDataError)
        and error.reply is not None
        and error.reply.code in _OUT_OF_ORDER
    )
