"""Rows as the values of `mailbackends.outbox`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from django_integration.outbox import models
from django_integration.outbox.clock import aware
from mailbackends.outbox import (
    BlobPart,
    LogEntry,
    OutboxMessage,
    OutboxRecipient,
    Pause,
    State,
)

__all__ = ["log_value", "message_value", "pause_value"]


def message_value(
    row: models.Message, recipients: Iterable[models.Recipient], *, with_content: bool
) -> OutboxMessage:
    """The value of a row. Raises ValueError for a state that this version does not know."""
    return OutboxMessage.from_row(
        row,
        id=row.id,
        content=bytes(row.content) if with_content else b"",
        recipients=tuple(OutboxRecipient.from_row(each, at=aware(each.at)) for each in recipients),
        blobs=BlobPart.all_from(json.loads(row.blobs)),
        not_before=aware(row.not_before),
        expires_at=aware(row.expires_at),
        created_at=aware(row.created_at),
        mail_options=tuple(json.loads(row.mail_options)),
        rcpt_options=tuple(json.loads(row.rcpt_options)),
        state=State(row.state),
        attempts=row.attempts,
        lease_by=row.lease_by,
    )


def log_value(row: models.LogEntry) -> LogEntry:
    """The value of a line of the log."""
    return LogEntry(kind=row.kind, text=row.text, by=row.by, at=aware(row.at))


def pause_value(row: models.Pause) -> Pause:
    """The value of a pause."""
    until = cast(datetime, aware(row.until))
    return Pause(alias=row.alias, until=until, failures=row.failures, reason=row.reason)
