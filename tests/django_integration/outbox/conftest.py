"""The outbox on real databases: an SQLite file, and a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def access(request: pytest.FixtureRequest) -> Any:
    """A context manager that lets tests use databases, which pytest-django forbids."""
    if request.config.pluginmanager.hasplugin("django"):
        return request.getfixturevalue("django_db_blocker").unblock
    return nullcontext


@pytest.fixture(scope="session")
def postgres(access: Any) -> Iterator[PostgresServer]:
    """The server with the tables, started for the first test that asks for it."""
    if not os.environ.get("MAILBACKENDS_TESTS_DATABASES"):
        pytest.importorskip("psycopg")
    with postgres_server() as server:
        _use(server.as_django())
        with access():
            call_command("migrate", verbosity=0)
        yield server


@pytest.fixture(scope="session")
def sqlite(access: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables, to copy."""
    path = tmp_path_factory.mktemp("outbox") / "template.sqlite3"
    _use(_sqlite(path))
    with access():
        call_command("migrate", verbosity=0)
        with connections["default"].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
        connections["default"].close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, access: Any, tmp_path: Path) -> Iterator[str]:
    """An empty outbox in the database "default"; the name of its engine."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite")
        path = tmp_path / "outbox.sqlite3"
        shutil.copy(template, path)
        _use(_sqlite(path))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        _use(server.as_django())
        with access():
            call_command("flush", verbosity=0, interactive=False)
    with access():
        yield request.param
        connections["default"].close()
    _use({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})


def _sqlite(path: Path) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {"timeout": 20}}


def _use(config: dict[str, Any]) -> None:
    """Let the alias "default" be another database, in all threads that begin now."""
    if hasattr(connections._connections, "default"):
        connections["default"].close()
        del connections["default"]
    connections.settings = connections.configure_settings({"default": config})
