"""One message to one server: over one connection, or a second one where that can do no harm."""

from __future__ import annotations

import logging
from typing import NamedTuple, TypeGuard

from mailbackends.errors import (
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    PoolTimeout,
    SMTPDataError,
    SMTPException,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.leases import Leases
from mailbackends.mailer.options import Options
from mailbackends.mailer.quirks import ServerQuirks
from mailbackends.mailer.recipients import RecipientSplit
from mailbackends.mailer.submission import Job
from mailbackends.pool import Lease
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.transaction import Delivery
from mailbackends.reply import Reply

__all__ = ["Deadlines", "Dispatcher"]

logger: logging.Logger = logging.getLogger("mailbackends.mailer")

# Replies of servers to commands that came before they were asked for.
_OUT_OF_ORDER = frozenset({500, 503})


class Deadlines(NamedTuple):
    """Two points on the monotonic clock, in seconds; None means no deadline."""

    connected: float | None
    """When there must be a connection."""
    done: float | None
    """When the message must be sent."""


class Dispatcher:
    """Sends messages over connections to one server. Thread-safe."""

    def __init__(self, options: Options) -> None:
        self._server = options.server
        self._wording = options.wording
        self._quirks = ServerQuirks()

    async def send(
        self, job: Job, recipients: tuple[str, ...], leases: Leases, deadlines: Deadlines
    ) -> Delivery:
        """Send one message, in parts if the server limits the recipients of one.

        Raises:
            InvalidAddressError, InvalidMessageError: nothing was sent.
            SMTPException: with its outcome.
        """
        split = RecipientSplit(recipients)
        while split.left:
            # A message in flight went to all of them, whatever limit was noticed since.
            part = split.left if job.in_flight else split.left[: self._quirks.max_recipients]
            try:
                delivery = await self._send_part(job, part, leases, deadlines)
                limit = split.delivered(delivery)
                if split.left:
                    await job.note_part(delivery, split.left)
            except (InvalidAddressError, InvalidMessageError) as error:
                error.wording = self._wording
                split.failed(error)
            except SMTPException as error:
                error.server, error.wording = self._server, self._wording
                error.outcome = error.outcome or Outcome.NOT_SENT
                split.failed(error)
            else:
                if limit is not None:
                    self._quirks.note_max_recipients(limit)
        return split.result

    def start(self, job: Job, lease: Lease[Connection]) -> bool:
        """Start a message over this connection, after those that are in flight there.

        `send` has its result. False if it has to wait for the others.
        """
        recipients, most = len(job.envelope.forward_paths), self._quirks.max_recipients
        if self._quirks.needs_lock_step or (most is not None and recipients > most):
            return False
        if self._quirks.chunking is not Chunking.PROVED:
            return False
        return lease.connection.start(job, lease, limit=self._quirks.max_messages)

    async def _send_part(
        self, job: Job, recipients: tuple[str, ...], leases: Leases, deadlines: Deadlines
    ) -> Delivery:
        quirks = self._quirks
        lock_step = was_known = quirks.needs_lock_step
        fresh = False
        before: SMTPException | None = None
        while True:
            lease: Lease[Connection] | None = None
            try:
                if job.in_flight is not None:
                    lease = job.in_flight.lease
                else:
                    lease = await leases.acquire(deadline=deadlines.connected, fresh=fresh)
                delivery = await lease.connection.deliver(
                    job, recipients, deadlines.done, lock_step=lock_step, chunking=quirks.chunking
                )
            except (InvalidAddressError, InvalidMessageError):
                raise
            except SMTPException as error:
                if before is not None and not _says_nothing(before):
                    before.server, before.wording = self._server, self._wording
                    error.earlier = (before,)
                if lease is None and _may_concern_the_connection(before):
                    # The answer of the server to this message, which it did give.
                    quirks.note_refuses_new_connections()
                    raise before from error
                if lease is None:
                    # A busy pool may be free again for the next message of a batch.
                    error.no_connection = not isinstance(error, PoolTimeout)
                    raise
                # Each way is tried once: first a new connection, then lock-step.
                lock_step = self._retry(error, lease, lock_step=lock_step, is_first=not fresh)
                before, fresh = error, True
            else:
                self._quirks.note_accepted()
                if lock_step and not was_known:
                    quirks.note_lock_step()
                return delivery
            finally:
                # On every way out, whatever the exception.
                if lease is not None:
                    session = lease.connection.session
                    if session.chunking is not None:
                        quirks.note_chunking(session.take_chunking())
                leases.release(lease, limit=quirks.max_messages)

    def _retry(
        self, error: SMTPException, lease: Lease[Connection], *, lock_step: bool, is_first: bool
    ) -> bool:
        """Whether to try again in lock-step, over a new connection in any case.

        ``is_first`` is for the first try of the message at this server.

        Raises:
            SMTPException: the error, where the message must not or need not be tried again.
        """
        connection = lease.connection
        if connection.messages > 1 and _says_too_many_messages(error):
            # Noted before the release, so that this connection is retired.
            self._quirks.note_max_messages(connection.messages - 1)
            logger.info("%s: sending over a new connection", error)
            return lock_step
        if _may_concern_the_connection(error):
            if connection.messages == 1:
                # A new connection does not help.
                self._quirks.note_refuses_new_connections()
            elif is_first and not self._quirks.refuses_new_connections:
                connection.retire()
                logger.info("%s: sending over a new connection", error)
                return lock_step
        was_grouped = connection.is_pipelined and not lock_step
        shown = connection.session.take_chunking()
        self._quirks.note_chunking(shown)
        if shown is Chunking.OFF and _is_broken(error):
            logger.warning("%s: trying again without BDAT", error)
            return lock_step
        if connection.session.stalled_in_group and isinstance(error, SMTPTimeoutError):
            # It may have thrown away what came in one write. It may as well be overloaded: this
            # message does not wait a second time, but the next one goes in lock-step.
            self._quirks.note_lock_step()
        if lease.is_reused and _is_broken(error):
            # After refusals it may be for too many errors, as from Postfix.
            is_limit = error.reply is not None and _may_be_a_limit(error.reply)
            if is_limit and not connection.refusals:
                self._quirks.note_max_messages(connection.messages - 1)
            # The server hung up while the connection was idle: nothing was sent.
            logger.info("%s: a pooled connection was dead, trying a new one", error)
            return lock_step
        if was_grouped and (_is_out_of_order(error) or _breaks_without_reason(error)):
            logger.warning("%s: trying again with one command at a time", error)
            return True
        raise error


def _is_broken(error: SMTPException) -> bool:
    """True if the connection failed and the end of the content was never sent."""
    return error.outcome is Outcome.NOT_SENT and isinstance(
        error, SMTPServerDisconnected | SMTPProtocolError
    )


def _says_too_many_messages(error: SMTPException) -> bool:
    """True for a 452 to MAIL about the connection, and not about a full disk (X.3.1).

    OpenSMTPD answers so, with 4.5.3, and keeps the connection open: for each message after its
    limit. RFC 3463 has no code for it, so that others may send none.
    """
    if not isinstance(error, SMTPSenderRefused) or error.reply is None:
        return False
    status = error.reply.enhanced
    return error.reply.code == 452 and (
        status is None or (status.subject, status.detail) in ((5, 3), (4, 5), (7, 0))
    )


def _may_concern_the_connection(error: SMTPException | None) -> TypeGuard[SMTPSenderRefused]:
    """True for a temporary refusal of MAIL that may be over with a new connection.

    Haraka's reason is ``450 Too many errors``. Not for a reason that certainly stays (RFC 3463):
    X.1, the address; X.2, the mailbox; X.3, the system, a full disk for example; X.6, the content.
    """
    if not isinstance(error, SMTPSenderRefused) or error.reply is None:
        return False
    status = error.reply.enhanced
    is_temporary = 400 <= error.reply.code < 500 and error.outcome is Outcome.REFUSED
    return is_temporary and (status is None or status.subject not in (1, 2, 3, 6))


def _says_nothing(error: SMTPException) -> bool:
    """True if the connection was closed without a word, as many are after a while."""
    return type(error) is SMTPServerDisconnected and error.reply is None


def _breaks_without_reason(error: SMTPException) -> bool:
    """True if the server may have failed because several commands came in one write.

    Not if it does not answer at all: another connection would wait as long.
    """
    return _is_broken(error) and not error.reply and not isinstance(error, SMTPTimeoutError)


def _may_be_a_limit(reply: Reply) -> bool:
    """True for a 421 that gives no other reason, such as one that passes within a minute.

    RFC 3463: X.3.2, a system that is being shut down; X.4.2, one that waited too long.
    """
    status = reply.enhanced
    return status is None or (status.subject, status.detail) not in ((3, 2), (4, 2))


def _is_out_of_order(error: SMTPException) -> bool:
    """True if the server seems not to support PIPELINING although it announced it."""
    return (
        # MAIL may be the second of its group, after RSET.
        isinstance(error, SMTPSenderRefused | SMTPRecipientsRefused | SMTPDataError)
        and error.reply is not None
        and error.reply.code in _OUT_OF_ORDER
    )
