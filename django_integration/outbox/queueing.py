"""From Django's messages to rows, in the transaction of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.mail import EmailMessage
from django.db import connections, transaction
from django.db.models.sql import InsertQuery
from django.utils.module_loading import import_string

from django_integration.messages import as_submission
from django_integration.outbox import models
from django_integration.outbox.blobs import blob_store
from django_integration.outbox.configuration import outbox_database, outbox_settings
from django_integration.outbox.delivering import delivering_backend
from django_integration.outbox.listening import CHANNEL
from django_integration.outbox.rows import message_row, recipient_rows
from django_integration.staging import Staging
from mailbackends.outbox import (
    OnUnknown,
    OutboxMessage,
    Priority,
    Queued,
    check_same_content,
    outbox_message,
)

__all__ = ["Moment", "insert", "prepare"]

Moment = datetime | timedelta | None


def prepare(
    message: EmailMessage,
    alias: str,
    *,
    key: str | None = None,
    at: Moment = None,
    expires: Moment = None,
    priority: Priority | int | str | None = None,
    on_unknown: OnUnknown | str | None = None,
) -> OutboxMessage:
    """The finished message with its envelope. Arguments and errors: as `enqueue`."""
    current = outbox_settings()
    backend = delivering_backend(alias)
    submission = as_submission(message, getattr(backend, "staging", Staging()), fast=True)
    return outbox_message(
        submission,
        blobs=blob_store(),
        alias=alias,
        key=key,
        at=at,
        expires=expires,
        priority=current.priority if priority is None else priority,
        on_unknown=current.on_unknown if on_unknown is None else on_unknown,
        policy=current.retry,
        inline_limit=current.inline_limit,
    )


def insert(messages: Sequence[OutboxMessage]) -> list[Queued]:
    """Insert the messages in the transaction of the caller, and return their receipts.

    Without keys this is one statement on PostgreSQL, and two elsewhere.

    Raises:
        KeyReusedError: another message has the key of one of them.
    """
    using = outbox_database()
    connection = connections[using]
    with_key = [each for each in messages if each.key is not None]
    if with_key:
        with transaction.atomic(using=using, savepoint=False):
            receipts = [
                _insert_once(each, using) if each.key else _insert_all([each], connection)[0]
                for each in messages
            ]
    else:
        receipts = _insert_all(messages, connection)
    _notify([each for each in receipts if each.is_new], connection)
    return receipts


def _insert_all(messages: Sequence[OutboxMessage], connection: Any) -> list[Queued]:
    rows = [message_row(each, connection) for each in messages]
    recipients = [row for each in messages for row in recipient_rows(each)]
    if connection.vendor == "postgresql":
        _insert_in_one_statement(rows, recipients, connection)
    elif rows:
        with transaction.atomic(using=connection.alias, savepoint=False):
            models.Message.objects.using(connection.alias).bulk_create(rows)
            models.Recipient.objects.using(connection.alias).bulk_create(recipients)
    return [_receipt(each) for each in messages]


def _insert_in_one_statement(rows: Any, recipients: Any, connection: Any) -> None:
    """Messages, recipients and NOTIFY in one round trip.

    PostgreSQL notifies when the transaction is committed, and not at all if it is not.
    """
    first, first_parameters = _insert_sql(models.Message, rows, connection)
    second, second_parameters = _insert_sql(models.Recipient, recipients, connection)
    last, last_parameters = "SELECT 1", []
    if outbox_settings().notify:
        last, last_parameters = "SELECT pg_notify(%s, '')", [CHANNEL]
    statement = f"WITH m AS ({first}), r AS ({second}) {last}"
    with connection.cursor() as cursor:
        cursor.execute(statement, [*first_parameters, *second_parameters, *last_parameters])


def _insert_sql(model: Any, rows: Any, connection: Any) -> tuple[str, Sequence[Any]]:
    fields = [each for each in model._meta.local_concrete_fields if each.attname != "id"]
    if rows[0].pk is not None:
        fields = model._meta.local_concrete_fields
    query = InsertQuery(model)
    query.insert_values(fields, rows)
    [(sql, parameters)] = query.get_compiler(connection=connection).as_sql()
    return sql, parameters


def _insert_once(message: OutboxMessage, using: str) -> Queued:
    """Insert a message unless its key is there; safe if others do so at the same time."""
    connection = connections[using]
    if (found := _with_key(message, using)) is not None:
        return found
    rows = [message_row(message, connection)]
    models.Message.objects.using(using).bulk_create(rows, ignore_conflicts=True)
    if (found := _with_key(message, using, lock=True)) is None:
        raise RuntimeError(f"the message with the key {message.key!r} was not stored: try again")
    if found.is_new:
        models.Recipient.objects.using(using).bulk_create(recipient_rows(message))
    return found


def _with_key(message: OutboxMessage, using: str, *, lock: bool = False) -> Queued | None:
    rows = models.Message.objects.using(using).filter(key=message.key)
    if lock and connections[using].vendor == "mysql":
        # A locking read sees what others have committed meanwhile.
        rows = rows.select_for_update()
    found = rows.values_list("id", "fingerprint", "message_id").first()
    if found is None:
        return None
    id, fingerprint, message_id = found
    check_same_content(str(message.key), fingerprint, message.fingerprint)
    return replace(_receipt(message), id=id, message_id=message_id, is_new=id == message.id)


def _receipt(message: OutboxMessage) -> Queued:
    return Queued(message.id, message.key, message_id=message.message_id)


def _notify(receipts: Iterable[Queued], connection: Any) -> None:
    ids = [each.id for each in receipts]
    current = outbox_settings()
    if not ids:
        return
    if current.engine is not None:
        function = import_string(current.engine)
        transaction.on_commit(partial(function, ids), using=connection.alias, robust=True)
