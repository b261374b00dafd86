"""A suppression list over SQLAlchemy: SQLite, PostgreSQL, MySQL and MariaDB.

Needs the extra ``outbox``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mailbackends.sql import Database, Milliseconds, Word, exact_text, now_ms, writing
from mailbackends.suppressed import Suppression
from mailbackends.suppression.entries import Exempt, comparable
from mailbackends.suppression.sources import SuppressionPolicy
from mailbackends.suppression.store import SuppressionStore

__all__ = ["SQLAlchemySuppressionStore", "suppression_tables"]

_DAY = 86_400_000  # milliseconds
_ROWS = 500
_KEY = ("address", "scope", "reason")


def suppression_tables(
    metadata: MetaData | None = None, prefix: str = "mail_"
) -> tuple[Table, Table]:
    """The tables of entries and of soft bounces, in this metadata, for the application's
    migrations, or a new one."""
    metadata = MetaData() if metadata is None else metadata
    name, counts = f"{prefix}suppression", f"{prefix}soft_bounce"
    if name in metadata.tables:
        return metadata.tables[name], metadata.tables[counts]
    entry = Table(
        name,
        metadata,
        Column("address", exact_text(320), primary_key=True),
        Column("scope", exact_text(50), primary_key=True),
        Column("reason", Word(20), primary_key=True),
        Column("source", String(500), nullable=False),
        Column("detail", String(500), nullable=False),
        Column("created_at", Milliseconds, nullable=False),
        Column("expires_at", Milliseconds),
        Index(f"ix_{name}_expires_at", "expires_at"),
    )
    count = Table(
        counts,
        metadata,
        Column("address", exact_text(320), primary_key=True),
        Column("bounces", Integer, nullable=False),
        Column("since", BigInteger, nullable=False),
    )
    return entry, count


class SQLAlchemySuppressionStore(SuppressionStore):
    """A `SuppressionStore` in the application's database, over the tables of
    `suppression_tables`.

    ``database`` is a SQLAlchemy engine, its URL, or a function that returns the engine when it is
    first needed. ``metadata`` takes the tables up, for the application's own migrations.
    """

    def __init__(
        self,
        database: Engine | str | Callable[[], Engine],
        *,
        metadata: MetaData | None = None,
        exempt: Exempt | None = None,
        policy: SuppressionPolicy | None = None,
    ) -> None:
        super().__init__(exempt=exempt, policy=policy)
        self._database = Database(database)
        self.table: Table
        self.counts: Table
        self.table, self.counts = suppression_tables(metadata)

    @property
    def engine(self) -> Engine:
        """The engine, made when it is first asked for."""
        return self._database.engine

    def create_tables(self) -> None:
        """Create the tables that do not exist; for applications without migrations."""
        self.table.metadata.create_all(self.engine, tables=[self.table, self.counts])

    def close(self) -> None:
        """Close the connections of an engine that was made from a URL."""
        self._database.close()

    def add(self, entries: Iterable[Suppression]) -> int:
        """See `SuppressionStore.add`."""
        # The last of several with one key: an INSERT must not meet a row twice.
        rows = {(each.address, each.scope, each.reason): each for each in entries}
        values = [self._row(each) for each in rows.values()]
        if values:
            with writing(self.engine) as connection:
                for start in range(0, len(values), _ROWS):
                    connection.execute(self._upsert(), values[start : start + _ROWS])
        return len(values)

    def remove(self, address: str, scope: str | None = None) -> int:
        """See `SuppressionStore.remove`."""
        key = comparable(address)
        where = [self.table.c.address == key]
        if scope is not None:
            where.append(self.table.c.scope == scope)
        with writing(self.engine) as connection:
            connection.execute(delete(self.counts).where(self.counts.c.address == key))
            return connection.execute(delete(self.table).where(*where)).rowcount

    def entries(self) -> Iterator[Suppression]:
        """See `SuppressionStore.entries`."""
        table = self.table
        after = ("", "", "")
        while True:
            # Not OFFSET, which reads all rows before; and not one cursor, which some drivers
            # read to the end at once.
            beyond = (
                (table.c.address > after[0])
                | ((table.c.address == after[0]) & (table.c.scope > after[1]))
                | (
                    (table.c.address == after[0])
                    & (table.c.scope == after[1])
                    & (table.c.reason > after[2])
                )
            )
            query = select(table).where(beyond).order_by(*(table.c[name] for name in _KEY))
            with self.engine.connect() as connection:
                rows = connection.execute(query.limit(_ROWS)).all()
            yield from map(Suppression.from_row, rows)
            if len(rows) < _ROWS:
                return
            after = (rows[-1].address, rows[-1].scope, rows[-1].reason)

    def count(self) -> int:
        """See `SuppressionStore.count`."""
        with self.engine.connect() as connection:
            return int(connection.scalar(select(func.count()).select_from(self.table)) or 0)

    def prune(self) -> int:
        """See `SuppressionStore.prune`."""
        old = now_ms() - int(self.policy.soft_bounce_days * _DAY)
        with writing(self.engine) as connection:
            connection.execute(delete(self.counts).where(self.counts.c.since < old))
            return connection.execute(
                delete(self.table).where(self.table.c.expires_at <= now_ms())
            ).rowcount

    def _entries(
        self, addresses: Collection[str], scopes: Collection[str] | None
    ) -> Iterable[Suppression]:
        table = self.table
        query = select(table).where(table.c.address.in_(addresses))
        if scopes is not None:
            query = query.where(table.c.scope.in_(scopes))
        with self.engine.connect() as connection:
            return [Suppression.from_row(row) for row in connection.execute(query)]

    def _count_soft_bounce(self, address: str, days: float) -> int:
        counts = self.counts
        is_it = counts.c.address == address
        with writing(self.engine) as connection:
            connection.execute(
                delete(counts).where(is_it, counts.c.since < now_ms() - int(days * _DAY))
            )
            raised = update(counts).where(is_it).values(bounces=counts.c.bounces + 1)
            if not connection.execute(raised).rowcount:
                connection.execute(
                    insert(counts).values(address=address, bounces=1, since=now_ms())
                )
            found = connection.scalar(select(counts.c.bounces).where(is_it))
        return int(found or 1)

    def _row(self, entry: Suppression) -> dict[str, Any]:
        return {
            "address": entry.address,
            "scope": entry.scope,
            "reason": entry.reason,
            "source": entry.source,
            "detail": entry.detail,
            "at": entry.created_at,
            "expires_at": entry.expires_at,
        }

    def _upsert(self) -> Any:
        table, dialect = self.table, self.engine.dialect.name
        given = func.coalesce(bindparam("at", type_=Milliseconds), now_ms())
        values = {
            **{name: bindparam(name, type_=table.c[name].type) for name in _KEY},
            "source": bindparam("source"),
            "detail": bindparam("detail"),
            "created_at": given,
            "expires_at": bindparam("expires_at", type_=Milliseconds),
        }
        changed = ("source", "detail", "expires_at")
        if dialect in ("mysql", "mariadb"):
            on_mysql = mysql.insert(table).values(values)
            return on_mysql.on_duplicate_key_update(
                {name: on_mysql.inserted[name] for name in changed}
            )
        module: Any = postgresql if dialect == "postgresql" else sqlite
        statement = module.insert(table).values(values)
        return statement.on_conflict_do_update(
            index_elements=_KEY, set_={name: statement.excluded[name] for name in changed}
        )
