"""The engine and the tables of a store over SQLAlchemy, and its transactions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Row

from mailbackends.errors import ConfigurationError
from mailbackends.outbox.sqlalchemy_rows import park_row, raw_rows, values_of
from mailbackends.outbox.tables import Tables, outbox_tables
from mailbackends.outbox.values import OutboxMessage
from mailbackends.sql import now_ms, writing

__all__ = ["SQLAlchemyBase", "after"]

logger: logging.Logger = logging.getLogger("mailbackends.outbox")

_ROW_LOCKS = frozenset({"postgresql", "mysql", "mariadb"})


class SQLAlchemyBase:
    """What all calls of a store need.

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
        self.engine: Engine = engine
        self.tables: Tables = tables or outbox_tables()
        self._has_row_locks = engine.dialect.name in _ROW_LOCKS

    def create_tables(self) -> None:
        """Create the tables that do not exist; for applications without migrations."""
        self.tables.message.metadata.create_all(self.engine, tables=self.tables.all)

    def _transaction(self) -> AbstractContextManager[Connection]:
        return writing(self.engine)

    def _select(
        self, *where: Any, order: Any, limit: int, parks: bool = False
    ) -> list[OutboxMessage]:
        """The messages without content. Rows that cannot be read are left out, or parked."""
        unreadable: list[tuple[Row[Any], Exception]] = []
        query = raw_rows(self.tables, with_content=False).where(*where).order_by(order).limit(limit)
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
            found = values_of(connection, self.tables, rows, lambda *each: unreadable.append(each))
        if parks and unreadable:
            with self._transaction() as connection:
                for row, error in unreadable:
                    self._park(connection, row, error)
        return found

    def _values(
        self, connection: Connection, rows: Sequence[Row[Any]], **given: Any
    ) -> list[OutboxMessage]:
        """The values of the rows that can be read; the others are parked."""
        park = partial(self._park, connection)
        return values_of(connection, self.tables, rows, park, **given)

    def _park(self, connection: Connection, row: Row[Any], error: Exception) -> None:
        reason = f"the row cannot be read: {type(error).__name__}: {error}"
        logger.error("%s was parked: %s", row.id, reason)
        park_row(connection, self.tables, row, reason)


def after(seconds: float) -> Any:
    """So many seconds from now, by the database's clock, as an expression."""
    return now_ms() + int(seconds * 1000)
