"""INSERT statements for new messages, written once for each number of rows.

Django's ORM takes longer to write the statement than everything else takes in the view.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from django_integration.outbox import models
from django_integration.outbox.clock import for_database, now_sql
from django_integration.outbox.listening import CHANNEL
from mailbackends.outbox import OutboxMessage, State

__all__ = [
    "Quote",
    "database_uuid",
    "insert_message_once",
    "insert_messages",
    "insert_recipients",
]

_SUBJECT, _MESSAGE_ID = 500, 500  # characters in the columns

# Given for each row, in the order of `_message_values`.
_GIVEN = (
    *("id", "key", "fingerprint", "alias", "sender", "subject", "message_id", "priority"),
    *(
        "on_unknown",
        "stream",
        "not_before",
        "expires_at",
        "mail_options",
        "rcpt_options",
        "size",
        "content",
    ),
    *("blobs", "due_at", "created_at", "updated_at"),
)
# The same for each row.
_FIXED = {
    "state": f"'{State.QUEUED.value}'",
    "reason": "''",
    "lease_until": "NULL",
    "lease_by": "''",
    "attempts": "0",
    "lost_leases": "0",
    "version": "0",
    "erased_at": "NULL",
}
_RECIPIENT = ("message_id", "address", "state")
_RECIPIENT_FIXED = {
    "code": "NULL",
    "enhanced": "''",
    "text": "''",
    "server": "''",
    "attempts": "0",
    "at": "NULL",
}
_MOST_PARAMETERS = 900  # in one statement: SQLite before 3.32 takes 999
_MOST_ROWS = 1000


def insert_messages(messages: Sequence[OutboxMessage], connection: Any, *, notify: bool) -> None:
    """Insert messages with their recipients, in the transaction of the caller.

    On PostgreSQL this is one statement with NOTIFY in it, which is sent on commit.
    """
    if connection.vendor == "postgresql":
        for some in _chunks(messages, _MOST_ROWS):
            _insert_in_one_statement(some, connection, notify=notify)
        return
    with transaction.atomic(using=connection.alias, savepoint=False):
        for some in _chunks(messages, _MOST_PARAMETERS // len(_GIVEN)):
            _execute(connection, *_messages_statement(some, connection))
        insert_recipients(messages, connection)


def insert_recipients(messages: Sequence[OutboxMessage], connection: Any) -> None:
    """Insert the recipients of messages that were inserted."""
    rows = [(each, recipient) for each in messages for recipient in each.recipients]
    for some in _chunks(rows, _MOST_PARAMETERS // len(_RECIPIENT)):
        _execute(connection, *_recipients_statement(some, connection))


def insert_message_once(message: OutboxMessage, connection: Any) -> None:
    """Insert a message without its recipients, unless there is one with its key."""
    sql, parameters = _messages_statement([message], connection)
    if connection.vendor == "mysql":
        sql = sql.replace("INSERT", "INSERT IGNORE", 1)
    else:
        sql += " ON CONFLICT DO NOTHING"
    _execute(connection, sql, parameters)


def _insert_in_one_statement(
    messages: Sequence[OutboxMessage], connection: Any, *, notify: bool
) -> None:
    first, parameters = _messages_statement(messages, connection)
    rows = [(each, recipient) for each in messages for recipient in each.recipients]
    second, further = _recipients_statement(rows, connection)
    last = f"SELECT pg_notify('{CHANNEL}', '')" if notify else "SELECT 1"
    statement = f"WITH m AS ({first}), r AS ({second}) {last}"
    _execute(connection, statement, [*parameters, *further])


def _execute(connection: Any, sql: str, parameters: Sequence[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _messages_statement(
    messages: Sequence[OutboxMessage], connection: Any
) -> tuple[str, list[Any]]:
    now = now_sql(connection)
    values: list[Any] = []
    for each in messages:
        values += _message_values(each, connection, has_now=now is not None)
    # `due_at` is the database's now, unless the application has given another time.
    shape = tuple(each.not_before is not None for each in messages)
    return _message_sql(Quote(connection), now, shape), values


@lru_cache(maxsize=64)
def _message_sql(quote: Quote, now: str | None, are_later: tuple[bool, ...]) -> str:
    names = ", ".join(map(quote, (*_GIVEN, *_FIXED)))
    rows = []
    for is_later in are_later:
        times = ["%s", "%s", "%s"] if now is None else ["%s" if is_later else now, now, now]
        cells = ["%s"] * (len(_GIVEN) - 3) + times + list(_FIXED.values())
        rows.append(f"({', '.join(cells)})")
    table = quote(models.Message._meta.db_table)
    return f"INSERT INTO {table} ({names}) VALUES {', '.join(rows)}"  # noqa: S608


def _message_values(each: OutboxMessage, connection: Any, *, has_now: bool) -> list[Any]:
    moment = connection.ops.adapt_datetimefield_value
    not_before = moment(for_database(each.not_before))
    values: list[Any] = [
        database_uuid(each.id, connection),
        each.key,
        each.fingerprint,
        each.alias,
        each.sender,
        _clean(each.subject)[:_SUBJECT],
        _clean(each.message_id)[:_MESSAGE_ID],
        int(each.priority),
        each.on_unknown.value,
        each.stream,
        not_before,
        moment(for_database(each.expires_at)),
        json.dumps(each.mail_options) if each.mail_options else "[]",
        json.dumps(each.rcpt_options) if each.rcpt_options else "[]",
        each.size,
        connection.Database.Binary(each.content),
        json.dumps([part.as_list() for part in each.blobs]) if each.blobs else "[]",
    ]
    if has_now:
        return values if not_before is None else [*values, not_before]
    now = moment(timezone.now())
    return [*values, now if not_before is None else not_before, now, now]


def _recipients_statement(rows: Sequence[Any], connection: Any) -> tuple[str, list[Any]]:
    values: list[Any] = []
    for message, recipient in rows:
        values += [database_uuid(message.id, connection), recipient.address, recipient.state.value]
    return _recipient_sql(Quote(connection), len(rows)), values


@lru_cache(maxsize=64)
def _recipient_sql(quote: Quote, count: int) -> str:
    names = ", ".join(map(quote, (*_RECIPIENT, *_RECIPIENT_FIXED)))
    row = f"({', '.join([*['%s'] * len(_RECIPIENT), *_RECIPIENT_FIXED.values()])})"
    table = quote(models.Recipient._meta.db_table)
    return f"INSERT INTO {table} ({names}) VALUES {', '.join([row] * count)}"  # noqa: S608


def database_uuid(id: UUID, connection: Any) -> Any:
    """The id as the database has it."""
    return id if connection.features.has_native_uuid_field else id.hex


def _clean(text: str) -> str:
    """PostgreSQL stores no NUL in text."""
    return text.replace("\0", "") if "\0" in text else text


def _chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


class Quote:
    """How a database quotes names; equal for the same kind of database."""

    __slots__ = ("_quote", "_vendor")

    def __init__(self, connection: Any) -> None:
        self._vendor = connection.vendor
        self._quote = connection.ops.quote_name

    def __call__(self, name: str) -> str:
        return str(self._quote(name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quote) and self._vendor == other._vendor

    def __hash__(self) -> int:
        return hash(self._vendor)
