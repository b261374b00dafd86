"""One message over one connection, or over a second one where that can do no harm."""

from __future__ import annotations

import logging
from dataclasses import dataclass
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
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.quirks import ServerQuirks
from mailbackends.mailer.recipient_split import RecipientSplit
from mailbackends.mailer.submission import Job
from mailbackends.pool import Lease
from mailbackends.protocol.transaction import Delivery
from mailbackends.reply import Reply

__all__ = ["Deadlines", "Dispatcher", "Leases"]

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


@dataclass(slots=True)
class Deadlines:
    """Two points on the monotonic clock, in seconds; None never comes."""

    connected: float | None
    """When a connection must be there."""
    done: float | None
    """When the message must be sent."""


class Dispatcher:
    """Sends messages over connections to one server. Thread-safe."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._learned = ServerQuirks()

    def send(
        self, job: Job, recipients: tuple[str, ...], leases: Leases, until: Deadlines
    ) -> Delivery:
        """Send one message, in parts where the server takes only so many recipients.

        Raises:
            InvalidAddressError, InvalidMessageError: nothing was sent.
            SMTPException: ``outcome`` tells what became of it.
        """
        parts = RecipientSplit(recipients)
        while parts.left:
            # What was begun goes to all of them, whatever was learned meanwhile.
            part = parts.left if job.flight else parts.left[: self._learned.max_recipients]
            try:
                limit = parts.delivered(self._deliver_part(job, part, leases, until))
            except (InvalidAddressError, InvalidMessageError):
                raise
            except SMTPException as error:
                error.server = self._server
                error.outcome = error.outcome or Outcome.NOT_SENT
                parts.failed(error)
            else:
                if limit is not None:
                    self._learned.took_recipients(limit)
        return parts.result

    def begin(self, job: Job, lease: Lease[Connection]) -> bool:
        """Begin a message over this connection, behind those that are on their way there.

        `send` tells what came of it. False where it has to wait for the others.
        """
        recipients, most = len(job.envelope.forward_paths), self._learned.max_recipients
        if self._learned.needs_lock_step or (most is not None and recipients > most):
            return False
        return lease.connection.begin(job, lease, limit=self._learned.max_messages)

    def _deliver_part(
        self, job: Job, recipients: tuple[str, ...], leases: Leases, until: Deadlines
    ) -> Delivery:
        lock_step = was_known = self._learned.needs_lock_step
        fresh = False
        while True:
            try:
                if job.flight is not None:
                    lease = job.flight.lease
                else:
                    lease = leases.acquire(deadline=until.connected, fresh=fresh)
            except SMTPException as error:
                error.no_connection = True
                raise
            try:
                delivery = self._over(
                    lease, leases, job, recipients, until.done, lock_step=lock_step
                )
            except _Retry as retry:
                # Each way is gone once: first to a new connection, then to lock-step.
                fresh, lock_step = True, retry.lock_step
                continue
            if lock_step and not was_known:
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
            if not lock_step and connection.is_one_flight and _is_unknown(error):
                # The flight may be what broke it. Behind a 354 it was not.
                self._learned.stumbled_over_groups()
            if lease.is_reused and _is_broken(error):
                if error.reply is not None and _may_be_a_limit(error.reply):
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
            spent = connection.spent(self._learned.max_messages)
            leases.release(lease, reusable=not spent, reason=spent)


class _Retry(Exception):
    def __init__(self, *, lock_step: bool) -> None:
        super().__init__()
        self.lock_step = lock_step


def _is_broken(error: SMTPException) -> bool:
    """True where the connection failed and the end of the content was never sent."""
    return error.outcome is Outcome.NOT_SENT and isinstance(
        error, SMTPServerDisconnected | SMTPProtocolError
    )


def _may_be_a_limit(reply: Reply) -> bool:
    """True for a 421 that does not tell of something else, which is over in a minute.

    RFC 3463: X.3.2, a system that is being shut down; X.4.2, one that waited too long.
    """
    status = reply.enhanced
    return status is None or (status.subject, status.detail) not in ((3, 2), (4, 2))


def _is_unknown(error: SMTPException) -> bool:
    return isinstance(error, SMTPDeliveryUnknown)


def _is_out_of_order(error: SMTPException) -> bool:
    """True where the server seems not to know grouped commands though it announced them."""
    return (
        # MAIL may be the second of its group, behind RSET.
        isinstance(error, SMTPSenderRefused | SMTPRecipientsRefused | SMTPDataError)
        and error.reply is not None
        and error.reply.code in _OUT_OF_ORDER
    )
