"""What becomes of a message: pure functions, without clock, database or network.

They return a `Change`, which a store writes as it is. Times are seconds from the database's now.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Set

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
from mailbackends.outbox.policy import DEFAULT_POLICY, Jitter, RetryPolicy, retry_delay
from mailbackends.outbox.state import CANCELLABLE, LEASED, TRANSITIONS, RecipientState, State
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
    "cancelled",
    "expired",
    "final_state",
    "lease_expired",
    "parked",
    "recorded",
    "resent",
    "resolved",
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
    if isinstance(result, InvalidAddressError | InvalidMessageError | SMTPNotSupportedError):
        return parked(message, f"{type(result).__name__}: {result}", worker=worker)
    attempt = _Attempt(message, result)
    text = one_line(str(result)) or type(result).__name__
    log = LogEntry("attempt", text, worker)
    return _with_state(
        message,
        attempt.changes,
        log,
        policy,
        delay=_delay(message, result, policy, jitter),
        lease_by=worker,
        attempted=message.pending,
        reason="" if isinstance(result, Receipt) and not result.refused else text,
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
            return parked(
                message,
                f"{lost} workers in a row died while they had claimed this message: look at "
                "their logs before you send it again",
            )
        # At once after the first, since it says more about the worker than about the message.
        delay = 0.0 if lost == 1 else retry_delay(lost - 1, policy, jitter)
        reason = "the worker stopped before the message was sent"
        log = LogEntry("lease expired", reason)
        return _change(message, State.QUEUED, {}, log, delay=delay, reason=reason, lost_leases=lost)
    reason = "the worker stopped while the message was being sent: it may have been delivered"
    changes = dict.fromkeys(message.pending, RecipientChange(_unknown(message)))
    return _with_state(
        message,
        changes,
        LogEntry("lease expired", reason),
        policy,
        delay=retry_delay(message.attempts, policy, jitter),
        reason=reason,
        attempted=message.pending,
    )


def expired(message: OutboxMessage, reason: str = "it could not be sent in time") -> Change:
    """What to write if a queued message is past ``expires_at``."""
    changes = dict.fromkeys(message.pending, RecipientChange(_R.EXPIRED))
    log = LogEntry("expired", reason)
    state = final_state(_after(message, changes).values())
    if state is not State.UNKNOWN:
        state = State.EXPIRED
    return _change(message, state, changes, log, reason=reason, before={State.QUEUED})


def parked(message: OutboxMessage, reason: str, *, worker: str | None = None) -> Change:
    """What to write for a message that cannot be read or prepared: it blocks nothing any more."""
    reason = one_line(reason)
    log = LogEntry("parked", reason, worker or "")
    return _change(message, State.PARKED, {}, log, reason=reason, lease_by=worker)


def cancelled(message: OutboxMessage, *, by: str = "") -> Change:
    """What to write to cancel a message: possible until `Store.begin` was committed.

    Raises:
        ValueError: its state does not allow it.
    """
    changes = dict.fromkeys(message.pending, RecipientChange(_R.CANCELLED))
    if message.state not in CANCELLABLE:
        raise ValueError(f"a message that is {message.state} cannot be cancelled: it is too late")
    log = LogEntry("cancelled", by=by)
    return _change(message, State.CANCELLED, changes, log, before=CANCELLABLE, any_lease=True)


def resent(message: OutboxMessage, *, by: str = "", everyone: bool = False) -> Change:
    """What to write to send a message again, to the recipients who do not have it for certain.

    With ``everyone`` also to those who were accepted. Its ``expires_at`` is cleared.

    Raises:
        ValueError: a worker has it, or nobody is left.
    """
    if message.state in LEASED:
        raise ValueError(f"a message that is {message.state} is being sent: wait for its outcome")
    again = [r for r in message.recipients if everyone or r.state is not _R.ACCEPTED]
    if not again:
        raise ValueError("all recipients have it: resend to everyone if they need another copy")
    changes = {r.address: RecipientChange(_R.PENDING) for r in again}
    return _change(
        message,
        State.QUEUED,
        changes,
        LogEntry("resent", by=by),
        delay=0.0,
        before={message.state},
        clear_expiry=True,
    )


def resolved(message: OutboxMessage, *, arrived: bool, by: str = "", text: str = "") -> Change:
    """What to write if somebody, or a delivery status notification, resolved an unknown outcome.

    Raises:
        ValueError: its outcome is not unknown.
    """
    if message.state is not State.UNKNOWN:
        raise ValueError(f"the outcome of a message that is {message.state} needs no resolving")
    state = _R.ACCEPTED if arrived else _R.REFUSED
    changes = {
        r.address: RecipientChange(state) for r in message.recipients if r.state is _R.UNKNOWN
    }
    text = text or ("it arrived" if arrived else "it did not arrive")
    after = final_state(_after(message, changes).values())
    log = LogEntry("resolved", text, by)
    return _change(message, after, changes, log, before={State.UNKNOWN}, reason=text)


def final_state(states: Iterable[RecipientState]) -> State:
    """The state of a message with these recipients, none of whom is pending."""
    seen = set(states)
    if _R.UNKNOWN in seen:
        return State.UNKNOWN
    if _R.ACCEPTED in seen:
        return State.ACCEPTED
    for state in (_R.EXPIRED, _R.CANCELLED):
        if state in seen:
            return State(state.value)
    return State.REFUSED


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
    left = [to for to, state in _after(message, changes).items() if state is _R.PENDING]
    most = policy.max_attempts
    if left and (most is None or message.attempts < most):
        state = State.QUEUED
    else:
        if left:
            reason = f"given up after {message.attempts} attempts: {reason}"
            for to in left:
                old = changes.get(to, RecipientChange(_R.EXPIRED))
                changes[to] = RecipientChange(_R.EXPIRED, old.reply, old.server)
        state = final_state(_after(message, changes).values())
    return _change(
        message,
        state,
        changes,
        log,
        delay=delay if state is State.QUEUED else None,
        reason=reason,
        lease_by=lease_by,
        attempted=attempted,
    )


def _change(
    message: OutboxMessage,
    state: State,
    changes: Mapping[str, RecipientChange],
    log: LogEntry,
    *,
    delay: float | None = None,
    reason: str = "",
    before: Set[State] | None = None,
    lease_by: str | None = None,
    lost_leases: int = 0,
    attempted: tuple[str, ...] = (),
    any_lease: bool = False,
    clear_expiry: bool = False,
) -> Change:
    if before is None:
        # A worker's own lease is identified by its name, and it may be late: the sweep may have
        # made the outcome unknown, which the reply now resolves.
        before = {*LEASED, State.UNKNOWN} if lease_by is not None else {message.state}
    return Change(
        id=message.id,
        before=frozenset(each for each in before if state in TRANSITIONS[each]),
        state=state,
        recipients=dict(changes),
        delay=delay,
        reason=reason,
        log=log,
        lease_by=lease_by,
        attempts=None if any_lease else message.attempts,
        lost_leases=lost_leases,
        attempted=attempted,
        clear_expiry=clear_expiry,
    )


def _after(
    message: OutboxMessage, changes: Mapping[str, RecipientChange]
) -> dict[str, RecipientState]:
    return {
        r.address: changes[r.address].state if r.address in changes else r.state
        for r in message.recipients
    }
