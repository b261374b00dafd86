"""A change from one state to another that the table of transitions allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from mailbackends.outbox.state import LEASED, TRANSITIONS, RecipientState, State
from mailbackends.outbox.values import Change, LogEntry, OutboxMessage, RecipientChange

__all__ = ["change_to", "final_state", "states_after"]


def final_state(states: Iterable[RecipientState]) -> State:
    """The state of a message with these recipients, none of whom is pending."""
    seen = set(states)
    if RecipientState.UNKNOWN in seen:
        return State.UNKNOWN
    if RecipientState.ACCEPTED in seen:
        return State.ACCEPTED
    for state in (RecipientState.EXPIRED, RecipientState.CANCELLED):
        if state in seen:
            return State(state.value)
    return State.SUPPRESSED if seen == {RecipientState.SUPPRESSED} else State.REFUSED


def change_to(
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
    restarts: bool = False,
) -> Change:
    """The change of a message to a state, from those in ``before`` that may lead to it.

    Without ``before``, it applies to the state of ``message``, or, under a lease, to whatever its
    worker and a sweep may have made of it.
    """
    if before is None:
        # A worker's own lease is identified by its token, and it may be late: the sweep may have
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
        # Whoever has no lease has decided from what it has read.
        version=message.version if lease_by is None else None,
        lost_leases=lost_leases,
        attempted=attempted,
        restarts=restarts,
    )


def states_after(
    message: OutboxMessage, changes: Mapping[str, RecipientChange]
) -> dict[str, RecipientState]:
    """The state of each recipient after these changes."""
    return {
        r.address: changes[r.address].state if r.address in changes else r.state
        for r in message.recipients
    }
