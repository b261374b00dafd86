"""A store over SQLAlchemy: SQLite, PostgreSQL, MySQL and MariaDB. Needs the extra ``outbox``."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Engine,
    Row,
    and_,
    bindparam,
    delete,
    false,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

from mailbackends.outbox.ids import lease_token
from mailbackends.outbox.sqlalchemy_base import after
from mailbackends.outbox.sqlalchemy_due import due_bands, is_due
from mailbackends.outbox.sqlalchemy_insert import ignoring_duplicates
from mailbackends.outbox.sqlalchemy_operating import OperatorCalls
from mailbackends.outbox.sqlalchemy_recording import Recorder
from mailbackends.outbox.sqlalchemy_rows import raw_rows
from mailbackends.outbox.state import LEASED, State
from mailbackends.outbox.store import LeaseLost
from mailbackends.outbox.tables import CHANNEL, IS_LEASED, IS_QUEUED, Tables
from mailbackends.outbox.values import Change, OutboxMessage
from mailbackends.sql import now_ms

__all__ = ["SQLAlchemyStore"]


class SQLAlchemyStore(OperatorCalls):
    """A `Store` over the tables of `outbox_tables`, by the connections of an engine.

    Raises:
        ConfigurationError: the engine commits each statement by itself.
    """

    def __init__(self, engine: Engine, tables: Tables | None = None) -> None:
        super().__init__(engine, tables)
        self._recorder = Recorder(self.tables)
        self._listener: Any = None
        self._listening = threading.Lock()

    def claim(
        self, limit: int, *, lease: float, worker: str, aliases: Sequence[str]
    ) -> list[OutboxMessage]:
        """See `Store.claim`."""
        while True:
            claimed, seen = self._claim(limit, lease, worker, aliases)
            # Where all of them were parked, others may be due.
            if claimed or not seen:
                return claimed

    def _claim(
        self, limit: int, lease: float, worker: str, aliases: Sequence[str]
    ) -> tuple[list[OutboxMessage], int]:
        """The messages that were claimed, and the number of rows that were looked at."""
        message = self.tables.message
        with self._transaction() as connection:
            bands = due_bands(connection, self.tables, aliases)
            rows: list[Row[Any]] = []
            for alias, priority in bands:
                query = (
                    raw_rows(self.tables, with_content=True)
                    .where(*is_due(self.tables, alias, priority))
                    .order_by(message.c.due_at)
                    .limit(limit - len(rows))
                )
                if self._has_row_locks:
                    query = query.with_for_update(skip_locked=True)
                rows += connection.execute(query)
                if len(rows) >= limit:
                    break
            if not rows:
                return [], 0
            token = lease_token(worker)
            ids = [row.id for row in rows]
            changed = connection.execute(
                update(message)
                .where(
                    type_coerce(message.c.id, NullType()).in_(ids),
                    message.c.state == State.QUEUED,
                )
                .values(
                    state=State.CLAIMED,
                    lease_by=token,
                    lease_until=after(lease),
                    attempts=message.c.attempts + 1,
                    updated_at=now_ms(),
                )
            ).rowcount
            if changed != len(ids):
                # Only where the transaction did not begin with the write lock.
                connection.rollback()
                return [], 0
            claimed = self._values(connection, rows, state=State.CLAIMED, lease_by=token)
            return [replace(each, attempts=each.attempts + 1) for each in claimed], len(rows)

    def begin(self, messages: Sequence[OutboxMessage], *, lease: float) -> None:
        """See `Store.begin`."""
        message = self.tables.message
        with self._transaction() as connection:
            if len(messages) == 1:
                values = {
                    "p_id": messages[0].id,
                    "p_lease_by": messages[0].lease_by,
                    "p_lease": int(lease * 1000),
                }
                if connection.execute(self._begin_one, values).rowcount:
                    return
                connection.rollback()
                raise LeaseLost([messages[0].id])
            begun = connection.execute(
                update(message)
                .where(self._is_leased(messages))
                .values(state=State.BEGUN, lease_until=after(lease), updated_at=now_ms())
            ).rowcount
            if begun == len({each.id for each in messages}):
                return
            held = set(connection.scalars(select(message.c.id).where(self._is_leased(messages))))
            connection.rollback()
        raise LeaseLost(each.id for each in messages if each.id not in held)

    def record(self, change: Change) -> bool:
        """See `Store.record`."""
        with self._transaction() as connection:
            return self._recorder.record(connection, change)

    def record_all(self, changes: Sequence[Change]) -> list[bool]:
        """See `Store.record_all`."""
        if self.engine.dialect.supports_sane_multi_rowcount:
            with self._transaction() as connection:
                if self._recorder.record_all(connection, changes):
                    return [True] * len(changes)
                connection.rollback()
        with self._transaction() as connection:
            return [self._recorder.record(connection, change) for change in changes]

    def release(self, messages: Sequence[OutboxMessage]) -> int:
        """See `Store.release`."""
        message = self.tables.message
        with self._transaction() as connection:
            return connection.execute(
                update(message)
                .where(self._is_leased(messages), message.c.state == State.CLAIMED)
                .values(
                    state=State.QUEUED,
                    lease_by=None,
                    lease_until=None,
                    attempts=message.c.attempts - 1,
                    updated_at=now_ms(),
                )
            ).rowcount

    def renew(self, messages: Sequence[OutboxMessage], *, lease: float) -> int:
        """See `Store.renew`."""
        if self._has_row_locks and len(messages) > 1:
            # One by one: two transactions that lock the same rows in another order, this and
            # `begin`, would wait for each other.
            return sum(self.renew([each], lease=lease) for each in messages)
        with self._transaction() as connection:
            return connection.execute(
                update(self.tables.message)
                .where(self._is_leased(messages))
                .values(lease_until=after(lease))
            ).rowcount

    def lost(self, limit: int) -> list[OutboxMessage]:
        """See `Store.lost`."""
        message = self.tables.message
        return self._select(
            text(IS_LEASED),
            message.c.lease_until < now_ms(),
            order=message.c.lease_until,
            limit=limit,
            parks=True,
        )

    def overdue(self, limit: int) -> list[OutboxMessage]:
        """See `Store.overdue`."""
        message = self.tables.message
        return self._select(
            text(IS_QUEUED),
            message.c.expires_at <= now_ms(),
            order=message.c.expires_at,
            limit=limit,
            parks=True,
        )

    def pause(self, alias: str, seconds: float, *, failures: int, reason: str) -> None:
        """See `Store.pause`."""
        pause = self.tables.pause
        values = {"until": after(seconds), "failures": failures, "reason": reason}
        with self._transaction() as connection:
            # `until` may lie further ahead, by a worker that failed more often.
            changed = connection.execute(
                update(pause)
                .where(pause.c.alias == alias, pause.c.until < after(seconds))
                .values(values)
            ).rowcount
            if not changed:
                insert = ignoring_duplicates(self.engine.dialect.name, pause)
                connection.execute(insert.values(alias=alias, **values))

    def resume(self, alias: str) -> None:
        """See `Store.resume`."""
        pause = self.tables.pause
        with self._transaction() as connection:
            connection.execute(delete(pause).where(pause.c.alias == alias))

    def wait(self, seconds: float) -> bool:
        """See `Store.wait`: on PostgreSQL with psycopg 3, a notification ends it at once."""
        if self.engine.dialect.driver != "psycopg" or not self._listening.acquire(blocking=False):
            time.sleep(seconds)
            return True
        try:
            if self._listener is None:
                connection = self.engine.raw_connection()
                self._listener = connection.driver_connection
                connection.detach()
                self._listener.autocommit = True
                self._listener.execute(f"LISTEN {CHANNEL}")
                return True  # What was inserted before it listened was not notified.
            return any(True for _ in self._listener.notifies(timeout=seconds, stop_after=1))
        except Exception:
            self._stop_listening()
            raise
        finally:
            self._listening.release()

    def close(self) -> None:
        """See `Store.close`. The engine is the caller's."""
        self._stop_listening()

    # --- Statements ---------------------------------------------------------------------------

    @cached_property
    def _begin_one(self) -> Any:
        # For each message: to build it takes longer than to run it.
        message = self.tables.message
        return (
            update(message)
            .where(
                message.c.id == bindparam("p_id"),
                message.c.lease_by == bindparam("p_lease_by"),
                or_(*(message.c.state == str(state) for state in sorted(LEASED))),
            )
            .values(
                state=str(State.BEGUN),
                lease_until=now_ms() + bindparam("p_lease", type_=BigInteger),
                updated_at=now_ms(),
            )
        )

    def _is_leased(self, messages: Sequence[OutboxMessage]) -> Any:
        """True for those of the messages that are still under the lease that claimed them."""
        message = self.tables.message
        ids: dict[str, list[UUID]] = defaultdict(list)
        for each in messages:
            ids[each.lease_by].append(each.id)
        leases = [
            and_(message.c.lease_by == token, message.c.id.in_(some)) for token, some in ids.items()
        ]
        return and_(or_(false(), *leases), message.c.state.in_(sorted(LEASED)))

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(Exception):
                listener.close()
