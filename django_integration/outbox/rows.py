"""Rows as the values of `mailbackends.outbox`, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from django_integration.outbox import models
from django_integration.outbox.clock import aware, database_now, for_database
from mailbackends.outbox import (
    BlobPart,
    LogEntry,
    OnUnknown,
    OutboxMessage,
    OutboxRecipient,
    Pause,
    Priority,
    RecipientState,
    State,
)

__all__ = ["log_value", "message_row", "message_value", "pause_value", "recipient_rows"]

_SUBJECT, _MESSAGE_ID = 500, 500  # characters in the columns


def message_row(value: OutboxMessage, connection: Any) -> models.Message:
    """A new row, to be inserted."""
    now = database_now(connection)
    not_before = for_database(value.not_before)
    return models.Message(
        id=value.id,
        key=value.key,
        fingerprint=value.fingerprint,
        alias=value.alias,
        sender=value.sender,
        subject=value.subject[:_SUBJECT],
        message_id=value.message_id[:_MESSAGE_ID],
        state=State.QUEUED.value,
        priority=int(value.priority),
        on_unknown=value.on_unknown.value,
        not_before=not_before,
        expires_at=for_database(value.expires_at),
        created_at=now,
        updated_at=now,
        due_at=now if not_before is None else not_before,
        mail_options=json.dumps(value.mail_options),
        rcpt_options=json.dumps(value.rcpt_options),
        size=value.size,
        content=value.content,
        blobs=json.dumps([part.as_list() for part in value.blobs]),
    )


def recipient_rows(value: OutboxMessage) -> list[models.Recipient]:
    """New rows for the recipients."""
    return [
        models.Recipient(message_id=value.id, address=each.address, state=each.state.value)
        for each in value.recipients
    ]


def message_value(
    row: models.Message, recipients: Iterable[models.Recipient], *, with_content: bool
) -> OutboxMessage:
    """The value of a row. Raises ValueError for a state that this version does not know."""
    return OutboxMessage(
        id=row.id,
        content=bytes(row.content) if with_content else b"",
        sender=row.sender,
        recipients=tuple(
            OutboxRecipient(
                address=each.address,
                state=RecipientState(each.state),
                code=each.code,
                enhanced=each.enhanced,
                text=each.text,
                server=each.server,
                attempts=each.attempts,
                at=aware(each.at),
            )
            for each in recipients
        ),
        blobs=BlobPart.all_from(json.loads(row.blobs)),
        alias=row.alias,
        key=row.key,
        fingerprint=row.fingerprint,
        priority=Priority(row.priority),
        on_unknown=OnUnknown(row.on_unknown),
        not_before=aware(row.not_before),
        expires_at=aware(row.expires_at),
        mail_options=tuple(json.loads(row.mail_options)),
        rcpt_options=tuple(json.loads(row.rcpt_options)),
        message_id=row.message_id,
        subject=row.subject,
        size=row.size,
        state=State(row.state),
        attempts=row.attempts,
        lost_leases=row.lost_leases,
        created_at=aware(row.created_at),
    )


def log_value(row: models.LogEntry) -> LogEntry:
    """The value of a line of the log."""
    return LogEntry(kind=row.kind, text=row.text, by=row.by, at=aware(row.at))


def pause_value(row: models.Pause) -> Pause:
    """The value of a pause."""
    until = cast(datetime, aware(row.until))
    return Pause(alias=row.alias, until=until, failures=row.failures, reason=row.reason)
