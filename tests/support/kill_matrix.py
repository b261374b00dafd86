"""A worker that is killed with SIGKILL at one point, and what is left: for each point.

A store is made by a function, named as ``"module:function"``, in the child as well as here. It
takes one text and returns the store and a function that has another one called before each
statement and each commit. So the matrix runs over any store.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from mailbackends import Mailer
from mailbackends.outbox import (
    MailerDelivery,
    OutboxMessage,
    RecipientState,
    State,
    Store,
    Worker,
)
from mailbackends.transport.stream import Stream
from support.sink import Sink

__all__ = ["KillMatrix", "Point", "Result", "sqlalchemy_store"]

Register = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class Point:
    """Where the worker is killed: before the n-th statement, or after the n-th byte."""

    kind: str
    """``"statement"``, ``"sent"`` or ``"received"``: bytes on the connection."""
    number: int


@dataclass
class Result:
    """What happened to the messages of one point."""

    point: Point
    was_killed: bool
    at_kill: dict[UUID, OutboxMessage]
    at_end: dict[UUID, OutboxMessage]


@dataclass
class KillMatrix:
    """Runs points and counts what the server has got in the end."""

    factory: str
    database: str
    enqueue: Callable[[str], OutboxMessage]
    expire_leases: Callable[[], None]
    sink: Sink
    messages: int = 2
    options: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def run(self, points: Iterable[Point]) -> None:
        """Kill a worker at each point that it reaches, and let another one go on."""
        store, _ = _made(self.factory, self.database)
        with Mailer(self._url, **self.options) as mailer, _children() as start:
            for point in points:
                self.results.append(self._run_one(start, store, mailer, point))
                if not self.results[-1].was_killed:
                    break
        # The store of this process belongs to the matrix, with its connections.
        engine = getattr(store, "engine", None)
        store.close()
        if engine is not None:
            engine.dispose()

    def _run_one(
        self, start: Callable[[list[Any]], int], store: Store, mailer: Mailer, point: Point
    ) -> Result:
        rows = [self.enqueue(f"{point.kind} {point.number} {n}") for n in range(self.messages)]
        status = start([self.factory, self.database, self._url, self.options, asdict(point)])
        assert status in (0, -signal.SIGKILL), status
        at_kill = {row.id: _found(store, row.id) for row in rows}
        self.expire_leases()
        worker = Worker(store, MailerDelivery(mailer))
        while worker.run_once():
            pass
        return Result(
            point,
            status != 0,
            at_kill,
            {row.id: _found(store, row.id) for row in rows},
        )

    @property
    def _url(self) -> str:
        return f"smtp://127.0.0.1:{self.sink.port}"

    def check(self) -> dict[str, int]:
        """Check all results once the server has read everything; returns the totals."""
        self.sink.stop()
        arrived = Counter(
            (m.message["Message-ID"], to) for m in self.sink.messages for to in m.rcpt_tos
        )
        totals: Counter[str] = Counter()
        for result in self.results:
            totals["kills"] += result.was_killed
            for id, end in result.at_end.items():
                was = result.at_kill[id]
                totals["messages"] += 1
                totals["unknown"] += end.state is State.UNKNOWN
                for before, recipient in zip(was.recipients, end.recipients, strict=True):
                    count = arrived[end.message_id, recipient.address]
                    is_unknown = recipient.state is RecipientState.UNKNOWN
                    totals["lost"] += count == 0 and not is_unknown
                    totals["doubled"] += count > 1
                    # Who was not begun is not at the server: it is sent to, and once. Who was
                    # accepted in an earlier part stays so, whatever becomes of the others.
                    is_open = was.state is State.BEGUN and before.state is RecipientState.PENDING
                    expected = RecipientState.UNKNOWN if is_open else RecipientState.ACCEPTED
                    assert recipient.state is expected, (result.point, was.state, recipient)
                    assert count <= 1, (result.point, was.state, count)
                    assert count == 1 or is_unknown, (result.point, was.state)
        return dict(totals)


def sqlalchemy_store(url: str) -> tuple[Store, Register]:
    """The store over SQLAlchemy."""
    from sqlalchemy import create_engine, event

    from mailbackends.outbox.sqlalchemy_store import SQLAlchemyStore

    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        # A process that is killed loses nothing that the system has, with fsync or without.
        event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))

    def register(tick: Callable[[], None]) -> None:
        event.listen(engine, "before_cursor_execute", lambda *_: tick())
        event.listen(engine, "commit", lambda *_: tick())

    return SQLAlchemyStore(engine), register


def _made(factory: str, database: str) -> tuple[Store, Register]:
    module, _, name = factory.partition(":")
    made: tuple[Store, Register] = getattr(importlib.import_module(module), name)(database)
    return made


def _found(store: Store, id: UUID) -> OutboxMessage:
    found = store.get(id)
    assert found is not None
    return found


@contextmanager
def _children() -> Iterator[Callable[[list[Any]], int]]:
    """Runs `_child` in a process forked from one that has imported everything, and no threads.

    What is given starts one and waits; it returns its exit code, negative for a signal.
    """
    program = "from support.kill_matrix import serve; serve()"
    paths = os.pathsep.join(each for each in sys.path if each)
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def start(arguments: list[Any]) -> int:
        print(json.dumps(arguments), file=stdin, flush=True)
        return int(stdout.readline())

    with process:
        yield start
        stdin.close()


def serve() -> None:
    """Fork a child for each line of standard input, and write its exit code."""
    for line in sys.stdin:
        factory, database, url, options, point = json.loads(line)
        importlib.import_module(factory.partition(":")[0])
        if factory.startswith(__name__):
            importlib.import_module("mailbackends.outbox.sqlalchemy_store")
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            try:
                _child(factory, database, url, options, Point(**point))
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(factory: str, database: str, url: str, options: dict[str, Any], point: Point) -> None:
    store, register = _made(factory, database)
    if point.kind == "statement":
        register(_counter(point.number))
    else:
        _count_bytes(point)
    with Mailer(url, **options) as mailer:
        Worker(store, MailerDelivery(mailer)).run_once()


def _counter(last: int) -> Callable[[], None]:
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == last:
            _die()

    return tick


def _count_bytes(point: Point) -> None:
    total = 0
    send, receive = Stream.send_some, Stream.receive_some

    def send_some(self: Stream, buffers: Any) -> int:
        nonlocal total
        allowed = point.number - total
        data = b"".join(bytes(each) for each in buffers)
        if len(data) >= allowed:
            sent = 0
            while sent < allowed:
                sent += send(self, [data[sent:allowed]])
            _die()
        sent = send(self, buffers)
        total += sent
        return sent

    def receive_some(self: Stream) -> bytes | None:
        nonlocal total
        data = receive(self)
        total += len(data or b"")
        if total >= point.number:
            _die()
        return data

    if point.kind == "sent":
        Stream.send_some = send_some  # type: ignore[method-assign]
    else:
        Stream.receive_some = receive_some  # type: ignore[method-assign]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
