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
from mailbackends.mailer.options import Options
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.submission import Job, Submission
from mailbackends.pool import Lease
from mailbackends.protocol.transaction import Delivery

__all__ = ["Dispatcher", "Leases"]

logger = logging.getLogger("mailbackends.mailer")

# A server that stumbled over grouped commands gets them one by one for so long (seconds):
# it may have been restarted for other reasons, and its administrator may mend it.
_LOCK_STEP_SECONDS = 600.0

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
        self._lock_step_until = 0.0

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
        latest = None if self._options.deadline is None else started + self._options.deadline
        lock_step = started < self._lock_step_until
        fresh = False
        while True:
            try:
                lease = leases.acquire(deadline=latest, fresh=fresh)
                delivery = self._over(lease, leases, job, latest, lock_step=lock_step)
            except _Retry as retry:
                # Each way is gone once: first to a new connection, then to lock-step.
                fresh, lock_step = True, retry.lock_step
                continue
            except SMTPException as error:
                error.server = self._options.server
                error.outcome = error.outcome or Outcome.NOT_SENT
                raise
            if lock_step:
                self._remember_lock_step()
            return delivery

    def _over(
        self,
        lease: Lease[Connection],
        leases: Leases,
        job: Job,
        latest: float | None,
        *,
        lock_step: bool,
    ) -> Delivery:
        connection = lease.connection
        reusable = False
        try:
            delivery = connection.deliver(job, latest, lock_step=lock_step)
            reusable = connection.is_reusable
            return delivery
        except SMTPException as error:
            reusable = connection.is_reusable
            was_grouped = connection.is_pipelined and not lock_step
            if was_grouped and isinstance(error, SMTPDeliveryUnknown):
                self._remember_lock_step()
            if lease.is_reused and _is_broken(error):
                # The server hung up while the connection lay idle: nothing was sent.
                logger.info("%s: a pooled connection was dead, trying a new one", error)
                raise _Retry(lock_step=lock_step) from error
            if was_grouped and (_is_out_of_order(error) or (_is_broken(error) and not error.reply)):
                logger.warning("%s: trying again with one command at a time", error)
                raise _Retry(lock_step=True) from error
            raise
        except (InvalidAddressError, InvalidMessageError):
            reusable = connection.is_reusable
            raise
        finally:
            spent = "" if reusable else "messages" if connection.is_ready else "error"
            leases.release(lease, reusable=reusable, reason=spent)

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

    def _remember_lock_step(self) -> None:
        self._lock_step_until = time.monotonic() + _LOCK_STEP_SECONDS


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
