"""What a store asks one of Django's databases, its transactions, and the calls of operators."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Count, F, Min, QuerySet
from django.utils import timezone

from django_integration.outbox import models
from django_integration.outbox.clock import aware, database_now
from django_integration.outbox.rows import log_value, message_value, pause_value
from mailbackends.outbox import (
    FINAL,
    LEASED,
    BlobPart,
    Change,
    LogEntry,
    OutboxMessage,
    Pause,
    State,
    Status,
)

__all__ = ["LEASED_STATES", "QUEUED", "Queries"]

LEASED_STATES = tuple(sorted(state.value for state in LEASED))
QUEUED = State.QUEUED.value


class Queries:
    """The calls of a `mailbackends.outbox.Store` that find, count and delete messages."""

    def __init__(self, using: str) -> None:
        self.using = using

    @property
    def connection(self) -> Any:
        """This thread's connection; a new one after the database has ended the old one."""
        connection = connections[self.using]
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        return connection

    @property
    def messages(self) -> QuerySet[models.Message]:
        """All messages in this database."""
        return models.Message.objects.using(self.using)

    def now(self, plus: float = 0.0) -> Any:
        """The database's now, plus seconds, as an expression."""
        return database_now(self.connection, plus=plus)

    def get(self, id: UUID) -> OutboxMessage | None:
        """See `mailbackends.outbox.Store`."""

        def unreadable(_: models.Message, error: Exception) -> None:
            raise ValueError(f"the message {id} cannot be read: {error}") from error

        rows = list(self.messages.filter(id=id))
        found = self._values(rows, with_content=True, on_error=unreadable)
        return found[0] if found else None

    def find(
        self,
        *,
        state: State | None = None,
        address: str | None = None,
        message_id: str | None = None,
        key: str | None = None,
        limit: int = 100,
    ) -> list[OutboxMessage]:
        """See `mailbackends.outbox.Store`."""
        found = self.messages.all()
        if state is not None:
            found = found.filter(state=state.value)
        if address is not None:
            recipients = models.Recipient.objects.using(self.using).filter(address=address)
            found = found.filter(id__in=recipients.values("message_id"))
        if message_id is not None:
            found = found.filter(message_id=message_id)
        if key is not None:
            found = found.filter(key=key)
        return self._without_content(found.order_by("-created_at", "-id"), limit)

    def log(self, id: UUID) -> list[LogEntry]:
        """See `mailbackends.outbox.Store`."""
        rows = models.LogEntry.objects.using(self.using).filter(message_id=id)
        return [log_value(row) for row in rows.order_by("id")]

    def pauses(self) -> list[Pause]:
        """See `mailbackends.outbox.Store`."""
        return [pause_value(row) for row in models.Pause.objects.using(self.using)]

    def status(self) -> Status:
        """See `mailbackends.outbox.Store`."""
        now = self.now()
        lost = self.messages.filter(state__in=LEASED_STATES, lease_until__lt=now)
        by_state = self.messages.values_list("state").annotate(Count("id")).order_by()
        queued = self.messages.filter(state=QUEUED)
        by_alias = queued.values_list("alias").annotate(Count("id")).order_by()
        due = queued.filter(due_at__lte=now).aggregate(count=Count("id"), oldest=Min("due_at"))
        oldest = aware(due["oldest"])
        return Status(
            messages={State(state): count for state, count in by_state},
            due=due["count"],
            oldest=None if oldest is None else _seconds_since(oldest),
            leases_expired=lost.count(),
            queued=dict(by_alias),
            pauses=tuple(self.pauses()),
        )

    def prune(self, *, states: Iterable[State], older_than: float, limit: int = 1000) -> int:
        """See `mailbackends.outbox.Store`.

        Raises:
            ValueError: one of the states is not final.
        """
        wanted = set(states)
        if not wanted <= FINAL:
            raise ValueError(f"only messages in a final state are pruned: {', '.join(FINAL)}")
        old = self.messages.filter(
            state__in=[each.value for each in wanted], updated_at__lt=self.now(-older_than)
        )
        features = self.connection.features
        if features.has_select_for_update:
            # Locked, since a message may be sent again at this moment: that one is left.
            old = old.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        with self._transaction():
            ids = [row.id for row in old.order_by("updated_at").only("id")[:limit]]
            self.messages.filter(id__in=ids).delete()
        return len(ids)

    def erase_content(self, id: UUID) -> None:
        """See `mailbackends.outbox.Store`."""
        final = [each.value for each in FINAL]
        self.messages.filter(id=id, state__in=final).update(
            content=b"", blobs="[]", erased_at=self.now(), version=F("version") + 1
        )

    def blobs_in_use(self, digests: Sequence[str]) -> set[str]:
        """See `mailbackends.outbox.Store`."""
        asked, found = set(digests), set()
        stored = self.messages.exclude(blobs="[]").values_list("blobs", flat=True)
        for blobs in stored.iterator():
            parts = BlobPart.all_from(json.loads(blobs))
            found |= asked.intersection(part.digest for part in parts)
        return found

    # Rows

    def _without_content(
        self,
        rows: QuerySet[models.Message],
        limit: int,
        on_error: Callable[[models.Message, Exception], object] = lambda row, error: None,
    ) -> list[OutboxMessage]:
        found = list(rows.defer("content")[:limit])
        return self._values(found, with_content=False, on_error=on_error)

    def _values(
        self,
        rows: Sequence[models.Message],
        *,
        with_content: bool,
        on_error: Callable[[models.Message, Exception], object],
    ) -> list[OutboxMessage]:
        """The rows that can be read. A row that cannot was changed by hand, or is of a later
        version; it must not stop the others."""
        recipients: dict[UUID, list[models.Recipient]] = defaultdict(list)
        if rows:
            found = models.Recipient.objects.using(self.using)
            for each in found.filter(message_id__in=[row.id for row in rows]).order_by("id"):
                recipients[each.message_id].append(each)
        values: list[OutboxMessage] = []
        for row in rows:
            try:
                values.append(message_value(row, recipients[row.id], with_content=with_content))
            except (ValueError, TypeError, LookupError) as error:
                on_error(row, error)
        return values

    def _park(self, row: models.Message, error: Exception) -> None:
        reason = f"the row cannot be read: {type(error).__name__}: {error}"
        change = Change(
            row.id,
            frozenset({State(row.state)}),
            State.PARKED,
            reason=reason,
            log=LogEntry("parked", reason),
            version=row.version,
        )
        self.record(change)

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        _ = self.connection  # a new one if it is broken
        with transaction.atomic(using=self.using, durable=durable):
            if not self.connection.features.has_select_for_update:
                self._take_write_lock()
            yield

    def _roll_back(self) -> None:
        """Undo what was written in the block of `_transaction`, at its end."""
        transaction.set_rollback(True, using=self.using)

    def _take_write_lock(self) -> None:
        """Begin as ``BEGIN IMMEDIATE`` would, which waits for other writers.

        A transaction on SQLite that reads first and writes later fails if somebody else wrote
        in between, without waiting. This statement changes nothing.
        """
        table = self.connection.ops.quote_name(models.Pause._meta.db_table)
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET failures = failures WHERE 1 = 0")  # noqa: S608


def _seconds_since(moment: datetime) -> float:
    return max(0.0, (timezone.now() - moment).total_seconds())
