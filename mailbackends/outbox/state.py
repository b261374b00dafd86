"""The states of a message in the outbox, and of each of its recipients.

One table says which state may follow which; every store writes only what it allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["CANCELLABLE", "FINAL", "LEASED", "TRANSITIONS", "RecipientState", "State"]


class State(StrEnum):
    """The state of a message. The values are stored."""

    QUEUED = "queued"
    """It waits for its next attempt."""
    CLAIMED = "claimed"
    """A worker has a lease on it. Nothing of the content's end has left."""
    BEGUN = "begun"
    """The end of the content may have left; its outcome is not recorded yet."""
    ACCEPTED = "accepted"
    """A server took responsibility for it, for one recipient at least."""
    REFUSED = "refused"
    """All recipients were refused for good."""
    UNKNOWN = "unknown"
    """For one recipient at least nobody knows whether it was delivered."""
    CANCELLED = "cancelled"
    """It was cancelled before it was sent."""
    EXPIRED = "expired"
    """It could not be sent in time."""
    SUPPRESSED = "suppressed"
    """The suppression list has all recipients who were left: nothing was sent to them."""
    PARKED = "parked"
    """It cannot be read or prepared: someone has to look at it. ``reason`` says why."""


class RecipientState(StrEnum):
    """The state of one recipient of a message. The values are stored."""

    PENDING = "pending"
    """The next attempt is for this recipient."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"


_S = State

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        _S.QUEUED: frozenset({_S.CLAIMED, _S.CANCELLED, _S.EXPIRED, _S.PARKED}),
        _S.CLAIMED: frozenset(
            {
                _S.BEGUN,
                # The lease expired, the worker stopped, or nothing was sent.
                _S.QUEUED,
                # Refused by MAIL or RCPT: the content was never asked for.
                *(_S.ACCEPTED, _S.REFUSED, _S.UNKNOWN, _S.SUPPRESSED),
                # `begin` then finds it in another state, and the worker sends nothing.
                _S.CANCELLED,
                *(_S.EXPIRED, _S.PARKED),
            }
        ),
        _S.BEGUN: frozenset(
            {
                # A report settled one recipient.
                _S.BEGUN,
                # One transaction is answered, and the next one, for recipients left, not begun.
                _S.CLAIMED,
                *(_S.ACCEPTED, _S.REFUSED, _S.UNKNOWN),
                # The outcome is known, and recipients are left: 4yz, or not sent after all.
                _S.QUEUED,
                *(_S.EXPIRED, _S.PARKED),
            }
        ),
        # The reply came after the lease had expired; or somebody resolves it, or sends it again.
        _S.UNKNOWN: frozenset({_S.ACCEPTED, _S.REFUSED, _S.QUEUED, _S.EXPIRED, _S.UNKNOWN}),
        # Sent again by hand, for the recipients who do not have it.
        _S.ACCEPTED: frozenset({_S.QUEUED}),
        _S.REFUSED: frozenset({_S.QUEUED}),
        _S.CANCELLED: frozenset({_S.QUEUED}),
        _S.EXPIRED: frozenset({_S.QUEUED}),
        _S.SUPPRESSED: frozenset({_S.QUEUED}),
        _S.PARKED: frozenset({_S.QUEUED, _S.CANCELLED}),
    }
)
"""Which state may follow which."""

LEASED = frozenset({State.CLAIMED, State.BEGUN})
"""The states in which a worker has a lease."""

FINAL = frozenset(
    {
        *(State.ACCEPTED, State.REFUSED, State.UNKNOWN, State.CANCELLED, State.EXPIRED),
        *(State.SUPPRESSED, State.PARKED),
    }
)
"""The states that no worker leaves: only a person, or a late reply, changes them."""

CANCELLABLE = frozenset(each for each in State if State.CANCELLED in TRANSITIONS[each])
"""The states in which a message can be cancelled."""
