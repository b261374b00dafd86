"""What people decide about a message, and reports of its delivery: pure, as `decisions`."""

from __future__ import annotations

from contextlib import suppress

from mailbackends.errors import ConfigurationError, InvalidAddressError
from mailbackends.mime.address import to_ascii
from mailbackends.outbox.changes import change_to, final_state, states_after
from mailbackends.outbox.state import CANCELLABLE, LEASED, RecipientState, State
from mailbackends.outbox.values import Change, LogEntry, OutboxMessage, RecipientChange
from mailbackends.outcome import Outcome
from mailbackends.texts import one_line

__all__ = ["cancelled", "resent", "resolved", "settled"]

_R = RecipientState
_LONGEST_NAME = 200  # characters in the log's column


def cancelled(message: OutboxMessage, *, by: str = "") -> Change:
    """What to write to cancel a message: possible until `Store.begin` was committed.

    Raises:
        ValueError: its state does not allow it.
    """
    changes = dict.fromkeys(message.pending, RecipientChange(_R.CANCELLED))
    if message.state not in CANCELLABLE:
        raise ValueError(f"a message that is {message.state} cannot be cancelled: it is too late")
    log = LogEntry("cancelled", by=by)
    return change_to(message, State.CANCELLED, changes, log, before=CANCELLABLE)


def resent(message: OutboxMessage, *, by: str = "", everyone: bool = False) -> Change:
    """What to write to send a message again, to the recipients who do not have it for certain.

    With ``everyone`` also to those who were accepted. Its ``expires_at`` is cleared, and its
    attempts are counted anew.

    Raises:
        ValueError: it waits already, a worker has it, or nobody is left.
    """
    if message.state in LEASED:
        raise ValueError(f"a message that is {message.state} is being sent: wait for its outcome")
    if message.state is State.QUEUED:
        raise ValueError("the message waits to be sent already: cancel it first to begin anew")
    again = [r for r in message.recipients if everyone or r.state is not _R.ACCEPTED]
    if not again:
        raise ValueError("all recipients have it: resend to everyone if they need another copy")
    changes = {r.address: RecipientChange(_R.PENDING) for r in again}
    return change_to(
        message,
        State.QUEUED,
        changes,
        LogEntry("resent", by=by),
        delay=0.0,
        before={message.state},
        restarts=True,
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
    after = final_state(states_after(message, changes).values())
    log = LogEntry("resolved", text, by)
    return change_to(message, after, changes, log, before={State.UNKNOWN}, reason=text)


def settled(
    message: OutboxMessage, recipient: str, outcome: Outcome | str, *, source: str = ""
) -> Change | None:
    """What to write if a report says what became of one recipient whose outcome is unknown.

    ``outcome`` is ``"accepted"`` (the report says delivered, relayed or expanded) or
    ``"refused"`` (it says failed), ``source`` what said so, for the log. Domains are compared
    in ASCII and any case. None where the recipient's outcome is known already.

    The report may come before the lease of a worker that died has expired: then the recipient is
    pending still, and the sweep leaves it out.

    Raises:
        ConfigurationError: ``outcome`` is neither.
    """
    try:
        state = {"accepted": _R.ACCEPTED, "refused": _R.REFUSED}[str(outcome)]
    except KeyError:
        raise ConfigurationError(
            f"outcome must be 'accepted' or 'refused', got {outcome!r}: leave out reports of delays"
        ) from None
    unsettled = {State.UNKNOWN: _R.UNKNOWN, State.BEGUN: _R.PENDING}.get(message.state)
    wanted = _comparable(recipient)
    changes = {
        each.address: RecipientChange(state)
        for each in message.recipients
        if each.state is unsettled and _comparable(each.address) == wanted
    }
    if unsettled is None or not changes:
        return None
    text = one_line(f"{recipient} {state}")
    log = LogEntry("settled", text, one_line(source)[:_LONGEST_NAME])
    if message.state is State.BEGUN:
        return change_to(message, State.BEGUN, changes, log, before={State.BEGUN})
    after = final_state(states_after(message, changes).values())
    return change_to(message, after, changes, log, before={State.UNKNOWN}, reason=text)


def _comparable(address: str) -> str:
    """The address with its domain in lower case and in ASCII (RFC 5321 section 2.4)."""
    with suppress(InvalidAddressError):
        address = to_ascii(address)
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"
