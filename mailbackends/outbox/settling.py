"""An unknown outcome that a report of delivery settles, in any store."""

from __future__ import annotations

import contextlib
import logging
from uuid import UUID

from mailbackends.bounces.report import BounceReport
from mailbackends.outbox.by_hand import settled
from mailbackends.outbox.store import Store
from mailbackends.outcome import Outcome
from mailbackends.texts import one_line

__all__ = ["settle_by_report", "settle_unknown"]

_TRIES = 10


logger: logging.Logger = logging.getLogger("mailbackends.outbox")


_SETTLES = {
    **dict.fromkeys(("delivered", "relayed", "expanded"), Outcome.ACCEPTED),
    "failed": Outcome.REFUSED,
}


def settle_by_report(store: Store, report: BounceReport) -> int:
    """Settle what a delivery status notification (RFC 3464) says about the recipients of a message
    in the outbox; returns how many were settled.

    A report of a delay, or about another message or recipient, settles nothing.
    """
    id = _row_of(report)
    if id is None:
        return 0
    settled = 0
    for each in report.recipients:
        outcome = _SETTLES.get(each.action)
        if outcome is not None:
            words = (report.reporting_mta, each.status, each.diagnostic)
            source = one_line(" ".join(filter(None, words)))[:200]
            settled += settle_unknown(store, id, each.address, outcome, source)
    return settled


def _row_of(report: BounceReport) -> UUID | None:
    """The id of the message that a report is about, by its ENVID or its reference; or None.

    A worker gives the id as ENVID where the message asks for reports (`OnUnknown.ASK`). It has
    62 random bits, and each guess needs a report: who knows it has handled the message.
    """
    for text in (report.envelope_id, report.reference):
        with contextlib.suppress(ValueError):
            return UUID(text or "")
    return None


def settle_unknown(
    store: Store, id: UUID | str, recipient: str, outcome: Outcome | str, source: str = ""
) -> bool:
    """Record what a report says about one recipient; False where there is nothing to settle.

    Raises:
        ConfigurationError: ``outcome`` is neither ``"accepted"`` nor ``"refused"``.
    """
    try:
        uuid = UUID(str(id))
    except ValueError:
        return False  # The envelope id of somebody else's message.
    # Another report, a worker or a sweep may change the row in between.
    for _ in range(_TRIES):
        try:
            message = store.get(uuid)
        except ValueError:
            logger.exception("a report about %s settles nothing", uuid)
            return False
        if message is None:
            return False
        change = settled(message, recipient, outcome, source=source)
        if change is None:
            return False
        if store.record(change):
            return True
    return False
