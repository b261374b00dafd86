"""Rows as values. A row that cannot be read is parked: it must not stop the others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, insert, select, type_coerce, update
from sqlalchemy.types import NullType

from mailbackends.outbox.state import State
from mailbackends.outbox.tables import Tables
from mailbackends.outbox.values import BlobPart, OutboxMessage, OutboxRecipient
from mailbackends.sql import moment, now_ms

__all__ = ["park_row", "raw_rows", "values_of"]

OnError = Callable[[Any, Exception], object]
"""Called with a row that cannot be read."""


def raw_rows(tables: Tables, *, with_content: bool) -> Select[Any]:
    """A SELECT of messages whose columns are as the database has them.

    A type that fails on one value would fail the whole result.
    """
    return select(*_raw(tables.message, without=() if with_content else ("content",)))


def _raw(table: Any, without: Sequence[str] = ()) -> list[Any]:
    return [
        type_coerce(column, NullType()).label(column.name)
        for column in table.c
        if column.name not in without
    ]


def values_of(
    connection: Connection,
    tables: Tables,
    rows: Sequence[Row[Any]],
    on_error: OnError,
    **given: Any,
) -> list[OutboxMessage]:
    """The values of the rows that can be read, with their recipients, in the same order.

    ``given`` are fields that the rows do not have yet.
    """
    if not rows:
        return []
    recipients: dict[Any, list[Any]] = defaultdict(list)
    table = tables.recipient
    for row in connection.execute(
        select(*_raw(table))
        .where(type_coerce(table.c.message, NullType()).in_([row.id for row in rows]))
        .order_by(table.c.message, table.c.position)
    ):
        recipients[row.message].append(row)
    values: list[OutboxMessage] = []
    for row in rows:
        try:
            values.append(_value(row, recipients[row.id], given))
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            on_error(row, error)
    return values


def _value(row: Row[Any], recipients: Sequence[Row[Any]], given: dict[str, Any]) -> OutboxMessage:
    if not recipients:
        raise ValueError("it has no recipients")
    options = json.loads(row.options)
    fields: dict[str, Any] = {
        "state": State(row.state),
        "attempts": row.attempts,
        "lease_by": row.lease_by or "",
        **given,
    }
    return OutboxMessage.from_row(
        row,
        id=row.id if isinstance(row.id, UUID) else UUID(row.id),
        content=bytes(getattr(row, "content", b"")),
        recipients=tuple(OutboxRecipient.from_row(each, at=moment(each.at)) for each in recipients),
        blobs=BlobPart.all_from(json.loads(row.blobs)),
        not_before=moment(row.not_before),
        expires_at=moment(row.expires_at),
        created_at=moment(row.created_at),
        mail_options=tuple(options.get("mail", ())),
        rcpt_options=tuple(options.get("rcpt", ())),
        **fields,
    )


def park_row(connection: Connection, tables: Tables, row: Row[Any], reason: str) -> None:
    """Park a row, and log the reason, unless it has changed since it was read."""
    table, log = tables.message, tables.log
    same = (
        type_coerce(table.c[name], NullType()) == row._mapping[name] for name in ("id", "version")
    )
    is_parked = connection.execute(
        update(table)
        .where(*same)
        .values(
            state=State.PARKED,
            reason=reason,
            lease_by=None,
            lease_until=None,
            updated_at=now_ms(),
            version=table.c.version + 1,
        )
    ).rowcount
    if is_parked:
        id = type_coerce(row.id, NullType())
        connection.execute(
            insert(log).values(message=id, at=now_ms(), kind="parked", text=reason, by="")
        )
