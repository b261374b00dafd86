"""Outcomes of many messages written at once: three statements, without the ORM.

What workers write nearly always: a message came to its end under the lease that claimed it. The ORM
takes three times as long for it as sending the message does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.utils import timezone

from django_integration.outbox import models
from django_integration.outbox.clock import for_database, now_sql
from django_integration.outbox.inserting import Quote, database_uuid
from mailbackends.outbox import LEASED, Change, State

__all__ = ["are_outcomes", "record_outcomes"]


def are_outcomes(changes: Sequence[Change]) -> bool:
    """True if `record_outcomes` can write them."""
    return all(
        each.lease_by is not None
        and each.state not in LEASED
        and each.delay is each.version is None
        and not each.restarts
        and not each.is_lease_over
        for each in changes
    )


def record_outcomes(changes: Sequence[Change], connection: Any) -> bool:
    """Write the changes in the transaction of the caller.

    False where one does not apply: roll back then, others may have been written.
    """
    quote, now = Quote(connection), now_sql(connection)
    moment = None
    if now is None:
        moment = connection.ops.adapt_datetimefield_value(for_database(timezone.now()))
    messages: dict[tuple[Any, ...], list[list[Any]]] = defaultdict(list)
    recipients: dict[tuple[Any, ...], list[list[Any]]] = defaultdict(list)
    log: list[list[Any]] = []
    for change in changes:
        id = database_uuid(change.id, connection)
        values = [change.reason, change.lost_leases, moment, id, change.lease_by]
        messages[change.state, change.before].append(_without_none(values, 2))
        tried = set(change.attempted)
        for address, each in change.recipients.items():
            columns = each.columns
            values = [each.state.value, moment, *columns.values(), id, address]
            recipients[tuple(columns), address in tried].append(_without_none(values, 1))
        if (entry := change.log) is not None:
            log.append(_without_none([id, entry.kind, entry.text, entry.by, moment], 4))
    with connection.cursor() as cursor:
        applied = 0
        for (state, before), rows in messages.items():
            cursor.executemany(_message_sql(quote, now, state, before), rows)
            applied += cursor.rowcount
        if applied != len(changes):
            return False
        for shape, rows in recipients.items():
            cursor.executemany(_recipient_sql(quote, now, *shape), rows)
        if log:
            cursor.executemany(_log_sql(quote, now), log)
    return True


def _without_none(values: list[Any], place: int) -> list[Any]:
    """Without the moment, where the database's own clock is in the statement."""
    if values[place] is None:
        del values[place]
    return values


@lru_cache(maxsize=64)
def _message_sql(quote: Quote, now: str | None, state: State, before: frozenset[State]) -> str:
    lease = "" if state is State.UNKNOWN else f", {quote('lease_by')} = ''"
    states = ", ".join(f"'{each.value}'" for each in sorted(before))
    return (
        f"UPDATE {quote(models.Message._meta.db_table)} SET {quote('state')} = '{state.value}', "  # noqa: S608
        f"{quote('reason')} = %s, {quote('lost_leases')} = %s, "
        f"{quote('updated_at')} = {now or '%s'}, {quote('version')} = {quote('version')} + 1, "
        f"{quote('lease_until')} = NULL{lease} "
        f"WHERE {quote('id')} = %s AND {quote('lease_by')} = %s AND {quote('state')} IN ({states})"
    )


@lru_cache(maxsize=64)
def _recipient_sql(
    quote: Quote, now: str | None, columns: tuple[str, ...], is_attempt: bool
) -> str:
    set_ = [f"{quote('state')} = %s", f"{quote('at')} = {now or '%s'}"]
    set_ += [f"{quote(each)} = %s" for each in columns]
    if is_attempt:
        set_.append(f"{quote('attempts')} = {quote('attempts')} + 1")
    return (
        f"UPDATE {quote(models.Recipient._meta.db_table)} SET {', '.join(set_)} "  # noqa: S608
        f"WHERE {quote('message_id')} = %s AND {quote('address')} = %s"
    )


@lru_cache(maxsize=8)
def _log_sql(quote: Quote, now: str | None) -> str:
    names = ", ".join(map(quote, ("message_id", "kind", "text", "by", "at")))
    table = quote(models.LogEntry._meta.db_table)
    return f"INSERT INTO {table} ({names}) VALUES (%s, %s, %s, %s, {now or '%s'})"  # noqa: S608
