"""A Redis server for the tests, on loopback and without persistence."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from support.ports import free_port

__all__ = ["redis_server"]


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a server that ends with the block.

    Without the package the test is skipped; with ``MAILBACKENDS_TESTS_DATABASES`` in the
    environment, as in the gate, that is a failure.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        if os.environ.get("MAILBACKENDS_TESTS_DATABASES"):
            pytest.fail("Redis is not installed: apt-get install redis-server")
        pytest.skip("Redis is not installed: apt-get install redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mailbackends-redis-") as folder:
        arguments = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        arguments += ["--save", "", "--appendonly", "no"]
        with subprocess.Popen(  # noqa: S603
            [program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait_until_it_listens(port)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.terminate()
                process.wait(10)


def _wait_until_it_listens(port: int) -> None:
    for _ in range(400):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("redis-server did not start")
