"""What people and their programs ask a store over SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, delete, func, insert, select, text, type_coerce, update

from mailbackends.outbox.sqlalchemy_base import SQLAlchemyBase, after
from mailbackends.outbox.sqlalchemy_rows import raw_rows, values_of
from mailbackends.outbox.state import FINAL, RecipientState, State
from mailbackends.outbox.tables import IS_LEASED, IS_QUEUED
from mailbackends.outbox.values import LogEntry, OutboxMessage, Pause, Status
from mailbackends.sql import now_ms

__all__ = ["OperatorCalls"]

_DAY = 86_400_000  # milliseconds


class OperatorCalls(SQLAlchemyBase):
    """The calls of a `Store` that find, count and delete messages."""

    def get(self, id: UUID) -> OutboxMessage | None:
        """See `Store.get`."""

        def unreadable(_: Any, error: Exception) -> None:
            raise ValueError(f"the message {id} cannot be read: {error}") from error

        query = raw_rows(self.tables, with_content=True).where(self.tables.message.c.id == id)
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
            found = values_of(connection, self.tables, rows, unreadable)
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
        """See `Store.find`."""
        message, recipient = self.tables.message, self.tables.recipient
        where: list[Any] = []
        if state is not None:
            where.append(message.c.state == state)
        if message_id is not None:
            where.append(message.c.message_id == message_id)
        if key is not None:
            where.append(message.c.key == key)
        if address is not None:
            found = select(recipient.c.message).where(recipient.c.address == address)
            where.append(message.c.id.in_(found))
        return self._select(*where, order=message.c.id.desc(), limit=limit)

    def log(self, id: UUID) -> list[LogEntry]:
        """See `Store.log`."""
        log = self.tables.log
        with self.engine.connect() as connection:
            rows = connection.execute(select(log).where(log.c.message == id).order_by(log.c.id))
            return [LogEntry(row.kind, row.text, row.by, row.at) for row in rows]

    def add_log(self, id: UUID, kind: str, *, text: str = "", by: str = "") -> None:
        """Add a line to the history of a message, such as who has read its content."""
        with self._transaction() as connection:
            connection.execute(
                insert(self.tables.log).values(message=id, at=now_ms(), kind=kind, text=text, by=by)
            )

    def per_day(self, days: int) -> list[dict[str, Any]]:
        """How many recipients got each outcome, for each of the last days, the latest first.

        Days are those of UTC. What was pruned is not counted any more.
        """
        recipient = self.tables.recipient
        day = (type_coerce(recipient.c.at, BigInteger) // _DAY).label("day")
        since = now_ms() - days * _DAY
        query = (
            select(day, recipient.c.state, func.count())
            .where(recipient.c.state != RecipientState.PENDING, recipient.c.at >= since)
            .group_by(day, recipient.c.state)
            .order_by(day.desc(), recipient.c.state)
        )
        found: dict[str, dict[str, int]] = {}
        with self.engine.connect() as connection:
            for number, state, count in connection.execute(query):
                name = str(date(1970, 1, 1) + timedelta(days=int(number)))
                found.setdefault(name, {})[str(state)] = count
        return [{"day": name, "recipients": counts} for name, counts in found.items()]

    def status(self) -> Status:
        """See `Store.status`."""
        message = self.tables.message
        with self.engine.connect() as connection:
            counts = connection.execute(
                select(message.c.state, func.count()).group_by(message.c.state)
            ).all()
            queued = connection.execute(
                select(message.c.alias, func.count())
                .where(text(IS_QUEUED))
                .group_by(message.c.alias)
            ).all()
            age = func.min(type_coerce(message.c.due_at, BigInteger))
            is_due = (text(IS_QUEUED), message.c.due_at <= now_ms())
            due, oldest = connection.execute(
                select(func.count(), now_ms() - age).select_from(message).where(*is_due)
            ).one()
            lost = connection.scalar(
                select(func.count())
                .select_from(message)
                .where(text(IS_LEASED), message.c.lease_until < now_ms())
            )
        return Status(
            messages={State(state): count for state, count in counts},
            due=due,
            oldest=None if oldest is None else oldest / 1000,
            leases_expired=lost or 0,
            queued={str(row[0]): int(row[1]) for row in queued},
            pauses=tuple(self.pauses()),
        )

    def prune(self, *, states: Iterable[State], older_than: float, limit: int = 1000) -> int:
        """See `Store.prune`."""
        message = self.tables.message
        final = sorted(FINAL.intersection(states))
        with self._transaction() as connection:
            query = (
                select(message.c.id)
                .where(message.c.state.in_(final), message.c.updated_at < after(-older_than))
                .limit(limit)
            )
            if self._has_row_locks:
                query = query.with_for_update(skip_locked=True)
            ids = list(connection.scalars(query))
            if ids:
                # SQLite does not cascade unless the application asks for it.
                for table in (self.tables.recipient, self.tables.blob, self.tables.log):
                    connection.execute(delete(table).where(table.c.message.in_(ids)))
                connection.execute(delete(message).where(message.c.id.in_(ids)))
        return len(ids)

    def erase_content(self, id: UUID) -> None:
        """See `Store.erase_content`."""
        message, blob = self.tables.message, self.tables.blob
        with self._transaction() as connection:
            erased = connection.execute(
                update(message)
                .where(message.c.id == id, message.c.state.in_(sorted(FINAL)))
                .values(content=b"", blobs="[]", version=message.c.version + 1)
            ).rowcount
            if erased:
                connection.execute(delete(blob).where(blob.c.message == id))

    def blobs_in_use(self, digests: Sequence[str]) -> set[str]:
        """See `Store.blobs_in_use`."""
        blob = self.tables.blob
        with self.engine.connect() as connection:
            return set(connection.scalars(select(blob.c.digest).where(blob.c.digest.in_(digests))))

    def pauses(self) -> list[Pause]:
        """See `Store.pauses`."""
        pause = self.tables.pause
        with self.engine.connect() as connection:
            return [
                Pause(row.alias, row.until, row.failures, row.reason)
                for row in connection.execute(select(pause).order_by(pause.c.alias))
            ]
