"""`DjangoStore`: the outbox's statements, by Django's ORM, on SQLite, PostgreSQL and MySQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Min, Q, QuerySet
from django.utils import timezone

from django_integration.outbox import models
from django_integration.outbox.clock import aware
from django_integration.outbox.listening import Listener
from django_integration.outbox.queries import LEASED_STATES, QUEUED, Queries
from django_integration.outbox.recording import are_outcomes, record_outcomes
from mailbackends.outbox import (
    LEASED,
    Change,
    LeaseLost,
    OutboxMessage,
    Priority,
    State,
    lease_token,
    order_of_priorities,
)

__all__ = ["DjangoStore"]


class DjangoStore(Queries):
    """A `mailbackends.outbox.Store` over the tables in one of Django's databases.

    Each call is a transaction by itself; inside a transaction of the caller, as in the tests
    of an application, it is a savepoint.
    """

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self._listener = Listener(using)

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
        while True:
            claimed, seen = self._claim(limit, lease, worker, aliases)
            # Where all of them were parked, others may be due.
            if claimed or not seen:
                return claimed

    def _claim(
        self, limit: int, lease: float, worker: str, aliases: Sequence[str]
    ) -> tuple[list[OutboxMessage], int]:
        """The messages that were claimed, and the number of rows that were looked at."""
        with self._transaction(durable=True):
            rows = self._due(limit, aliases)
            if not rows:
                return [], 0
            ids = [row.id for row in rows]
            token = lease_token(worker)
            # On databases without row locks another worker may have been faster, unless the
            # transaction has the write lock; the state is compared either way.
            self.messages.filter(id__in=ids, state=QUEUED).update(
                state=State.CLAIMED.value,
                lease_by=token,
                lease_until=self.now(lease),
                attempts=F("attempts") + 1,
                updated_at=self.now(),
            )
            for row in rows:
                row.state, row.attempts = State.CLAIMED.value, row.attempts + 1
                row.lease_by = token
            claimed = self._values(rows, with_content=True, on_error=self._park)
            return claimed, len(rows)

    def _due(self, limit: int, aliases: Sequence[str]) -> list[models.Message]:
        """Due messages, locked: the most urgent first, and of each priority the oldest."""
        now = self.now()
        paused = models.Pause.objects.using(self.using).filter(until__gt=now)
        running = set(aliases).difference(paused.values_list("alias", flat=True))
        due = self.messages.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now), state=QUEUED, due_at__lte=now
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
                queued = self.messages.filter(state=QUEUED, alias=alias, priority=int(priority))
                moment = aware(queued.aggregate(oldest=Min("due_at"))["oldest"])
                if moment is not None:
                    found[alias, priority] = moment
        return found

    def begin(self, messages: Sequence[OutboxMessage], *, lease: float) -> None:
        """See `mailbackends.outbox.Store`."""
        with self._transaction():
            leased = self._leased(messages)
            count = leased.update(
                state=State.BEGUN.value, lease_until=self.now(lease), updated_at=self.now()
            )
            if count != len(messages):
                mine = set(self._leased(messages).values_list("id", flat=True))
                raise LeaseLost([each.id for each in messages if each.id not in mine])

    def _leased(self, messages: Sequence[OutboxMessage]) -> QuerySet[models.Message]:
        """Those of the messages that are still under the lease that claimed them."""
        ids: dict[str, list[UUID]] = defaultdict(list)
        for each in messages:
            ids[each.lease_by].append(each.id)
        which = Q(id__in=[])
        for token, some in ids.items():
            which |= Q(lease_by=token, id__in=some)
        return self.messages.filter(which, state__in=LEASED_STATES)

    def record(self, change: Change) -> bool:
        """See `mailbackends.outbox.Store`."""
        row = self.messages.filter(id=change.id, state__in=[each.value for each in change.before])
        if change.lease_by is not None:
            row = row.filter(lease_by=change.lease_by)
        if change.version is not None:
            row = row.filter(version=change.version)
        if change.is_lease_over:
            row = row.filter(lease_until__lt=self.now())
        now = self.now()
        values: dict[str, Any] = {
            "state": change.state.value,
            "reason": change.reason,
            "lost_leases": change.lost_leases,
            "updated_at": now,
            "version": F("version") + 1,
        }
        if change.state not in LEASED:
            values["lease_until"] = None
            if change.state is not State.UNKNOWN:
                values["lease_by"] = ""
        if change.delay is not None:
            values["due_at"] = self.now(change.delay)
        if change.restarts:
            values |= {"expires_at": None, "attempts": 0}
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

    def record_all(self, changes: Sequence[Change]) -> list[bool]:
        """See `mailbackends.outbox.Store`."""
        if are_outcomes(changes):
            with self._transaction():
                if record_outcomes(changes, self.connection):
                    return [True] * len(changes)
                self._roll_back()
        with self._transaction():
            return [self.record(change) for change in changes]

    def _record_recipients(self, change: Change, now: Any) -> None:
        """One UPDATE for all recipients with the same reply: nearly always one for all."""
        same: dict[Any, list[str]] = defaultdict(list)
        attempted = set(change.attempted)
        for address, each in change.recipients.items():
            columns = tuple(each.columns.items())
            same[each.state, columns, address in attempted].append(address)
        recipients = models.Recipient.objects.using(self.using).filter(message_id=change.id)
        for (state, columns, is_attempt), addresses in same.items():
            values = {"state": state.value, "at": now, **dict(columns)}
            if is_attempt:
                values["attempts"] = F("attempts") + 1
            recipients.filter(address__in=addresses).update(**values)

    def release(self, messages: Sequence[OutboxMessage]) -> int:
        """See `mailbackends.outbox.Store`."""
        with self._transaction():
            claimed = self._leased(messages).filter(state=State.CLAIMED.value)
            return claimed.update(
                state=QUEUED,
                lease_by="",
                lease_until=None,
                updated_at=self.now(),
                attempts=F("attempts") - 1,
            )

    def renew(self, messages: Sequence[OutboxMessage], *, lease: float) -> int:
        """See `mailbackends.outbox.Store`."""
        if self.connection.features.has_select_for_update and len(messages) > 1:
            # One by one: two transactions that lock the same rows in another order, this and
            # `record_all`, would wait for each other.
            return sum(self.renew([each], lease=lease) for each in messages)
        with self._transaction():
            return self._leased(messages).update(lease_until=self.now(lease))

    # A sweep's calls

    def lost(self, limit: int) -> list[OutboxMessage]:
        """See `mailbackends.outbox.Store`."""
        expired = self.messages.filter(state__in=LEASED_STATES, lease_until__lt=self.now())
        return self._without_content(expired.order_by("lease_until"), limit, on_error=self._park)

    def overdue(self, limit: int) -> list[OutboxMessage]:
        """See `mailbackends.outbox.Store`."""
        late = self.messages.filter(state=QUEUED, expires_at__lte=self.now())
        return self._without_content(late.order_by("expires_at"), limit, on_error=self._park)

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

    def wait(self, seconds: float) -> bool:
        """See `mailbackends.outbox.Store`."""
        return self._listener.wait(seconds)

    def close(self) -> None:
        """Close the connection that waits."""
        self._listener.close()
