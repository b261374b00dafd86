"""`DjangoStore`: the outbox's statements, by Django's ORM, on SQLite, PostgreSQL and MySQL."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from django_integration.outbox import models
from django_integration.outbox.clock import aware, database_now
from django_integration.outbox.listening import Listener
from django_integration.outbox.rows import (
    log_value,
    message_value,
    pause_value,
)
from mailbackends.outbox import (
    FINAL,
    LEASED,
    BlobPart,
    Change,
    LeaseLost,
    LogEntry,
    OutboxMessage,
    Pause,
    Priority,
    State,
    Status,
    order_of_priorities,
)

__all__ = ["DjangoStore"]

_LEASED = tuple(sorted(state.value for state in LEASED))
_QUEUED = State.QUEUED.value


class DjangoStore:
    """A `mailbackends.outbox.Store` over the tables in one of Django's databases.

    Each call is a transaction by itself; inside a transaction of the caller, as in the tests
    of an application, it is a savepoint.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self._listener = Listener(using)

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

    # A worker's calls

    def claim(
        self, limit: int, *, lease: float, worker: str, aliases: Sequence[str]
    ) -> list[OutboxMessage]:
        """See `mailbackends.outbox.Store`.

        Messages that this version cannot read are parked here, so that they block nothing.

        Raises:
            RuntimeError: it is called in a transaction. What the worker notes before and after
                it sends has to be committed at once.
        """
        with self._transaction(durable=True):
            rows = self._due(limit, aliases)
            if not rows:
                return []
            ids = [row.id for row in rows]
            # On databases without row locks another worker may have been faster, unless the
            # transaction has the write lock; the state is compared either way.
            self.messages.filter(id__in=ids, state=_QUEUED).update(
                state=State.CLAIMED.value,
                lease_by=worker,
                lease_until=self.now(lease),
                attempts=F("attempts") + 1,
                updated_at=self.now(),
            )
            for row in rows:
                row.state, row.attempts = State.CLAIMED.value, row.attempts + 1
            return self._values(rows, with_content=True, on_error=self._park)

    def _due(self, limit: int, aliases: Sequence[str]) -> list[models.Message]:
        """Due messages, locked: the most urgent first, and of each priority the oldest."""
        now = self.now()
        paused = models.Pause.objects.using(self.using).filter(until__gt=now)
        running = set(aliases).difference(paused.values_list("alias", flat=True))
        due = self.messages.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now), state=_QUEUED, due_at__lte=now
        )
        oldest = self._oldest(sorted(running))
        # Only differences count: the ages may be by this machine's clock.
        ages = {key: (timezone.now() - moment).total_seconds() for key, moment in oldest.items()}
        waiting: dict[Priority, float] = {}
        for (_, priority), age in ages.items():
            waiting[priority] = max(age, waiting.get(priority, age))
        if self.connection.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        found: list[models.Message] = []
        for priority in order_of_priorities(waiting):
            chosen = [alias for alias, other in ages if other == priority]
            for alias in sorted(chosen, key=lambda each: -ages[each, priority]):
                rows = due.filter(alias=alias, priority=int(priority)).order_by("due_at")
                found += rows[: limit - len(found)]
                if len(found) >= limit:
                    return found
        return found

    def _oldest(self, aliases: Sequence[str]) -> dict[tuple[str, Priority], datetime]:
        """When the oldest queued message of each alias and priority is due.

        Each is one look into the index, however many messages wait.
        """
        found: dict[tuple[str, Priority], datetime] = {}
        for alias in aliases:
            for priority in Priority:
                queued = self.messages.filter(state=_QUEUED, alias=alias, priority=int(priority))
                moment = aware(queued.aggregate(oldest=Min("due_at"))["oldest"])
                if moment is not None:
                    found[alias, priority] = moment
        return found

    def begin(self, messages: Sequence[OutboxMessage], *, lease: float, worker: str) -> None:
        """See `mailbackends.outbox.Store`."""
        with self._transaction():
            leased = self._leased(messages, worker)
            count = leased.update(
                state=State.BEGUN.value, lease_until=self.now(lease), updated_at=self.now()
            )
            if count != len(messages):
                mine = set(self._leased(messages, worker).values_list("id", flat=True))
                raise LeaseLost([each.id for each in messages if each.id not in mine])

    def _leased(self, messages: Sequence[OutboxMessage], worker: str) -> QuerySet[models.Message]:
        by_attempts: dict[int, list[UUID]] = defaultdict(list)
        for each in messages:
            by_attempts[each.attempts].append(each.id)
        which = Q()
        for attempts, ids in by_attempts.items():
            which |= Q(attempts=attempts, id__in=ids)
        return self.messages.filter(which, lease_by=worker, state__in=_LEASED)

    def record(self, change: Change) -> bool:
        """See `mailbackends.outbox.Store`."""
        row = self.messages.filter(id=change.id, state__in=[each.value for each in change.before])
        if change.lease_by is not None:
            row = row.filter(lease_by=change.lease_by)
        if change.attempts is not None:
            row = row.filter(attempts=change.attempts)
        now = self.now()
        values: dict[str, Any] = {
            "state": change.state.value,
            "reason": change.reason,
            "lost_leases": change.lost_leases,
            "updated_at": now,
            "lease_until": None,
        }
        if change.state is not State.UNKNOWN:
            values["lease_by"] = ""
        if change.delay is not None:
            values["due_at"] = self.now(change.delay)
        if change.clear_expiry:
            values["expires_at"] = None
        with self._transaction():
            if not row.update(**values):
                return False
            self._record_recipients(change, now)
            if change.log is not None:
                models.LogEntry.objects.using(self.using).create(
                    message_id=change.id,
                    at=now,
                    kind=change.log.kind,
                    text=change.log.text,
                    by=change.log.by,
                )
        return True

    def _record_recipients(self, change: Change, now: Any) -> None:
        """One UPDATE for all recipients with the same reply: nearly always one for all."""
        same: dict[Any, list[str]] = defaultdict(list)
        attempted = set(change.attempted)
        for address, each in change.recipients.items():
            reply = each.reply
            same[each.state, reply, each.server, address in attempted].append(address)
        for address in attempted.difference(change.recipients):
            same[None, None, "", True].append(address)
        recipients = models.Recipient.objects.using(self.using).filter(message_id=change.id)
        for (state, reply, server, is_attempt), addresses in same.items():
            values: dict[str, Any] = {} if state is None else {"state": state.value, "at": now}
            if reply is not None:
                enhanced = str(reply.enhanced or "")
                values |= {"code": reply.code, "enhanced": enhanced, "text": reply.text}
            if server:
                values["server"] = server
            if is_attempt:
                values["attempts"] = F("attempts") + 1
            recipients.filter(address__in=addresses).update(**values)

    def release(self, messages: Sequence[OutboxMessage], *, worker: str) -> int:
        """See `mailbackends.outbox.Store`."""
        with self._transaction():
            claimed = self._leased(messages, worker).filter(state=State.CLAIMED.value)
            now = self.now()
            return claimed.update(
                state=_QUEUED,
                lease_by="",
                lease_until=None,
                due_at=now,
                updated_at=now,
                attempts=F("attempts") - 1,
            )

    def renew(self, messages: Sequence[OutboxMessage], *, lease: float, worker: str) -> int:
        """See `mailbackends.outbox.Store`."""
        with self._transaction():
            return self._leased(messages, worker).update(lease_until=self.now(lease))

    # A sweep's calls

    def lost(self, limit: int) -> list[OutboxMessage]:
        """See `mailbackends.outbox.Store`."""
        expired = self.messages.filter(state__in=_LEASED, lease_until__lt=self.now())
        return self._without_content(expired.order_by("lease_until"), limit)

    def overdue(self, limit: int) -> list[OutboxMessage]:
        """See `mailbackends.outbox.Store`."""
        late = self.messages.filter(state=_QUEUED, expires_at__lte=self.now())
        return self._without_content(late.order_by("expires_at"), limit)

    # An operator's calls

    def get(self, id: UUID) -> OutboxMessage | None:
        """See `mailbackends.outbox.Store`."""
        found = self._values(list(self.messages.filter(id=id)), with_content=True)
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

    def pause(self, alias: str, seconds: float, *, failures: int, reason: str) -> None:
        """See `mailbackends.outbox.Store`."""
        pauses = models.Pause.objects.using(self.using)
        until = self.now(seconds)
        with self._transaction():
            pauses.bulk_create(
                [models.Pause(alias=alias, until=self.now(), failures=0)], ignore_conflicts=True
            )
            pauses.filter(alias=alias).update(failures=failures, reason=reason)
            pauses.filter(alias=alias, until__lt=until).update(until=until)

    def resume(self, alias: str) -> None:
        """See `mailbackends.outbox.Store`."""
        models.Pause.objects.using(self.using).filter(alias=alias).delete()

    def pauses(self) -> list[Pause]:
        """See `mailbackends.outbox.Store`."""
        return [pause_value(row) for row in models.Pause.objects.using(self.using)]

    def status(self) -> Status:
        """See `mailbackends.outbox.Store`."""
        now = self.now()
        by_state = self.messages.values_list("state").annotate(Count("id")).order_by()
        queued = self.messages.filter(state=_QUEUED)
        by_alias = queued.values_list("alias").annotate(Count("id")).order_by()
        due = queued.filter(due_at__lte=now).aggregate(count=Count("id"), oldest=Min("due_at"))
        oldest = aware(due["oldest"])
        return Status(
            messages={State(state): count for state, count in by_state},
            due=due["count"],
            oldest=None if oldest is None else _seconds_since(oldest),
            leases_expired=self.messages.filter(state__in=_LEASED, lease_until__lt=now).count(),
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
        with self._transaction():
            ids = list(old.order_by("updated_at").values_list("id", flat=True)[:limit])
            # The state again: a message may be sent again meanwhile.
            self.messages.filter(id__in=ids).exclude(state__in=(*_LEASED, _QUEUED)).delete()
        return len(ids)

    def erase_content(self, id: UUID) -> None:
        """See `mailbackends.outbox.Store`."""
        final = [each.value for each in FINAL]
        self.messages.filter(id=id, state__in=final).update(
            content=b"", blobs="[]", erased_at=self.now()
        )

    def blobs_in_use(self, digests: Sequence[str]) -> set[str]:
        """See `mailbackends.outbox.Store`."""
        asked, found = set(digests), set()
        stored = self.messages.exclude(blobs="[]").values_list("blobs", flat=True)
        for blobs in stored.iterator():
            parts = BlobPart.all_from(json.loads(blobs))
            found |= asked.intersection(part.digest for part in parts)
        return found

    def wait(self, seconds: float) -> bool:
        """See `mailbackends.outbox.Store`."""
        return self._listener.wait(seconds)

    def close(self) -> None:
        """Close the connection that waits."""
        self._listener.close()

    # Rows

    def _without_content(self, rows: QuerySet[models.Message], limit: int) -> list[OutboxMessage]:
        return self._values(list(rows.defer("content")[:limit]), with_content=False)

    def _values(
        self,
        rows: Sequence[models.Message],
        *,
        with_content: bool,
        on_error: Callable[[models.Message, Exception], None] = lambda row, error: None,
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
        change = Change(row.id, LEASED, State.PARKED, reason=reason, log=LogEntry("parked", reason))
        self.record(change)

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        _ = self.connection  # a new one if it is broken
        with transaction.atomic(using=self.using, durable=durable):
            if not self.connection.features.has_select_for_update:
                self._take_write_lock()
            yield

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
