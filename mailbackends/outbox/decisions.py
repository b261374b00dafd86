"""What becomes of a message: pure functions, without clock, database or network.

They return a `Change`, which a store writes as it is. Times are seconds from the database's now.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace

from mailbackends.errors import (
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    RateLimited,
    SMTPException,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
)
from mailbackends.mailer.submission import Receipt
from mailbackends.outbox.changes import change_to, final_state, states_after
from mailbackends.outbox.policy import DEFAULT_POLICY, Jitter, RetryPolicy, retry_delay
from mailbackends.outbox.state import RecipientState, State
from mailbackends.outbox.values import (
    Change,
    LogEntry,
    OnUnknown,
    OutboxMessage,
    RecipientChange,
)
from mailbackends.reply import Reply
from mailbackends.texts import one_line

__all__ = [
    "expired",
    "lease_expired",
    "parked",
    "partly_recorded",
    "recorded",
    "with_change",
    "with_earlier",
]

_R = RecipientState


def recorded(
    message: OutboxMessage,
    result: Receipt | Exception,
    *,
    worker: str,
    policy: RetryPolicy = DEFAULT_POLICY,
    jitter: Jitter = random.random,
) -> Change:
    """What to write after an attempt that returned a receipt or raised an exception.

    ``message`` is as it was claimed: a recipient who was accepted before stays accepted. An
    exception that is not an `SMTPException` needs an attribute ``outcome``; without one the
    outcome is unknown.
    """
    attempt = _Attempt(message, result)
    if isinstance(result, InvalidAddressError | InvalidMessageError | SMTPNotSupportedError):
        served = {
            to: change for to, change in attempt.changes.items() if change.state is not _R.PENDING
        }
        change = parked(message, f"{type(result).__name__}: {result}", worker=worker)
        return replace(change, recipients=served, attempted=tuple(served))
    text = one_line(str(result)) or type(result).__name__
    log = LogEntry("attempt", text, worker)
    return _with_state(
        message,
        attempt.changes,
        log,
        policy,
        delay=_delay(message, result, policy, jitter),
        lease_by=message.lease_by,
        attempted=message.pending,
        reason="" if isinstance(result, Receipt) and not result.refused else text,
    )


def partly_recorded(message: OutboxMessage, receipt: Receipt, *, worker: str) -> Change:
    """What to write once a server has taken the message for some, and others are left.

    Their transaction has not begun: if the worker dies now, it is them that another one sends to.
    """
    changes = {
        to: change
        for to, change in _Attempt(message, receipt).changes.items()
        if to in receipt.accepted or to in receipt.refused
    }
    change = change_to(
        message,
        State.CLAIMED,
        changes,
        LogEntry("attempt", one_line(str(receipt)), worker),
        before={State.BEGUN},
        lease_by=message.lease_by,
        attempted=tuple(changes),
    )
    return replace(change, lost_leases=message.lost_leases)


def with_change(message: OutboxMessage, change: Change) -> OutboxMessage:
    """The message with its recipients as they are after the change."""
    states = states_after(message, change.recipients)
    recipients = tuple(replace(each, state=states[each.address]) for each in message.recipients)
    return replace(message, recipients=recipients)


def with_earlier(change: Change, earlier: Change | None) -> Change:
    """The change with what an earlier one, which was not recorded, says about recipients."""
    if earlier is None:
        return change
    return replace(
        change,
        recipients={**earlier.recipients, **change.recipients},
        attempted=tuple(dict.fromkeys((*earlier.attempted, *change.attempted))),
    )


def lease_expired(
    message: OutboxMessage,
    *,
    policy: RetryPolicy = DEFAULT_POLICY,
    jitter: Jitter = random.random,
) -> Change:
    """What to write if the lease on a claimed or begun message has expired.

    Claimed means that nothing of the content's end has left: it is sent again. Begun means that
    it may have, and nobody can know any more; see `OnUnknown`.
    """
    if message.state is State.CLAIMED:
        lost = message.lost_leases + 1
        if lost >= policy.max_lost_leases:
            return replace(
                parked(
                    message,
                    f"{lost} workers in a row died while they had claimed this message: look at "
                    "their logs before you send it again",
                ),
                is_lease_over=True,
            )
        # At once after the first, since it says more about the worker than about the message.
        delay = 0.0 if lost == 1 else retry_delay(lost - 1, policy, jitter)
        reason = "the worker stopped before the message was sent"
        log = LogEntry("lease expired", reason)
        change = change_to(
            message, State.QUEUED, {}, log, delay=delay, reason=reason, lost_leases=lost
        )
        return replace(change, is_lease_over=True)
    reason = "the worker stopped while the message was being sent: it may have been delivered"
    changes = dict.fromkeys(message.pending, RecipientChange(_unknown(message)))
    change = _with_state(
        message,
        changes,
        LogEntry("lease expired", reason),
        policy,
        delay=retry_delay(message.attempts, policy, jitter),
        reason=reason,
        attempted=message.pending,
    )
    return replace(change, is_lease_over=True)


def expired(message: OutboxMessage, reason: str = "it could not be sent in time") -> Change:
    """What to write if a queued message is past ``expires_at``."""
    changes = dict.fromkeys(message.pending, RecipientChange(_R.EXPIRED))
    log = LogEntry("expired", reason)
    state = final_state(states_after(message, changes).values())
    if state is not State.UNKNOWN:
        state = State.EXPIRED
    return change_to(message, state, changes, log, reason=reason, before={State.QUEUED})


def parked(message: OutboxMessage, reason: str, *, worker: str | None = None) -> Change:
    """What to write for a message that cannot be read or prepared: it blocks nothing any more."""
    reason = one_line(reason)
    log = LogEntry("parked", reason, worker or "")
    lease_by = None if worker is None else message.lease_by
    return change_to(message, State.PARKED, {}, log, reason=reason, lease_by=lease_by)


class _Attempt:
    """The new state of each pending recipient, as the receipt or exception shows it."""

    def __init__(self, message: OutboxMessage, result: Receipt | Exception) -> None:
        self.changes: dict[str, RecipientChange] = {}
        self._server = getattr(result, "server", None) or ""
        pending = message.pending
        if isinstance(result, Receipt):
            self._accepted(result.accepted, result.reply)
            self._refused(result.refused)
            # A receipt accounts for everyone: of whom it does not name, nothing is certain.
            rest = RecipientChange(_unknown(message))
        else:
            self._accepted(getattr(result, "accepted", ()), None)
            self._refused(getattr(result, "refused", {}))
            rest = self._rest(message, result)
        self.changes = {to: self.changes.get(to, rest) for to in pending}
        # By the worker, or by a Mailer that has asked itself.
        suppressed = message.suppressed or getattr(result, "suppressed", None) or {}
        for to, entry in suppressed.items():
            self.changes[to] = RecipientChange(_R.SUPPRESSED, text=str(entry))

    def _accepted(self, addresses: Iterable[str], reply: Reply | None) -> None:
        change = RecipientChange(_R.ACCEPTED, reply, self._server)
        self.changes.update(dict.fromkeys(addresses, change))

    def _refused(self, replies: Mapping[str, Reply]) -> None:
        for to, reply in replies.items():
            self.changes[to] = self._refusal(reply)

    def _refusal(self, reply: Reply) -> RecipientChange:
        state = _R.PENDING if reply.is_transient else _R.REFUSED
        return RecipientChange(state, reply, self._server)

    def _rest(self, message: OutboxMessage, error: Exception) -> RecipientChange:
        """The change for the recipients that the exception does not name."""
        outcome = getattr(error, "outcome", None)
        if outcome is None and isinstance(error, SMTPException):
            outcome = Outcome.NOT_SENT
        reply = getattr(error, "reply", None)
        if outcome == Outcome.NOT_SENT:
            return RecipientChange(_R.PENDING, reply, self._server)
        if outcome == Outcome.REFUSED and not isinstance(error, SMTPRecipientsRefused):
            return self._refusal(reply) if reply else RecipientChange(_R.REFUSED)
        if outcome == Outcome.REFUSED:
            return RecipientChange(_R.PENDING)
        if outcome == Outcome.ACCEPTED:
            return RecipientChange(_R.ACCEPTED)
        if outcome == Outcome.SUPPRESSED:
            return RecipientChange(_R.SUPPRESSED)
        return RecipientChange(_unknown(message), None, self._server)


def _unknown(message: OutboxMessage) -> RecipientState:
    return _R.PENDING if message.on_unknown is OnUnknown.RESEND else _R.UNKNOWN


def _delay(
    message: OutboxMessage, result: Receipt | Exception, policy: RetryPolicy, jitter: Jitter
) -> float:
    if isinstance(result, RateLimited):
        return max(result.retry_after, 0.1)
    if getattr(result, "no_connection", False):
        return 0.0  # It waits for the end of the pause, with all others of its alias.
    return retry_delay(message.attempts, policy, jitter)


def _with_state(
    message: OutboxMessage,
    changes: dict[str, RecipientChange],
    log: LogEntry,
    policy: RetryPolicy,
    *,
    delay: float,
    reason: str,
    attempted: tuple[str, ...],
    lease_by: str | None = None,
) -> Change:
    """The change to the state that the recipients' states mean."""
    left = [to for to, state in states_after(message, changes).items() if state is _R.PENDING]
    most = policy.max_attempts
    if left and (most is None or message.attempts < most):
        state = State.QUEUED
    else:
        if left:
            reason = f"given up after {message.attempts} attempts: {reason}"
            for to in left:
                old = changes.get(to, RecipientChange(_R.EXPIRED))
                changes[to] = RecipientChange(_R.EXPIRED, old.reply, old.server)
        state = final_state(states_after(message, changes).values())
    return change_to(
        message,
        state,
        changes,
        log,
        delay=delay if state is State.QUEUED else None,
        reason=reason,
        lease_by=lease_by,
        attempted=attempted,
    )
