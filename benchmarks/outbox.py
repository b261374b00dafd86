"""How fast the outbox is: messages a second of a worker, and the cost in a view.

    python benchmarks/outbox.py sqlite:////tmp/bench.sqlite3
    python benchmarks/outbox.py postgresql+psycopg://postgres@127.0.0.1:5432/bench

The database must be empty; its tables are created and dropped. The messages go to a sink on
loopback in another process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from sqlalchemy import text  # noqa: E402

from mailbackends import Submission  # noqa: E402
from mailbackends.outbox import State, outbox_message  # noqa: E402
from mailbackends.outbox.outbox import Outbox  # noqa: E402
from mailbackends.outbox.sqlalchemy_insert import insert_message  # noqa: E402

# A server that costs little itself, and answers whatever has come in after a delay.
_SINK = """
import asyncio, sys
delay = float(sys.argv[1]) / 1000
count = 0

async def serve(reader, writer):
    global count
    writer.write(b"220 sink ESMTP\\r\\n")
    answers = []
    while True:
        if answers and not reader._buffer:
            if delay:
                await asyncio.sleep(delay)
            writer.write(b"".join(answers))
            answers.clear()
        line = await reader.readline()
        verb = line[:4].upper()
        if not line or verb == b"QUIT":
            writer.close()
            return
        if verb == b"EHLO":
            answers += [b"250-%s\\r\\n" % each for each in (b"sink", b"PIPELINING", b"8BITMIME")]
            answers.append(b"250 CHUNKING\\r\\n")
        elif verb == b"BDAT":
            await reader.readexactly(int(line.split()[1]))
            count += b"LAST" in line
            answers.append(b"250 2.0.0 Ok: queued as %d\\r\\n" % count)
        else:
            answers.append(b"250 2.1.0 Ok\\r\\n")

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(count, flush=True)
    server.close()

asyncio.run(main())
"""
_WORKER = """
import sys, time
from mailbackends import Mailer
from mailbackends.outbox.outbox import Outbox
outbox = Outbox(sys.argv[1])
with Mailer(sys.argv[2], batch_pipeline=int(sys.argv[3]), deadline=60) as mailer:
    print("ready", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    handled = outbox.worker(mailer, batch=100).run_once()
    print(handled, time.process_time() - before, flush=True)
outbox.close()
"""


def message(number: int) -> EmailMessage:
    """An order confirmation."""
    made = EmailMessage()
    made["From"] = "shop@example.com"
    made["To"] = f"customer{number}@example.org"
    made["Subject"] = f"Order {number}"
    made.set_content("Thank you for your order.\n" * 40)
    return made


def main() -> None:
    """Measure, and print one line for each number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pipeline", type=int, default=50, help="batch_pipeline of the workers")
    parser.add_argument("--delay", type=float, default=20.0, help="of replies, for many workers")
    parser.add_argument("--rows", type=int, default=0, help="further rows, for claiming")
    given = parser.parse_args()
    outbox = Outbox(given.database)
    outbox.create_tables()
    try:
        _view(outbox)
        for pipeline in (1, 10, given.pipeline):
            _workers(outbox, given, 1, pipeline, 0.0)
        # The workers and their server share this machine: with a server that answers late, the
        # wait is what they share out.
        one = _workers(outbox, given, 1, 10, given.delay)
        many = _workers(outbox, given, given.workers, 10, given.delay)
        print(f"{given.workers} workers: {many / one:.1f} times one")
        if given.rows:
            _claiming(outbox, given.rows)
    finally:
        outbox.tables.message.metadata.drop_all(outbox.store.engine)
        outbox.close()


def _view(outbox: Outbox) -> None:
    """CPU time of one message, written and inserted, in a transaction that is there anyway."""
    count = 500
    # A bytes message: what writing one costs is not the outbox's.
    content = [message(n).as_bytes() for n in range(count)]
    with outbox.store.engine.begin() as connection:
        insert_message(connection, outbox_message(_submission(content[0])), outbox.tables)
        started = time.process_time()
        for each in content[1:]:
            insert_message(connection, outbox_message(_submission(each)), outbox.tables)
        seconds = time.process_time() - started
    print(f"enqueue: {seconds / (count - 1) * 1000:.3f} ms CPU")
    _empty(outbox)


def _submission(content: bytes) -> Submission:
    return Submission(content, "shop@example.com", ["ada@example.org"])


def _workers(
    outbox: Outbox, given: argparse.Namespace, count: int, pipeline: int, delay: float
) -> float:
    """The messages a second of so many workers."""
    with outbox.store.engine.begin() as connection:
        for number in range(given.messages):
            insert_message(connection, outbox_message(Submission(message(number))), outbox.tables)
    sink = _start(_SINK, str(delay))
    port = _line(sink)
    arguments = [given.database, f"smtp://127.0.0.1:{port}", str(pipeline)]
    workers = [_start(_WORKER, *arguments) for _ in range(count)]
    for worker in workers:
        _line(worker)
    started = time.perf_counter()
    for worker in workers:
        _tell(worker)
    lines = [_line(worker).split() for worker in workers]
    seconds = time.perf_counter() - started
    handled = [int(each[0]) for each in lines]
    cpu = sum(float(each[1]) for each in lines) / given.messages * 1000
    for worker in workers:
        worker.communicate()
    arrived, _ = sink.communicate()
    assert sum(handled) == given.messages == int(arrived), (handled, arrived)
    assert outbox.store.status().messages == {State.ACCEPTED: given.messages}
    rate: float = given.messages / seconds
    print(
        f"{count} worker(s), batch_pipeline={pipeline}, replies after {delay:.0f} ms: "
        f"{rate:.0f} messages/s, {cpu:.2f} ms CPU for each"
    )
    _empty(outbox)
    return rate


def _claiming(outbox: Outbox, rows: int) -> None:
    """Claim and release 50 of a few messages, with and without as many other rows."""
    for number in range(200):
        outbox.enqueue(message(number))

    def best() -> float:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            claimed = outbox.store.claim(50, lease=60, worker="b", aliases=["default"])
            times.append(time.perf_counter() - started)
            assert len(claimed) == 50
            outbox.store.release(claimed)
        return min(times) * 1000

    before = best()
    table = outbox.tables.message
    own = ("id", "key", "state", "due_at")
    others = ", ".join(column.name for column in table.c if column.name not in own)
    is_postgresql = outbox.store.engine.dialect.name == "postgresql"
    if is_postgresql:
        identity, numbers = "gen_random_uuid()", f"generate_series(1, {rows}) AS n"
    else:
        counted = f"SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}"  # noqa: S608
        identity = "lower(hex(randomblob(16)))"
        numbers = f"(WITH RECURSIVE c(n) AS ({counted}) SELECT n FROM c)"  # noqa: S608
    # A quarter of them waits, and is due after those that are claimed here.
    copy = f"""
        INSERT INTO {table.name} (id, state, due_at, {others})
        SELECT {identity},
            CASE n % 4 WHEN 0 THEN 'queued' WHEN 1 THEN 'refused' ELSE 'accepted' END,
            latest + n, {others}
        FROM (SELECT * FROM {table.name} LIMIT 1) AS one,
            (SELECT max(due_at) AS latest FROM {table.name}) AS last,
            {numbers}
    """  # noqa: S608
    with outbox.store.engine.begin() as connection:
        connection.execute(text(copy))
        if is_postgresql:
            connection.execute(text(f"ANALYZE {table.name}"))
    print(f"claim of 50: {before:.1f} ms, with {rows} rows more: {best():.1f} ms")


def _empty(outbox: Outbox) -> None:
    with outbox.store.engine.begin() as connection:
        for table in reversed(outbox.tables.all):
            connection.execute(table.delete())
        connection.execute(outbox.tables.message.delete())


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])},
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    print(file=process.stdin, flush=True)


if __name__ == "__main__":
    main()
