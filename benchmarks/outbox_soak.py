"""The outbox under load, with workers killed at random: is every message accounted for?

    python benchmarks/outbox_soak.py --minutes 60 --rate 20
    python benchmarks/outbox_soak.py --minutes 60 --rate 20 --django
    python benchmarks/outbox_soak.py --database sqlite:////tmp/soak.sqlite3

Messages are stored at a rate, some of them in transactions that are rolled back. Workers send
them, and are killed with SIGKILL at random moments; on PostgreSQL their connections are ended too.
The server, on loopback, refuses some messages for now and some for good, drops connections at any
command, within contents, and after contents with and without having accepted them, and is down
for some seconds now and then. At the end the rows are compared with what the server has accepted.
The exit status is 1 if a message was lost, doubled or left over.

Without ``--database`` a PostgreSQL server is started for the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

_LEASE = 10.0  # seconds
_RETRY: dict[str, Any] = {"first": 2.0, "longest": 20.0, "longest_pause": 5.0}
_PROCESSES = multiprocessing.get_context("forkserver")
# Imported once, and not by each worker.
_PRELOADED = "outbox_soak mailbackends mailbackends.outbox.outbox psycopg django.core.mail "
_PRELOADED += (
    "sqlalchemy.dialects.postgresql.psycopg django.db.models django.db.backends.postgresql"
)
_PROCESSES.set_forkserver_preload(_PRELOADED.split())


# --- The outbox, by SQLAlchemy or by Django ---------------------------------------------------


class _Core:
    """`mailbackends.outbox.outbox.Outbox`, as Flask and plain Python use it."""

    def __init__(self, database: str, port: int, pipeline: int = 1) -> None:
        from mailbackends.outbox import RetryPolicy
        from mailbackends.outbox.outbox import Outbox

        self.url, self.pipeline = f"smtp://127.0.0.1:{port}", pipeline
        self.outbox = Outbox(database, policy=RetryPolicy(**_RETRY))

    def create_tables(self) -> None:
        self.outbox.create_tables()

    def enqueue(self, message: EmailMessage, *, roll_back: bool) -> None:
        with self.outbox.store.engine.connect() as connection:
            self.outbox.enqueue(message, session=connection)
            if roll_back:
                connection.rollback()
            else:
                connection.commit()

    def work(self) -> None:
        from mailbackends import Mailer

        mailer = Mailer(self.url, batch_pipeline=self.pipeline, timeout=10)
        self.outbox.worker(mailer, batch=10, lease=_LEASE, poll=0.5, sweep_every=2).run()

    def end_connections(self) -> int:
        from sqlalchemy import text

        engine = self.outbox.store.engine
        if engine.dialect.name != "postgresql":
            return 0
        with engine.begin() as connection:
            return connection.execute(text(_END_CONNECTION)).rowcount

    def waiting(self) -> int:
        status = self.outbox.store.status()
        waiting = ("queued", "claimed", "begun")
        return sum(count for state, count in status.messages.items() if state in waiting)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """For each recipient: Message-ID, the message's state, address, and its state."""
        from sqlalchemy import select

        message, recipient = self.outbox.tables.message, self.outbox.tables.recipient
        query = select(
            message.c.message_id, message.c.state, recipient.c.address, recipient.c.state
        ).join_from(message, recipient)
        with self.outbox.store.engine.connect() as connection:
            for row in connection.execute(query):
                yield tuple(row)

    def log_of_unknown(self) -> Counter[str]:
        """How the unknown ones came into that state."""
        from sqlalchemy import select

        message, log = self.outbox.tables.message, self.outbox.tables.log
        query = select(log.c.kind, message.c.id).join_from(message, log)
        query = query.where(message.c.state == "unknown").order_by(log.c.id)
        with self.outbox.store.engine.connect() as connection:
            last = {row.id: row.kind for row in connection.execute(query)}
        return Counter(last.values())


class _Django:
    """`django_integration.outbox`."""

    def __init__(self, database: str, port: int, pipeline: int = 1) -> None:
        import django
        from django.conf import settings
        from sqlalchemy import make_url

        url = make_url(database)
        options: dict[str, Any] = {}
        if url.drivername.startswith("sqlite"):
            engine = "sqlite3"
            options = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL"}
        else:
            engine, options = "postgresql", dict(url.query)
        if django.VERSION >= (6, 1):
            mail: dict[str, Any] = {
                "MAILERS": {
                    "default": {
                        "BACKEND": "django_integration.outbox.EmailBackend",
                        "OPTIONS": {"via": "smtp"},
                    },
                    "smtp": {
                        "BACKEND": "django_integration.EmailBackend",
                        "OPTIONS": {
                            "host": "127.0.0.1",
                            "port": port,
                            "timeout": 10,
                            "batch_pipeline": pipeline,
                        },
                    },
                }
            }
        else:
            mail = {
                "EMAIL_BACKEND": "django_integration.outbox.EmailBackend",
                "EMAIL_HOST": "127.0.0.1",
                "EMAIL_PORT": port,
                "EMAIL_TIMEOUT": 10,
            }
        settings.configure(
            INSTALLED_APPS=["django_integration", "django_integration.outbox"],
            DATABASES={
                "default": {
                    "ENGINE": f"django.db.backends.{engine}",
                    "NAME": url.database,
                    "USER": url.username or "",
                    "HOST": url.host or "",
                    "PORT": url.port or "",
                    "OPTIONS": options,
                }
            },
            MAILBACKENDS={"outbox": {"lease": _LEASE, "retry": _RETRY}},
            USE_TZ=True,
            **mail,
        )
        django.setup()

    def create_tables(self) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def enqueue(self, message: EmailMessage, *, roll_back: bool) -> None:
        from django.core.mail import EmailMessage as DjangoMessage
        from django.db import transaction

        from django_integration.outbox import enqueue

        made = DjangoMessage(
            str(message["Subject"]),
            str(message.get_payload()),
            str(message["From"]),
            str(message["To"]).split(", "),
            headers={"Message-ID": str(message["Message-ID"])},
        )
        with transaction.atomic():
            enqueue(made)
            transaction.set_rollback(roll_back)

    def work(self) -> None:
        from django_integration.outbox.operations import outbox_store
        from django_integration.outbox.working import OutboxWorker

        worker = OutboxWorker(outbox_store(), batch=10, poll=0.5)
        worker._sweep_every = 2.0
        worker.run()

    def end_connections(self) -> int:
        from django.db import connection

        if connection.vendor != "postgresql":
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_END_CONNECTION)
            return int(cursor.rowcount)

    def waiting(self) -> int:
        from django_integration.outbox.models import Message

        return int(Message.objects.filter(state__in=["queued", "claimed", "begun"]).count())

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        from django_integration.outbox.models import Recipient

        names = ("message__message_id", "message__state", "address", "state")
        yield from Recipient.objects.values_list(*names).iterator()

    def log_of_unknown(self) -> Counter[str]:
        from django_integration.outbox.models import LogEntry

        found = LogEntry.objects.filter(message__state="unknown").order_by("id")
        return Counter(dict(found.values_list("message_id", "kind")).values())


_END_CONNECTION = """\
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'soak-worker' ORDER BY random() LIMIT 1"""


def _work(django: bool, database: str, port: int, pipeline: int) -> None:
    """A worker's process, which ends when it is killed."""
    logging.getLogger("mailbackends").setLevel(logging.CRITICAL)
    if database.startswith("postgresql"):
        database += "?application_name=soak-worker"
    (_Django if django else _Core)(database, port, pipeline).work()


# --- The server -------------------------------------------------------------------------------


class _Server:
    """An SMTP server that fails in every way, and counts what it has accepted."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not a secret
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.did: Counter[str] = Counter()
        self.is_down = False
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, pipe: Connection) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**20)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            while not pipe.poll():  # noqa: ASYNC110 - a pipe has no event
                await asyncio.sleep(0.1)
            command = pipe.recv()
            if command == "report":
                pipe.send((dict(self.accepted), dict(self.did)))
                return
            self.is_down = command == "down"
            if self.is_down:
                self.did["outages"] += 1
                for writer in self.writers:
                    writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.did["connections"] += 1
        self.writers.add(writer)
        try:
            if not self.is_down:
                await self._talk(reader, writer)
        except (OSError, EOFError, _Drop):
            pass
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    def _happens(self, what: str, chance: float) -> bool:
        happens = self.random.random() < chance
        self.did[what] += happens
        return happens

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        content = b""
        has_sender = False

        async def reply(text: str) -> None:
            # Slow enough for workers to be killed while they wait.
            await asyncio.sleep(self.random.random() * 0.03)
            writer.write(text.encode() + b"\r\n")
            await writer.drain()

        await reply("421 4.3.2 Busy" if self._happens("busy", 0.005) else "220 soak")
        while line := await reader.readline():
            verb = line[:4].upper()
            if self._happens("dropped at a command", 0.002):
                raise _Drop
            if verb == b"EHLO":
                await reply("250-soak\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME")
            elif verb == b"MAIL":
                recipients, content = [], b""
                has_sender = not self._happens("MAIL 4yz", 0.005)
                await reply("250 OK" if has_sender else "451 4.3.0 Later")
            elif verb == b"RCPT" and not has_sender:
                await reply("503 5.5.1 MAIL first")
            elif verb == b"RCPT":
                address = line.partition(b"<")[2].partition(b">")[0].decode()
                if address.startswith("nobody"):
                    self.did["RCPT 5yz"] += 1
                    await reply("550 5.1.1 No such user")
                elif self._happens("RCPT 4yz", 0.02):
                    await reply("450 4.2.1 Later")
                else:
                    recipients.append(address)
                    await reply("250 OK")
            elif verb == b"DATA" and not recipients:
                await reply("554 5.5.1 No recipients")
            elif verb == b"DATA":
                await reply("354 Go ahead")
                content = await self._data(reader)
                await reply(self._delivered(recipients, content))
            elif verb == b"BDAT":
                _, size, *last = line.split()
                content += await self._chunk(reader, int(size))
                if not recipients:
                    await reply("554 5.5.1 No recipients")
                elif not last:
                    await reply("250 OK")
                else:
                    await reply(self._delivered(recipients, content))
            elif verb == b"QUIT":
                await reply("221 Bye")
                return
            else:
                await reply("250 OK")

    async def _data(self, reader: asyncio.StreamReader) -> bytes:
        if self._happens("dropped in a content", 0.003):
            await reader.read(self.random.randrange(1, 300))
            raise _Drop
        return await reader.readuntil(b"\r\n.\r\n")

    async def _chunk(self, reader: asyncio.StreamReader, size: int) -> bytes:
        if self._happens("dropped in a content", 0.003) and size:
            await reader.readexactly(self.random.randrange(size))
            raise _Drop
        return await reader.readexactly(size)

    def _delivered(self, recipients: list[str], content: bytes) -> str:
        if self._happens("content 4yz", 0.01):
            return "451 4.3.0 Later"
        if self._happens("content 5yz", 0.002):
            return "554 5.7.1 Spam"
        if self._happens("dropped after a content, not accepted", 0.001):
            raise _Drop
        found = re.search(rb"(?im)^message-id:\s*(\S+)", content)
        message_id = found[1].decode() if found else "?"
        self.accepted.update((message_id, each) for each in recipients)
        if self._happens("dropped after a content, accepted", 0.001):
            raise _Drop
        return "250 2.0.0 OK"


class _Drop(Exception):
    pass


def _serve(pipe: Connection, seed: int) -> None:
    asyncio.run(_Server(seed).serve(pipe))


# --- The run ----------------------------------------------------------------------------------


class _Soak:
    def __init__(self, given: argparse.Namespace, database: str) -> None:
        self.given = given
        self.database = database
        self.random = random.Random(given.seed)  # noqa: S311 - not a secret
        self.count: Counter[str] = Counter()
        self.stored: set[tuple[str, str]] = set()
        self.workers: list[Any] = []
        self.pipe, theirs = _PROCESSES.Pipe()
        self.server = _PROCESSES.Process(target=_serve, args=(theirs, given.seed), daemon=True)
        self.server.start()
        self.port: int = self.pipe.recv()
        self.outbox = (_Django if given.django else _Core)(database, self.port)
        self.outbox.create_tables()

    def run(self) -> dict[str, Any]:
        """Store, kill and wait until nothing waits any more; returns the result."""
        self.workers = [self._worker(n) for n in range(self.given.workers)]
        started = time.monotonic()
        try:
            self._load(started)
            seconds = time.monotonic() - started
            self._wait_for_the_rest()
        finally:
            for worker in self.workers:
                worker.kill()
                worker.join()
        self.pipe.send("report")
        accepted, did = self.pipe.recv()
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "minutes": round(seconds / 60, 1),
            "outbox": "Django" if self.given.django else "SQLAlchemy",
            "database": self.database.partition(":")[0],
            "seed": self.given.seed,
            **self.count,
            **self._accounts(accepted),
            "server": did,
        }

    def _worker(self, number: int) -> Any:
        # Every second one sends several messages in one flight.
        arguments = (self.given.django, self.database, self.port, 1 if number % 2 else 5)
        worker = _PROCESSES.Process(target=_work, args=arguments, daemon=True)
        worker.start()
        return worker

    def _load(self, started: float) -> None:
        end = started + self.given.minutes * 60
        due = shown = started
        next_kill = started + self.random.expovariate(1 / self.given.kill_every)
        next_end = started + 30
        next_outage, is_down = started + 240, False
        while (now := time.monotonic()) < end:
            if now >= due:
                self._store()
                # Never a burst to catch up: the load is bounded.
                due = max(due + 1 / self.given.rate, now - 1)
            if now >= next_kill:
                self._kill()
                next_kill = now + self.random.expovariate(1 / self.given.kill_every)
            if now >= next_end:
                self.count["connections to the database ended"] += self.outbox.end_connections()
                next_end = now + 30
            if now >= next_outage:
                is_down = not is_down
                self.pipe.send("down" if is_down else "up")
                next_outage = now + (10 if is_down else 240)
            if now >= shown + 60:
                self._show(now - started)
                shown = now
            self._replace_the_dead()
            time.sleep(max(min(due, next_kill) - time.monotonic(), 0.001))
        if is_down:
            self.pipe.send("up")

    def _store(self) -> None:
        number = self.count["stored"] + self.count["rolled back"] + 1
        message = EmailMessage()
        message["From"] = "shop@example.com"
        to = [f"customer{number}@example.org"]
        if self.random.random() < 0.1:
            to.append(f"second{number}@example.org")
        if self.random.random() < 0.01:
            to.append(f"nobody{number}@example.org")
        message["To"] = ", ".join(to)
        message["Subject"] = f"Order {number}"
        message["Message-ID"] = f"<{number}.{self.given.seed}@soak.example>"
        message.set_content("Thank you for your order.\n" * self.random.randrange(1, 100))
        roll_back = self.random.random() < 0.05
        self.outbox.enqueue(message, roll_back=roll_back)
        self.count["rolled back" if roll_back else "stored"] += 1
        if not roll_back:
            self.stored.update((str(message["Message-ID"]), each) for each in to)

    def _kill(self) -> None:
        number = self.random.randrange(len(self.workers))
        self.workers[number].kill()
        self.workers[number].join()
        self.count["workers killed"] += 1
        self.workers[number] = self._worker(number)

    def _replace_the_dead(self) -> None:
        for number, worker in enumerate(self.workers):
            if not worker.is_alive():
                self.count["workers that ended by themselves"] += 1
                self.workers[number] = self._worker(number)

    def _wait_for_the_rest(self) -> None:
        least, until = None, time.monotonic() + 300
        while (waiting := self.outbox.waiting()) and time.monotonic() < until:
            if least is None or waiting < least:
                least, until = waiting, time.monotonic() + 300
            self._replace_the_dead()
            time.sleep(1)

    def _show(self, seconds: float) -> None:
        counts = ", ".join(f"{value} {name}" for name, value in self.count.items())
        waiting = self.outbox.waiting()
        print(f"{seconds / 60:5.1f} min: {counts}, {waiting} wait", file=sys.stderr, flush=True)

    def _accounts(self, accepted: dict[tuple[str, str], int]) -> dict[str, Any]:
        """Each recipient of each message: the row's word against the server's."""
        found: Counter[str] = Counter(
            dict.fromkeys(("lost", "doubled", "never stored", "left over", "wrong"), 0)
        )
        messages: dict[str, str] = {}
        seen: set[tuple[str, str]] = set()
        for message_id, state, address, recipient_state in self.outbox.rows():
            messages[message_id] = str(state)
            key = message_id, address
            seen.add(key)
            arrived = accepted.pop(key, 0)
            found["doubled"] += arrived > 1
            if state in ("queued", "claimed", "begun"):
                found["left over"] += 1
            elif recipient_state == "accepted":
                found["lost"] += arrived == 0
            elif recipient_state == "unknown":
                found["unknown, arrived"] += arrived == 1
                found["unknown, did not arrive"] += arrived == 0
            else:
                found["wrong"] += arrived > 0
        found["lost"] += len(self.stored - seen)
        found["never stored"] += len(accepted) + len(seen - self.stored)
        return {
            "recipients": len(seen),
            **found,
            "messages": dict(Counter(messages.values())),
            "unknown since": dict(self.outbox.log_of_unknown()),
        }


@contextmanager
def _database(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    from support.postgres import postgres_server

    with postgres_server() as server:
        yield server.url.replace("postgresql:", "postgresql+psycopg:")


def main() -> int:
    """Run, and print the result as JSON; 1 if a message is not accounted for."""
    summary, _, rest = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="of load; default: 60")
    parser.add_argument("--rate", type=float, default=20, help="messages a second; default: 20")
    parser.add_argument("--workers", type=int, default=3, help="at the same time; default: 3")
    parser.add_argument(
        "--kill-every", type=float, default=3, help="seconds between kills, on average; default: 3"
    )
    parser.add_argument("--django", action="store_true", help="the outbox of django_integration")
    parser.add_argument("--database", metavar="URL", help="an empty one; default: a PostgreSQL")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # ends what was started here too
    with _database(given.database) as database:
        result = _Soak(given, database).run()
    print(json.dumps(result, indent=2))
    wrong = ("lost", "doubled", "never stored", "left over", "wrong")
    return 1 if any(result[name] for name in wrong) else 0


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT)]
    )
    with suppress(KeyboardInterrupt):
        raise SystemExit(main())
