"""A worker's questions to suppression lists: one for each stream of a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from mailbackends.errors import SuppressionError
from mailbackends.outbox.delivery import Deliver
from mailbackends.outbox.values import OutboxMessage
from mailbackends.suppression.store import SuppressionList, SuppressionLookup

__all__ = ["with_suppressed"]

logger: logging.Logger = logging.getLogger("mailbackends.outbox")

Failure = tuple[str, list[OutboxMessage], SuppressionError]
"""An alias, its messages, and why they have to wait."""


def with_suppressed(
    messages: Sequence[OutboxMessage], deliver: Deliver
) -> tuple[list[OutboxMessage], list[Failure]]:
    """The messages with the answers of their alias's suppression list; and those whose list
    cannot be asked."""
    list_of = getattr(deliver, "suppression", None)
    if list_of is None:
        return list(messages), []
    ready: list[OutboxMessage] = []
    failed: list[Failure] = []
    by_alias: dict[str, list[OutboxMessage]] = {}
    for message in messages:
        by_alias.setdefault(message.alias, []).append(message)
    for alias, group in by_alias.items():
        try:
            listed = list_of(alias)
            ready += group if listed is None else _answered(group, listed)
        except Exception as error:
            logger.warning("the suppression list of %r cannot be asked", alias, exc_info=True)
            failure = SuppressionError(
                f"the suppression list cannot be asked ({type(error).__name__})"
            )
            # As without a server: all mail of the alias waits, and is then tried again.
            failure.no_connection = True
            failed.append((alias, group, failure))
    return ready, failed


def _answered(group: Sequence[OutboxMessage], listed: SuppressionList) -> list[OutboxMessage]:
    lookup = SuppressionLookup(listed)
    lookup.prefetch((each.stream or None, each.pending) for each in group)
    return [
        replace(each, suppressed=lookup.suppressed(each.pending, each.stream or None))
        for each in group
    ]
