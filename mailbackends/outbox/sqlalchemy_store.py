"""A store over SQLAlchemy: SQLite, PostgreSQL, MySQL and MariaDB. Needs the extra ``outbox``."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Row,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    null,
    or_,
    select,
    tuple_,
    type_coerce,
    union_all,
    update,
)

from mailbackends.errors import ConfigurationError
from mailbackends.outbox.policy import order_of_priorities
from mailbackends.outbox.sqlalchemy_insert import ignoring_duplicates
from mailbackends.outbox.state import FINAL, LEASED, State
from mailbackends.outbox.store import LeaseLost
from mailbackends.outbox.tables import CHANNEL, Tables, outbox_tables
from mailbackends.outbox.values import (
    BlobPart,
    Change,
    LogEntry,
    OutboxMessage,
    OutboxRecipient,
    Pause,
    Priority,
    RecipientChange,
    Status,
)
from mailbackends.sql import now_ms, writing

__all__ = ["SQLAlchemyStore"]

_ROW_LOCKS = frozenset({"postgresql", "mysql", "mariadb"})


class SQLAlchemyStore:
    """A `Store` over the tables of `outbox_tables`, by the connections of an engine.

    Raises:
        ConfigurationError: the engine commits each statement by itself.
    """

    def __init__(self, engine: Engine, tables: Tables | None = None) -> None:
        levels = (
            engine.get_execution_options().get("isolation_level"),
            getattr(engine.dialect, "_on_connect_isolation_level", None),
        )
        if "AUTOCOMMIT" in levels:
            raise ConfigurationError(
                "the outbox needs transactions, and the engine has isolation_level='AUTOCOMMIT': "
                "give it an engine without that"
            )
        self.engine = engine
        self.tables: Tables = tables or outbox_tables()
        self._has_row_locks = engine.dialect.name in _ROW_LOCKS
        # What is done for each message is built once: to build a statement takes longer than
        # to run it.
        self._statements: dict[Any, Any] = {}
        self._listener: Any = None
        self._listening = threading.Lock()

    def create_tables(self) -> None:
        """Create the tables that do not exist; for applications without migrations."""
        self.tables.message.metadata.create_all(self.engine, tables=self.tables.all)

    # --- The worker's calls -------------------------------------------------------------------

    def claim(
        self, limit: int, *, lease: float, worker: str, aliases: Sequence[str]
    ) -> list[OutboxMessage]:
        """See `Store.claim`."""
        message = self.tables.message
        with self._transaction() as connection:
            bands = self._bands(connection, aliases)
            rows: list[Row[Any]] = []
            for alias, priority in bands:
                query = (
                    select(message)
                    .where(*self._is_due(alias, priority))
                    .order_by(message.c.due_at)
                    .limit(limit - len(rows))
                )
                if self._has_row_locks:
                    query = query.with_for_update(skip_locked=True)
                rows += connection.execute(query)
                if len(rows) >= limit:
                    break
            if not rows:
                return []
            ids = [row.id for row in rows]
            changed = connection.execute(
                update(message)
                .where(message.c.id.in_(ids), message.c.state == State.QUEUED)
                .values(
                    state=State.CLAIMED,
                    lease_by=worker,
                    lease_until=_after(lease),
                    attempts=message.c.attempts + 1,
                    updated_at=now_ms(),
                )
            ).rowcount
            if changed != len(ids):
                # Only where the transaction did not begin with the write lock.
                connection.rollback()
                return []
            return self._values(connection, rows, state=State.CLAIMED, attempts=1)

    def begin(self, messages: Sequence[OutboxMessage], *, lease: float, worker: str) -> None:
        """See `Store.begin`."""
        message = self.tables.message
        with self._transaction() as connection:
            if len(messages) == 1:
                values = {
                    "p_id": messages[0].id,
                    "p_attempts": messages[0].attempts,
                    "p_lease_by": worker,
                    "p_lease": int(lease * 1000),
                }
                if connection.execute(self._statement("begin", self._begin_one), values).rowcount:
                    return
                connection.rollback()
                raise LeaseLost([messages[0].id])
            begun = connection.execute(
                update(message)
                .where(self._is_leased(messages, worker))
                .values(state=State.BEGUN, lease_until=_after(lease), updated_at=now_ms())
            ).rowcount
            if begun == len({each.id for each in messages}):
                return
            held = set(
                connection.scalars(select(message.c.id).where(self._is_leased(messages, worker)))
            )
            connection.rollback()
        raise LeaseLost(each.id for each in messages if each.id not in held)

    def record(self, change: Change) -> bool:
        """See `Store.record`."""
        keeps_lease = change.state is State.UNKNOWN
        values: dict[str, Any] = {
            "p_id": change.id,
            "p_state": change.state,
            "p_reason": change.reason,
            "p_lost_leases": change.lost_leases,
        }
        if change.lease_by is not None:
            values["p_lease_by"] = change.lease_by
        if change.attempts is not None:
            values["p_attempts"] = change.attempts
        if change.delay is not None:
            values["p_delay"] = int(change.delay * 1000)
        shape = (frozenset(values), change.before, keeps_lease, change.clear_expiry)
        with self._transaction() as connection:
            update_message = self._statement(shape, lambda: self._update_message(*shape))
            if not connection.execute(update_message, values).rowcount:
                return False
            self._record_recipients(connection, change)
            if change.log is not None:
                entry = change.log
                connection.execute(
                    self._statement("log", self._insert_log),
                    {
                        "p_message": change.id,
                        "p_kind": entry.kind,
                        "p_text": entry.text,
                        "p_by": entry.by,
                    },
                )
        return True

    def release(self, messages: Sequence[OutboxMessage], *, worker: str) -> int:
        """See `Store.release`."""
        message = self.tables.message
        with self._transaction() as connection:
            return connection.execute(
                update(message)
                .where(self._is_leased(messages, worker), message.c.state == State.CLAIMED)
                .values(
                    state=State.QUEUED,
                    lease_by=None,
                    lease_until=None,
                    attempts=message.c.attempts - 1,
                    updated_at=now_ms(),
                )
            ).rowcount

    def renew(self, messages: Sequence[OutboxMessage], *, lease: float, worker: str) -> int:
        """See `Store.renew`."""
        if self._has_row_locks and len(messages) > 1:
            # One by one: two transactions that lock the same rows in another order, this and
            # `begin`, would wait for each other.
            return sum(self.renew([each], lease=lease, worker=worker) for each in messages)
        with self._transaction() as connection:
            return connection.execute(
                update(self.tables.message)
                .where(self._is_leased(messages, worker))
                .values(lease_until=_after(lease))
            ).rowcount

    def lost(self, limit: int) -> list[OutboxMessage]:
        """See `Store.lost`."""
        message = self.tables.message
        return self._select(
            message.c.state.in_(sorted(LEASED)),
            message.c.lease_until < now_ms(),
            order=message.c.lease_until,
            limit=limit,
        )

    def overdue(self, limit: int) -> list[OutboxMessage]:
        """See `Store.overdue`."""
        message = self.tables.message
        return self._select(
            message.c.state == State.QUEUED,
            message.c.expires_at <= now_ms(),
            order=message.c.expires_at,
            limit=limit,
        )

    def pause(self, alias: str, seconds: float, *, failures: int, reason: str) -> None:
        """See `Store.pause`."""
        pause = self.tables.pause
        values = {"until": _after(seconds), "failures": failures, "reason": reason}
        with self._transaction() as connection:
            # `until` may lie further ahead, by a worker that failed more often.
            changed = connection.execute(
                update(pause)
                .where(pause.c.alias == alias, pause.c.until < _after(seconds))
                .values(values)
            ).rowcount
            if not changed:
                connection.execute(self._ignoring_duplicates(pause).values(alias=alias, **values))

    def resume(self, alias: str) -> None:
        """See `Store.resume`."""
        pause = self.tables.pause
        with self._transaction() as connection:
            connection.execute(delete(pause).where(pause.c.alias == alias))

    def pauses(self) -> list[Pause]:
        """See `Store.pauses`."""
        pause = self.tables.pause
        with self._reading() as connection:
            return [
                Pause(row.alias, row.until, row.failures, row.reason)
                for row in connection.execute(select(pause).order_by(pause.c.alias))
            ]

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

    # --- The operator's calls -----------------------------------------------------------------

    def get(self, id: UUID) -> OutboxMessage | None:
        """See `Store.get`."""
        message = self.tables.message
        with self._reading() as connection:
            rows = connection.execute(select(message).where(message.c.id == id)).all()
            return next(iter(self._values(connection, rows)), None)

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
        with self._reading() as connection:
            rows = connection.execute(select(log).where(log.c.message == id).order_by(log.c.id))
            return [LogEntry(row.kind, row.text, row.by, row.at) for row in rows]

    def status(self) -> Status:
        """See `Store.status`."""
        message = self.tables.message
        with self._reading() as connection:
            counts = connection.execute(
                select(message.c.state, func.count()).group_by(message.c.state)
            ).all()
            queued = connection.execute(
                select(message.c.alias, func.count())
                .where(message.c.state == State.QUEUED)
                .group_by(message.c.alias)
            ).all()
            age = func.min(type_coerce(message.c.due_at, BigInteger))
            is_due = (message.c.state == State.QUEUED, message.c.due_at <= now_ms())
            due, oldest = connection.execute(
                select(func.count(), now_ms() - age).select_from(message).where(*is_due)
            ).one()
            lost = connection.scalar(
                select(func.count())
                .select_from(message)
                .where(message.c.state.in_(sorted(LEASED)), message.c.lease_until < now_ms())
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
                .where(message.c.state.in_(final), message.c.updated_at < _after(-older_than))
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
                .values(content=b"", blobs=[])
            ).rowcount
            if erased:
                connection.execute(delete(blob).where(blob.c.message == id))

    def blobs_in_use(self, digests: Sequence[str]) -> set[str]:
        """See `Store.blobs_in_use`."""
        blob = self.tables.blob
        with self._reading() as connection:
            return set(connection.scalars(select(blob.c.digest).where(blob.c.digest.in_(digests))))

    # --- Statements ---------------------------------------------------------------------------

    def _statement(self, key: Any, build: Callable[[], Any]) -> Any:
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = build()
        return statement

    def _update_message(
        self,
        parameters: frozenset[str],
        before: frozenset[State],
        keeps_lease: bool,
        clear_expiry: bool,
    ) -> Any:
        message = self.tables.message
        where = [message.c.id == bindparam("p_id")]
        states = [message.c.state == str(state) for state in sorted(before)]
        where.append(or_(*states) if states else false())
        if "p_lease_by" in parameters:
            where.append(message.c.lease_by == bindparam("p_lease_by"))
        if "p_attempts" in parameters:
            where.append(message.c.attempts == bindparam("p_attempts"))
        values: dict[str, Any] = {
            "state": bindparam("p_state"),
            "reason": bindparam("p_reason"),
            "lost_leases": bindparam("p_lost_leases"),
            "lease_until": null(),
            "updated_at": now_ms(),
        }
        if not keeps_lease:
            values["lease_by"] = null()
        if "p_delay" in parameters:
            values["due_at"] = now_ms() + bindparam("p_delay", type_=BigInteger)
        if clear_expiry:
            values["expires_at"] = null()
        return update(message).where(*where).values(values)

    def _begin_one(self) -> Any:
        message = self.tables.message
        return (
            update(message)
            .where(
                message.c.id == bindparam("p_id"),
                message.c.attempts == bindparam("p_attempts"),
                message.c.lease_by == bindparam("p_lease_by"),
                or_(*(message.c.state == str(state) for state in sorted(LEASED))),
            )
            .values(
                state=str(State.BEGUN),
                lease_until=now_ms() + bindparam("p_lease", type_=BigInteger),
                updated_at=now_ms(),
            )
        )

    def _insert_log(self) -> Any:
        return insert(self.tables.log).values(
            message=bindparam("p_message"),
            at=now_ms(),
            kind=bindparam("p_kind"),
            text=bindparam("p_text"),
            by=bindparam("p_by"),
        )

    def _transaction(self) -> AbstractContextManager[Connection]:
        return writing(self.engine)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    def _bands(self, connection: Connection, aliases: Sequence[str]) -> list[tuple[str, Priority]]:
        """The aliases and priorities with due messages, in the order in which to claim."""
        message, pause = self.tables.message, self.tables.pause
        paused = set(connection.scalars(select(pause.c.alias).where(pause.c.until > now_ms())))
        running = [alias for alias in aliases if alias not in paused]
        if not running:
            return []
        due_at = type_coerce(message.c.due_at, BigInteger)
        # One look into the index for each, instead of at all that is due.
        peeks = union_all(
            *(
                select(now_ms() - func.min(due_at)).where(
                    message.c.state == State.QUEUED,
                    message.c.alias == alias,
                    message.c.priority == int(priority),
                )
                for alias in running
                for priority in Priority
            )
        )
        ages = connection.scalars(peeks).all()
        bands = [(alias, priority) for alias in running for priority in Priority]
        waiting = {
            band: age / 1000 for band, age in zip(bands, ages, strict=True) if age is not None
        }
        due = {band: age for band, age in waiting.items() if age >= 0}
        oldest: dict[Priority, float] = {}
        for (_, priority), age in due.items():
            oldest[priority] = max(age, oldest.get(priority, 0.0))
        return [
            band
            for priority in order_of_priorities(oldest)
            for band in sorted(due, key=due.__getitem__, reverse=True)
            if band[1] is priority
        ]

    def _is_due(self, alias: str, priority: Priority) -> tuple[Any, ...]:
        message = self.tables.message
        return (
            message.c.state == State.QUEUED,
            message.c.alias == alias,
            message.c.priority == int(priority),
            message.c.due_at <= now_ms(),
            or_(message.c.expires_at.is_(None), message.c.expires_at > now_ms()),
        )

    def _is_leased(self, messages: Sequence[OutboxMessage], worker: str) -> Any:
        """True for those of the messages on which the worker has the lease that claimed them."""
        message = self.tables.message
        if len(messages) == 1:
            only = messages[0]
            identity = and_(message.c.id == only.id, message.c.attempts == only.attempts)
        else:
            pairs = [(each.id, each.attempts) for each in messages]
            identity = tuple_(message.c.id, message.c.attempts).in_(pairs)
        return and_(identity, message.c.lease_by == worker, message.c.state.in_(sorted(LEASED)))

    def _record_recipients(self, connection: Connection, change: Change) -> None:
        recipient = self.tables.recipient
        groups: dict[tuple[RecipientChange, bool], list[str]] = defaultdict(list)
        tried = set(change.attempted)
        for address, each in change.recipients.items():
            groups[each, address in tried].append(address)
        for (each, attempted), addresses in groups.items():
            values: dict[str, Any] = {"p_message": change.id, "p_state": each.state}
            if each.reply is not None:
                values["p_code"] = each.reply.code
                values["p_enhanced"] = str(each.reply.enhanced or "")
                values["p_text"] = each.reply.text
            if each.server:
                values["p_server"] = each.server
            if len(addresses) == 1:
                values["p_address"] = addresses[0]
                where = recipient.c.address == bindparam("p_address")
            else:
                values["p_addresses"] = addresses
                where = recipient.c.address.in_(bindparam("p_addresses", expanding=True))
            shape = (frozenset(values), attempted)
            build = partial(self._update_recipient, *shape, where)
            statement = self._statement(shape, build)
            connection.execute(statement, values)

    def _update_recipient(self, parameters: frozenset[str], attempted: bool, where: Any) -> Any:
        recipient = self.tables.recipient
        values: dict[str, Any] = {"at": now_ms()}
        for name in ("state", "code", "enhanced", "text", "server"):
            if f"p_{name}" in parameters:
                values[name] = bindparam(f"p_{name}")
        if attempted:
            values["attempts"] = recipient.c.attempts + 1
        return (
            update(recipient).where(recipient.c.message == bindparam("p_message"), where)
        ).values(values)

    def _select(self, *where: Any, order: Any, limit: int) -> list[OutboxMessage]:
        message = self.tables.message
        columns = [column for column in message.c if column.name != "content"]
        with self._reading() as connection:
            rows = connection.execute(select(*columns).where(*where).order_by(order).limit(limit))
            return self._values(connection, rows.all())

    def _values(
        self,
        connection: Connection,
        rows: Sequence[Row[Any]],
        *,
        state: State | None = None,
        attempts: int = 0,
    ) -> list[OutboxMessage]:
        recipient = self.tables.recipient
        if not rows:
            return []
        recipients: dict[UUID, list[OutboxRecipient]] = defaultdict(list)
        for row in connection.execute(
            select(recipient)
            .where(recipient.c.message.in_([row.id for row in rows]))
            .order_by(recipient.c.message, recipient.c.position)
        ):
            recipients[row.message].append(OutboxRecipient.from_row(row, at=row.at))
        return [
            OutboxMessage.from_row(
                row,
                content=getattr(row, "content", b""),
                recipients=tuple(recipients[row.id]),
                blobs=BlobPart.all_from(row.blobs),
                not_before=row.not_before,
                expires_at=row.expires_at,
                created_at=row.created_at,
                mail_options=tuple(row.options.get("mail", ())),
                rcpt_options=tuple(row.options.get("rcpt", ())),
                state=state or State(row.state),
                attempts=row.attempts + attempts,
            )
            for row in rows
        ]

    def _ignoring_duplicates(self, table: Any) -> Any:
        return ignoring_duplicates(self.engine.dialect.name, table)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(Exception):
                listener.close()


def _after(seconds: float) -> Any:
    return now_ms() + int(seconds * 1000)
