"""An event loop is never blocked by a message: large ones are read and encoded elsewhere.

Measured is the CPU time that the loop's thread spends in one callback, and not the clock: other
work on a busy machine does not count. What the system makes a thread wait for does not count
either, so that calls which may wait are looked for by name.
"""

from __future__ import annotations

import asyncio
import builtins
import gc
import io
import os
import socket
import threading
import time
from asyncio import events
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailbackends import AsyncMailer, FileAttachment, Receipt, Submission
from support import certs
from support.sink import Sink

# Python compiled without optimisation needs a third of this at most.
LIMIT = 0.005
MB = 1_000_000
# TLS in the same process takes long; this is more than a socket takes at once.
SIZES = {"none": 25 * MB, "tls": 6 * MB}


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, str]]]:
    """The CPU time of each callback of an event loop, in seconds, and the callback.

    Without that of Python's garbage collector, which depends on all objects of the process.
    """
    seen: list[tuple[float, str]] = []
    run = events.Handle._run

    def timed(self: events.Handle) -> None:
        started = time.thread_time()
        run(self)
        seen.append((time.thread_time() - started, repr(self)))

    monkeypatch.setattr(events.Handle, "_run", timed)
    gc.collect()
    gc.disable()
    yield seen
    gc.enable()


def _message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "from@example.com", "to@example.com"
    made.set_content("It is attached.\n")
    return made


def _attachment(path: Path, size: int) -> EmailMessage:
    made = _message()
    made.add_attachment(b"x" * size, "application", "octet-stream", filename="x")
    return made


def _file(path: Path, size: int) -> EmailMessage:
    path.write_bytes(os.urandom(MB) * (size // MB))
    made = _message()
    made.make_mixed()
    made.attach(FileAttachment(path))
    return made


def _long_line(path: Path, size: int) -> EmailMessage:
    made = _message()
    made.set_content("é" * (size // 5))
    return made


def _bytes(path: Path, size: int) -> Submission:
    data = b"Subject: bytes\r\n\r\n" + b".line\r\n" * (size // 7)
    return Submission(data, "from@example.com", ["to@example.com"])


def _many_recipients(path: Path, size: int) -> EmailMessage:
    made = _message()
    del made["To"]
    made["To"] = ", ".join(f"user{number}@example.com" for number in range(900))
    return made


@pytest.mark.parametrize(
    ("tls", "chunking"),
    [("none", True), ("none", False), ("tls", True)],
    ids=["bdat", "data", "bdat over TLS"],
)
@pytest.mark.parametrize("make", [_attachment, _file, _long_line, _bytes, _many_recipients])
def test_no_message_keeps_the_loop_for_five_milliseconds(
    make: Callable[[Path, int], Any],
    chunking: bool,
    tls: Any,
    callbacks: list[tuple[float, str]],
    tmp_path: Path,
) -> None:
    given = make(tmp_path / "file.bin", SIZES[tls])
    more = {} if tls == "none" else {"ssl_cafile": certs.cafile()}

    async def main() -> None:
        async with mailer:
            # The first message imports modules, and compiles regular expressions.
            await mailer.send_message(_message())
            callbacks.clear()
            [outcome] = await mailer.send_messages([given])
            assert isinstance(outcome, Receipt)

    with Sink(tls=tls, extensions=("PIPELINING", "CHUNKING", "SIZE")) as sink:
        # Made before: the certificates of TLS are read from files then.
        mailer = AsyncMailer(sink.url, chunking=chunking, **more)
        asyncio.run(main())
    assert len(callbacks) > 5
    slow = [each for each in callbacks if each[0] > LIMIT]
    assert slow == []


def test_a_file_is_read_in_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _file(tmp_path / "file.bin", 3 * MB)
    readers: set[int] = set()
    open_file = io.open

    def watched(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file).endswith("file.bin"):
            readers.add(threading.get_ident())
        return open_file(file, *args, **kwargs)

    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            await mailer.send_message(given)

    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(io, "open", watched)
    with Sink() as sink:
        asyncio.run(main())
    assert len(sink.message.content) > 4 * MB
    assert readers
    assert threading.get_ident() not in readers


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers after the event was set."""
    may_answer = threading.Event()
    getaddrinfo = socket.getaddrinfo

    def slow(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "mail.test" or socket.AI_NUMERICHOST in args:
            return getaddrinfo(host, *args, **kwargs)
        assert threading.current_thread() is not threading.main_thread()
        assert may_answer.wait(20)
        return getaddrinfo("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield may_answer
    may_answer.set()


def test_a_slow_name_server_keeps_no_loop(
    slow_names: threading.Event, callbacks: list[tuple[float, str]]
) -> None:
    async def main() -> None:
        async with AsyncMailer(f"smtp://mail.test:{sink.port}") as mailer:
            sending = [asyncio.create_task(mailer.send_message(_message())) for _ in range(20)]
            for _ in range(100):
                await asyncio.sleep(0)
            assert not any(task.done() for task in sending)
            callbacks.clear()
            slow_names.set()
            await asyncio.gather(*sending)

    with Sink() as sink:
        asyncio.run(main())
    assert len(sink.messages) == 20
    assert [each for each in callbacks if each[0] > 2 * LIMIT] == []
