"""An unknown outcome that a report of delivery settles, in any store."""

from __future__ import annotations

import logging
from uuid import UUID

from mailbackends.outbox.by_hand import settled
from mailbackends.outbox.store import Store
from mailbackends.outcome import Outcome

__all__ = ["settle_unknown"]

_TRIES = 10


logger = logging.getLogger("mailbackends.outbox")


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
