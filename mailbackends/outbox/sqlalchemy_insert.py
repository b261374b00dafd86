"""A message of the outbox inserted by SQLAlchemy, in the transaction of the caller."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mailbackends.outbox.policy import check_same_content
from mailbackends.outbox.tables import Tables
from mailbackends.outbox.values import OutboxMessage, Queued
from mailbackends.sql import now_ms

__all__ = ["ignoring_duplicates", "insert_message"]


def insert_message(connection: Connection, message: OutboxMessage, tables: Tables) -> Queued:
    """Insert a message in the connection's transaction, which is the caller's.

    Raises:
        KeyReusedError: another message has the same key. The transaction can go on.
    """
    if message.key is not None and (first := _with_key(connection, message, tables)):
        return first
    row, recipients = _row(message), _recipient_rows(message)
    dialect = connection.dialect
    if message.key is None and len(recipients) == 1:
        parameters = {
            **{f"m_{name}": value for name, value in row.items() if value is not None},
            **{f"r_{name}": value for name, value in recipients[0].items()},
        }
        for statement in _insert_one(dialect.name, tables, frozenset(parameters)):
            connection.execute(statement, parameters)
    else:
        row = {"due_at": now_ms(), **row, "created_at": now_ms(), "updated_at": now_ms()}
        statement = ignoring_duplicates(dialect.name, tables.message).values(row)
        if dialect.name in ("postgresql", "sqlite"):
            is_inserted = connection.scalar(statement.returning(tables.message.c.id)) is not None
        else:
            is_inserted = bool(connection.execute(statement).rowcount)
        if message.key is not None and not is_inserted:
            # Somebody else was faster.
            found = _with_key(connection, message, tables, is_new=True)
            if found is not None:
                return found
            raise RuntimeError(f"the row with the key {message.key!r} is not visible")
        connection.execute(insert(tables.recipient), recipients)
    if message.blobs:
        digests = {part.digest for part in message.blobs}
        connection.execute(
            insert(tables.blob), [{"digest": each, "message": message.id} for each in digests]
        )
    return Queued(message.id, message.key, message_id=message.message_id)


def _with_key(
    connection: Connection, message: OutboxMessage, tables: Tables, *, is_new: bool = False
) -> Queued | None:
    table = tables.message
    query = select(table.c.id, table.c.fingerprint, table.c.message_id).where(
        table.c.key == message.key
    )
    if is_new and connection.dialect.name in ("mysql", "mariadb"):
        # A locking read sees what others have committed since the transaction began.
        query = query.with_for_update(read=True)
    first = connection.execute(query).one_or_none()
    if first is None or message.key is None:
        return None
    check_same_content(message.key, first.fingerprint, message.fingerprint)
    return Queued(first.id, message.key, is_new=False, message_id=first.message_id)


@lru_cache(maxsize=64)
def _insert_one(dialect: str, tables: Tables, parameters: frozenset[str]) -> tuple[Any, ...]:
    """The statements for a message with one recipient: one on PostgreSQL, in one round trip."""
    moments = {name: now_ms() for name in ("due_at", "created_at", "updated_at")}
    values = {
        name: {
            each[2:]: bindparam(each, type_=table.c[each[2:]].type)
            for each in parameters
            if each.startswith(f"{name}_")
        }
        for name, table in (("m", tables.message), ("r", tables.recipient))
    }
    first = insert(tables.message).values({**moments, **values["m"]})
    second = insert(tables.recipient).values(values["r"])
    if dialect == "postgresql":
        return (second.add_cte(first.cte("inserted")),)
    return first, second


def _recipient_rows(message: OutboxMessage) -> list[dict[str, Any]]:
    return [
        {
            "message": message.id,
            "position": position,
            "address": each.address,
            "state": each.state,
            "enhanced": "",
            "text": "",
            "server": "",
            "attempts": 0,
        }
        for position, each in enumerate(message.recipients)
    ]


def _row(message: OutboxMessage) -> dict[str, Any]:
    """The columns; without ``due_at`` for a message that is due now, and moments of writing."""
    due_at = {} if message.not_before is None else {"due_at": message.not_before}
    return {
        **due_at,
        "id": message.id,
        "state": message.state,
        "alias": message.alias,
        "priority": int(message.priority),
        "attempts": message.attempts,
        "lost_leases": 0,
        "version": 0,
        "key": message.key,
        "fingerprint": message.fingerprint,
        "on_unknown": message.on_unknown,
        "stream": message.stream,
        "sender": message.sender,
        "message_id": message.message_id[:500],
        "subject": message.subject,
        "size": message.size,
        "not_before": message.not_before,
        "expires_at": message.expires_at,
        "reason": "",
        "blobs": json.dumps([part.as_list() for part in message.blobs]) if message.blobs else "[]",
        "options": _options(message),
        "content": message.content,
    }


def _options(message: OutboxMessage) -> str:
    given = {"mail": message.mail_options, "rcpt": message.rcpt_options}
    return json.dumps({name: value for name, value in given.items() if value})


def ignoring_duplicates(dialect: str, table: Any) -> Any:
    """An INSERT that leaves a row alone whose key is there already."""
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return mysql.insert(table).prefix_with("IGNORE")
