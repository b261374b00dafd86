"""The outbox of the core on real databases: an SQLite file, and a PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

if not os.environ.get("MAILBACKENDS_TESTS_DATABASES"):
    pytest.importorskip("sqlalchemy")

from sqlalchemy import Engine, create_engine, event, text

from mailbackends import Submission
from mailbackends.outbox import OutboxMessage, outbox_message
from mailbackends.outbox.sqlalchemy_insert import insert_message
from mailbackends.outbox.sqlalchemy_store import SQLAlchemyStore
from support.mariadb import MariaDBServer, mariadb_server
from support.postgres import PostgresServer, postgres_server

Enqueue = Callable[..., OutboxMessage]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server, started for the first test that asks for it."""
    if not os.environ.get("MAILBACKENDS_TESTS_DATABASES"):
        pytest.importorskip("psycopg")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """The server, started for the first test that asks for it."""
    with mariadb_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return database_url(request, tmp_path)


def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'outbox.sqlite3'}"
    if request.param == "mariadb":
        pytest.importorskip("pymysql")
        maria: MariaDBServer = request.getfixturevalue("mariadb")
        engine = create_engine(maria.url)
        with engine.begin() as connection:
            connection.execute(text("DROP DATABASE outbox"))
            connection.execute(text("CREATE DATABASE outbox"))
        engine.dispose()
        return maria.url
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[SQLAlchemyStore]:
    store = SQLAlchemyStore(engine)
    store.create_tables()
    yield store
    store.close()


@pytest.fixture
def enqueue(store: SQLAlchemyStore) -> Enqueue:
    """Stores a message, in a transaction by itself."""

    def enqueue(subject: str = "Order", to: tuple[str, ...] = ("ada@example.org",), **options):
        message = EmailMessage()
        message["From"] = "shop@example.com"
        message["To"] = ", ".join(to)
        message["Subject"] = subject
        message.set_content("Thank you.\n")
        row = outbox_message(Submission(message), **options)
        with store.engine.begin() as connection:
            insert_message(connection, row, store.tables)
        return row

    return enqueue
