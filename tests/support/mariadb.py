"""A MariaDB server for the tests: new tables on loopback, from Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
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

__all__ = ["MariaDBServer", "mariadb_server"]

_CONFIGURATION = """\
[mariadbd]
datadir = {folder}/data
socket = {folder}/socket
pid-file = {folder}/pid
port = {port}
bind-address = 127.0.0.1
skip-log-bin
innodb_flush_log_at_trx_commit = 0
innodb_buffer_pool_size = 32M
character-set-server = utf8mb4
max_connections = 60
"""


@dataclass(frozen=True)
class MariaDBServer:
    """Where the server listens. The user is ``tests``, without a password."""

    port: int
    host: str = "127.0.0.1"
    user: str = "tests"
    database: str = "outbox"

    @property
    def url(self) -> str:
        """The URL for SQLAlchemy, with PyMySQL."""
        return f"mariadb+pymysql://{self.user}@{self.host}:{self.port}/{self.database}"


@contextmanager
def mariadb_server() -> Iterator[MariaDBServer]:
    """A server with an empty database, which ends with the block.

    Without the package the test is skipped.
    """
    program, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    program = program or ("/usr/sbin/mariadbd" if Path("/usr/sbin/mariadbd").exists() else None)
    if program is None or install is None:
        pytest.skip("MariaDB is not installed: apt-get install mariadb-server")
    folder = tempfile.mkdtemp(prefix="outbox-mariadb-")
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam("mysql")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    port = free_port()
    settings = Path(folder, "my.cnf")
    settings.write_text(_CONFIGURATION.format(folder=folder, port=port), encoding="utf-8")
    process: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(  # noqa: S603
            [install, f"--defaults-file={settings}", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
            **account,
        )
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [program, f"--defaults-file={settings}"],
                stdout=log,
                stderr=log,
                # With summer time, in which an hour of local time comes twice.
                env={**os.environ, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3"},
                **account,
            )
        _create_database(folder)
        yield MariaDBServer(port)
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _create_database(folder: str) -> None:
    statements = (
        "CREATE DATABASE outbox; CREATE USER tests@'127.0.0.1'; CREATE USER tests@localhost; "
        "GRANT ALL ON *.* TO tests@'127.0.0.1'; GRANT ALL ON *.* TO tests@localhost"
    )
    until = time.monotonic() + 60
    while True:
        done = subprocess.run(  # noqa: S603
            ["mariadb", f"--socket={folder}/socket", "-u", "root", "-e", statements],  # noqa: S607
            check=False,
            capture_output=True,
        )
        if done.returncode == 0:
            return
        if time.monotonic() > until:
            log = Path(folder, "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"MariaDB did not start: {log}")
        time.sleep(0.1)
