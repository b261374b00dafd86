"""A PostgreSQL server for the tests: a new cluster on loopback, from Debian's package."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port

__all__ = ["PostgresServer", "postgres_server"]

# What a crash of the server itself would lose is not tested: no fsync.
_CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
autovacuum = off
"""


@dataclass(frozen=True)
class PostgresServer:
    """Where the server listens. The user is ``postgres``, without a password."""

    port: int
    pid: int
    host: str = "127.0.0.1"
    user: str = "postgres"
    database: str = "postgres"

    @property
    def url(self) -> str:
        """The URL, without the name of a driver."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def as_django(self) -> dict[str, Any]:
        """The server as an entry of Django's ``DATABASES``."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": self.database,
            "USER": self.user,
            "HOST": self.host,
            "PORT": str(self.port),
        }


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server with an empty database, which ends with the block.

    Without the package the test is skipped; with ``MAILBACKENDS_TESTS_DATABASES`` in the
    environment, as in the gate, that is a failure.
    """
    bin_folder = _programs()
    if bin_folder is None:
        if os.environ.get("MAILBACKENDS_TESTS_DATABASES"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = tempfile.mkdtemp(prefix="outbox-postgres-")
    # PostgreSQL refuses to run as root.
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    data = Path(folder, "data")
    process: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(  # noqa: S603
            [
                *(bin_folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **account,
        )
        port = free_port()
        with (data / "postgresql.conf").open("a", encoding="utf-8") as written:
            written.write(_CONFIGURATION.format(port=port))
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [bin_folder / "postgres", "-D", data], stdout=log, stderr=log, cwd=folder, **account
            )
        _wait(bin_folder, port, process, Path(folder, "log"))
        yield PostgresServer(port, process.pid)
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # ends its connections: a fast shutdown
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda p: int(p.split("/")[4])
    )
    if found:
        return Path(found[-1]).parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


def _wait(bin_folder: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        done = subprocess.run(  # noqa: S603
            [bin_folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
