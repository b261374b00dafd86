"""What tables by SQLAlchemy have in common: types of columns, and the database's clock.

Needs the extra ``outbox``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, String, create_engine, event
from sqlalchemy.dialects.mysql import VARCHAR
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from mailbackends.errors import ConfigurationError

__all__ = ["Database", "Milliseconds", "Word", "exact_text", "moment", "now_ms", "writing"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Milliseconds(TypeDecorator[Any]):
    """A moment as an integer of milliseconds since 1970, and as an aware datetime in Python.

    Each database can add to it and compare it in the same way, and at the same precision.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = BigInteger
    cache_ok: bool | None = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        """To the database."""
        if isinstance(value, datetime):
            return (value - _EPOCH) // timedelta(milliseconds=1)
        return value

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """From the database."""
        return moment(value)


def moment(value: Any) -> datetime | None:
    """The moment that `Milliseconds` has stored as this value; None for NULL."""
    return None if value is None else _EPOCH + timedelta(milliseconds=int(value))


class Word(TypeDecorator[Any]):
    """A short text; a member of a `enum.StrEnum` as its value, whatever the driver does with it."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = String
    cache_ok: bool | None = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        """To the database."""
        return None if value is None else str(value)


def exact_text(length: int) -> String:
    """A text that equals itself alone.

    Most collations of MySQL take ``ada`` for ``Ada`` and ``zoe`` for ``zoë``, which may be two
    recipients of one message, or two entries of a suppression list.
    """
    exact = VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


class now_ms(FunctionElement[int]):
    """Now, by the database's clock, in milliseconds since 1970."""

    type: BigInteger = BigInteger()
    inherit_cache: bool | None = True
    name = "now_ms"


@compiles(now_ms, "sqlite")
def _sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)"


@compiles(now_ms, "postgresql")
def _postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    # Stable, so that an index serves a comparison; now() would be the transaction's start.
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)"


@compiles(now_ms, "mysql")
@compiles(now_ms, "mariadb")
def _mysql(element: Any, compiler: Any, **kw: Any) -> str:
    # Not UNIX_TIMESTAMP(NOW()): where summer time ends, an hour of local time comes twice.
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, committed at the end of the block."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            _begin_immediate(connection)
        yield connection
        connection.commit()


def _begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock now: a transaction that reads first could not get it later."""
    driver: Any = connection.connection.driver_connection
    if not getattr(driver, "in_transaction", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Database:
    """The engine that is given, made from a URL, or returned by a function, when first needed."""

    def __init__(self, given: Engine | str | Callable[[], Engine]) -> None:
        self._given = given
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine.

        Raises:
            ConfigurationError: the URL cannot be used.
        """
        if self._engine is None:
            # A URL is in no variable here: a traceback would show the password in it.
            if isinstance(self._given, str):
                self._engine = _engine_from(self._given)
            else:
                given = self._given
                self._engine = given if isinstance(given, Engine) else given()
        return self._engine

    def close(self) -> None:
        """Close the connections of an engine that was made from a URL; the others are lent."""
        if isinstance(self._given, str) and self._engine is not None:
            self._engine.dispose()


def _engine_from(url: str) -> Engine:
    """An engine for this URL; SQLite with a write-ahead log, so that readers do not wait.

    The other settings are SQLite's own: each commit is on the disk when it returns.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    failed = ""
    try:
        # Errors of the database show no subjects and addresses.
        engine = create_engine(url, hide_parameters=True)
    except Exception as error:
        failed = type(error).__name__
    # The URL may contain a password, and a traceback shows the variables of this frame.
    del url
    if failed:
        raise ConfigurationError(
            f"the database URL cannot be used ({failed}): write, for example, "
            "sqlite:///outbox.sqlite3 or postgresql+psycopg://user@host/name"
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _use_write_ahead_log)
    return engine


def _use_write_ahead_log(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
