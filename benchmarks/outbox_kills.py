"""The same kill matrix for the outbox and for other queues of mail.

    python benchmarks/outbox_kills.py
    python benchmarks/outbox_kills.py mailbackends post_office --every 10

For each point three messages are queued, and a worker is killed with SIGKILL at that point: at a
byte of its conversation with the SMTP server, sent or received, and at each packet of its
conversation with the database or the broker, before the packet gets there and after it has been
answered. Proxies on loopback do it, so that each system is killed in the same way and runs its own
code. Then the time passes after which the system sees that its worker has died, its worker is
started twice more, and everything that the server has got is counted.

Needs PostgreSQL and Redis, and the packages of the dependency group ``kills``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT)]

from outbox_systems import SYSTEMS, run_command  # noqa: E402

from support.postgres import postgres_server  # noqa: E402
from support.redis_server import redis_server  # noqa: E402
from support.sink import Sink  # noqa: E402

_MESSAGES = 3
_COLUMNS = ("kills", "messages", "lost", "doubled", "stuck", "unknown")


@dataclass(frozen=True)
class Point:
    """Where a worker is killed."""

    where: str
    """``"smtp"`` or ``"store"``, the database or the broker."""
    kind: str
    """``"sent"`` or ``"received"``: after that byte; ``"before"`` or ``"after"`` that packet."""
    number: int

    def __str__(self) -> str:
        return f"{self.where} {self.kind} {self.number}"


class Proxy:
    """Passes everything on, until the armed point is reached: then the worker is killed."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._point: Point | None = None
        self._count = 0
        self.pid = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, point: Point | None) -> None:
        """Count from here."""
        with self._lock:
            self._point, self._count, self.pid = point, 0, 0

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._target))
            for pump in (self._from_client, self._from_server):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _from_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                allowed = self._allowed("sent", "before", len(data))
                if allowed is not None:
                    server.sendall(data[:allowed])
                    self._kill()
                    break
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _from_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                allowed = self._allowed("received", "after", len(data))
                if allowed is not None:
                    client.sendall(data[:allowed])
                    self._kill()
                    break
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    def _allowed(self, bytes_of: str, packet: str, size: int) -> int | None:
        """How much of this still passes, if the point is reached in it; else None."""
        with self._lock:
            point = self._point
            if point is None or point.kind not in (bytes_of, packet):
                return None
            before = self._count
            self._count += size if point.kind == bytes_of else 1
            if self._count < point.number:
                return None
            self._point = None
            return point.number - before if point.kind == bytes_of else 0

    def _kill(self) -> None:
        # The parent writes the number of the child right after its fork.
        while not self.pid:
            time.sleep(0.001)
        os.killpg(self.pid, signal.SIGKILL)  # with the processes that it has started


class Children:
    """Runs each command in a process forked from one that has imported everything."""

    def __init__(self, system: str, environment: dict[str, str], folder: str) -> None:
        paths = os.pathsep.join(each for each in sys.path if each)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-W", "ignore", __file__, "--serve", system],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            # Lock files too are in the folder.
            env={**os.environ, **environment, "PYTHONPATH": paths, "TMPDIR": folder},
        )

    def run(self, command: str, *arguments: Any, proxies: tuple[Proxy, ...] = ()) -> Any:
        """The result of the command; False if it was killed."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps([command, *arguments]), file=process.stdin, flush=True)
        pid = int(process.stdout.readline())
        for proxy in proxies:
            proxy.pid = pid
        code, result = json.loads(process.stdout.readline())
        if code == -signal.SIGALRM:
            print(f"{command!r} did not end in time", file=sys.stderr, flush=True)
        elif code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{command!r} ended with {code}: see above")
        return code == 0 if result is None else result

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(name: str) -> None:
    """Set Django up, and fork a child for each line of standard input."""
    import django
    from django.conf import settings

    system = SYSTEMS[name]
    settings.configure(**_settings(system.settings))
    django.setup()
    if system.uses_redis:
        import celery.bin.worker  # noqa: F401
        import redis  # noqa: F401
    logging.disable(logging.CRITICAL)
    run_command(system, "set up")
    from django.db import connections

    connections.close_all()
    import django.core.mail.backends.smtp
    import django.core.management.commands.migrate

    for line in sys.stdin:
        command, *arguments = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            signal.alarm(40)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a worker prints what it likes
            try:
                result = run_command(system, command, *arguments)
                os.write(writer, json.dumps(result).encode())
            except BaseException as error:
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        os.close(writer)
        with suppress(OSError):
            os.setpgid(pid, pid)  # by both, since either may be first
        print(pid, flush=True)
        with open(reader, "rb") as pipe:
            result = json.loads(pipe.read() or "null")
        _, status = os.waitpid(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), result]), flush=True)


def _settings(more: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ
    found: dict[str, Any] = {
        "SECRET_KEY": "s",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": int(environment["SMTP_PORT"]),
        "EMAIL_TIMEOUT": 20,
        "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": environment.get("PG_DATABASE", ""),
                "USER": "postgres",
                "HOST": "127.0.0.1",
                "PORT": environment.get("STORE_PORT", ""),
            }
        },
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{environment.get('STORE_PORT')}/0",
    }
    return {**found, **more}


@dataclass
class Matrix:
    """Kills one system at all points, and counts."""

    name: str
    children: Children
    sink: Sink
    smtp: Proxy
    store: Proxy
    every: int
    packets: int
    totals: Counter[str] = field(default_factory=Counter)
    verbose: bool = False

    def run(self) -> None:
        """Kill at each point of each kind, until a worker is done before it is reached."""
        for where, kind, step in (
            ("smtp", "sent", self.every),
            ("smtp", "received", self.every),
            ("store", "before", self.packets),
            ("store", "after", self.packets),
        ):
            for number in count(1, step):
                if not self._run_one(Point(where, kind, number)):
                    break
            self._show()

    def _run_one(self, point: Point) -> bool:
        subjects = [f"{self.name} {point} #{n}" for n in range(_MESSAGES)]
        proxies = self.smtp, self.store
        self.children.run("queue", subjects)
        for proxy in proxies:
            proxy.arm(point if (proxy is self.smtp) == (point.where == "smtp") else None)
        was_done = self.children.run("work", proxies=proxies)
        for proxy in proxies:
            proxy.arm(None)
        self.sink.wait(lambda: self.sink.open_connections == 0)
        states: dict[str, str] = {}
        for _ in range(2):
            self.children.run("expire")
            self.children.run("work")
            states = self.children.run("states", subjects)
            if "waiting" not in states.values():
                break
        self.sink.wait(lambda: self.sink.open_connections == 0)
        self._count(point, was_done, states)
        if SYSTEMS[self.name].reset is not None:
            self.children.run("reset")
        return not was_done

    def _count(self, point: Point, was_done: bool, states: dict[str, str]) -> None:
        arrived = Counter(str(each.message["Subject"]) for each in self.sink.messages)
        self.sink.messages.clear()
        found: Counter[str] = Counter()
        for subject, state in states.items():
            count = arrived[subject]
            found["messages"] += 1
            found["doubled"] += count > 1
            found["unknown"] += state == "unknown"
            found["stuck"] += state == "waiting"
            found["lost"] += count == 0 and state in ("sent", "gone")
        found["kills"] = not was_done
        self.totals += found
        if self.verbose:
            words = [f"{state} {arrived[subject]}" for subject, state in states.items()]
            print(f"{self.name}: {point}: {', '.join(words)}", file=sys.stderr, flush=True)

    def _show(self) -> None:
        if sys.stderr.isatty():
            words = ", ".join(f"{self.totals[name]} {name}" for name in _COLUMNS)
            print(f"\r\x1b[K{self.name}: {words}", end="", file=sys.stderr, flush=True)


@contextmanager
def _servers(names: list[str]) -> Iterator[tuple[int, str, int]]:
    """The ports of PostgreSQL and Redis, and the URL of Redis; only those that are needed."""
    with ExitStack() as stack:
        postgres, redis = 0, ""
        if any(not SYSTEMS[name].uses_redis for name in names):
            postgres = stack.enter_context(postgres_server()).port
        if any(SYSTEMS[name].uses_redis for name in names):
            redis = stack.enter_context(redis_server())
        yield postgres, redis, int(redis.rpartition(":")[2].partition("/")[0] or 0)


def measure(
    names: list[str], every: int, packets: int, *, verbose: bool = False
) -> dict[str, Matrix]:
    """Run the matrix for these systems."""
    results: dict[str, Matrix] = {}
    with _servers(names) as (postgres, redis_url, redis_port):
        for number, name in enumerate(names):
            uses_redis = SYSTEMS[name].uses_redis
            if not uses_redis:
                _create_database(postgres, f"kills{number}")
            with Sink() as sink, tempfile.TemporaryDirectory() as folder:
                smtp = Proxy(sink.port)
                store = Proxy(redis_port if uses_redis else postgres)
                environment = {
                    "SMTP_PORT": str(smtp.port),
                    "STORE_PORT": str(store.port),
                    "PG_DATABASE": f"kills{number}",
                    "REDIS_URL": redis_url,
                }
                children = Children(name, environment, folder)
                try:
                    results[name] = Matrix(
                        name, children, sink, smtp, store, every, packets, verbose=verbose
                    )
                    results[name].run()
                finally:
                    children.close()
            if uses_redis:
                _empty(redis_url)
    return results


def _create_database(port: int, name: str) -> None:
    import psycopg

    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")


def _empty(url: str) -> None:
    import redis

    redis.Redis.from_url(url).flushall()


def table(results: dict[str, Matrix]) -> str:
    """The results in Markdown."""
    lines = ["| | " + " | ".join(_COLUMNS) + " |", "| --- |" + " --- |" * len(_COLUMNS)]
    for name, matrix in results.items():
        system = SYSTEMS[name]
        title = system.title + (f" ({system.versions})" if system.packages else "")
        cells = " | ".join(f"{matrix.totals[column]:,}" for column in _COLUMNS)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Run, and print the table."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return
    summary, _, rest = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument("--every", type=int, default=40, help="bytes between two kills; default 40")
    parser.add_argument("--packets", type=int, default=1, help="the same for packets; default 1")
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="for each point, what the queue says of each message, and how often it has arrived",
    )
    given = parser.parse_args()
    names = given.systems or list(SYSTEMS)
    if unknown := set(names) - set(SYSTEMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Use {', '.join(SYSTEMS)}.")
    results = measure(names, given.every, given.packets, verbose=given.verbose)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    import django

    print(table(results))
    print(
        f"\n{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"Django {django.__version__}, every {given.every} bytes, "
        f"every {given.packets} packets"
    )


if __name__ == "__main__":
    main()
