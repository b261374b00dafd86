"""From Django's messages to rows, in the transaction of the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.core.mail import EmailMessage
from django.db import connections, transaction
from django.utils.module_loading import import_string

from django_integration.messages import as_submission
from django_integration.outbox import models
from django_integration.outbox.blobs import blob_store
from django_integration.outbox.configuration import outbox_database, outbox_settings
from django_integration.outbox.delivering import delivering_backend
from django_integration.outbox.inserting import (
    insert_message_once,
    insert_messages,
    insert_recipients,
)
from django_integration.outbox.listening import CHANNEL
from django_integration.outbox.rendering import check_has_no_content
from django_integration.rendering import Rendering, rendered
from django_integration.staging import Staging
from django_integration.suppression.lists import list_for, marked
from mailbackends import ConfigurationError
from mailbackends.outbox import (
    OnUnknown,
    OutboxMessage,
    Priority,
    Queued,
    check_same_content,
    outbox_message,
)
from mailbackends.outbox.rendering import template_message

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
    render: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> OutboxMessage:
    """The finished message with its envelope. Arguments and errors: as `enqueue`."""
    current = outbox_settings()
    backend = delivering_backend(alias)
    message = rendered(message, getattr(backend, "rendering", Rendering()))
    submission = as_submission(message, getattr(backend, "staging", Staging()), fast=True)
    if list_for(backend) is not None:
        submission = marked(message, submission)
    if render is None:
        if context is not None:
            raise ConfigurationError("context is given without render, the path of a function")
        make = outbox_message
    else:
        check_has_no_content(message)
        make = partial(template_message, render=render, context=context)
    return make(
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
    if any(each.key is not None for each in messages):
        with transaction.atomic(using=using, savepoint=False):
            receipts = [_insert_once(each, using) for each in messages]
            _notify(connection)
    else:
        insert_messages(messages, connection, notify=outbox_settings().notify)
        receipts = [_receipt(each) for each in messages]
    _call_engine([each.id for each in receipts if each.is_new], connection)
    return receipts


def _insert_once(message: OutboxMessage, using: str) -> Queued:
    """Insert a message unless its key is there; safe if others do so at the same time."""
    connection = connections[using]
    if message.key is None:
        insert_messages([message], connection, notify=False)
        return _receipt(message)
    if (found := _with_key(message, using)) is not None:
        return found
    insert_message_once(message, connection)
    if (found := _with_key(message, using, lock=True)) is None:
        raise RuntimeError(f"the message with the key {message.key!r} was not stored: try again")
    if found.is_new:
        insert_recipients([message], connection)
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


def _notify(connection: Any) -> None:
    if connection.vendor == "postgresql" and outbox_settings().notify:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def _call_engine(ids: list[UUID], connection: Any) -> None:
    path = outbox_settings().engine
    if path is not None and ids:
        function = partial(import_string(path), ids)
        transaction.on_commit(function, using=connection.alias, robust=True)
