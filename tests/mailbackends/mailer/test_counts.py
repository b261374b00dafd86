"""What a message costs in system calls and memory. See test_round_trips for round trips."""

from __future__ import annotations

import functools
import select
import socket
import ssl
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from email.message import EmailMessage
from types import SimpleNamespace
from typing import Any

import pytest

import mailbackends
from mailbackends import Mailer, Submission
from mailbackends.mailer import opening
from mailbackends.transport import stream, waiting
from support.calls import calls_of
from support.sink import EXTENSIONS, Sink

PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
MiB = 1024 * 1024

# The check of the connection, the write, the wait for the reply, the reply.
ONE_FLIGHT = ["recv", "send", "poll", "recv"]
TWO_FLIGHTS = [*ONE_FLIGHT, "send", "poll", "recv"]


class Counting:
    """Mixed into a client's socket: records each system call."""

    calls: list[str]
    server_side = False

    def _noted(self, name: str, method: str, *arguments: Any) -> Any:
        if not self.server_side:
            self.calls.append(name)
        return getattr(super(), method)(*arguments)

    def sendmsg(self, *arguments: Any) -> Any:
        return self._noted("send", "sendmsg", *arguments)

    def send(self, *arguments: Any) -> Any:
        return self._noted("send", "send", *arguments)

    def recv(self, *arguments: Any) -> Any:
        return self._noted("recv", "recv", *arguments)

    def setsockopt(self, *arguments: Any) -> Any:
        return self._noted("setsockopt", "setsockopt", *arguments)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system calls on the connections of Mailers, TLS's among them, and all waiting."""
    seen: list[str] = []

    class CountingSocket(Counting, socket.socket):
        calls = seen

    class CountingTLS(Counting, ssl.SSLSocket):
        calls = seen

    class CountingPoll:
        def __init__(self) -> None:
            self._poll = poll()
            self.register = self._poll.register

        def poll(self, *arguments: Any) -> Any:
            seen.append("poll")
            return self._poll.poll(*arguments)

    poll, dial = select.poll, opening.dial

    async def dialled(*arguments: Any, **options: Any) -> socket.socket:
        return CountingSocket(fileno=(await dial(*arguments, **options)).detach())

    monkeypatch.setattr(opening, "dial", dialled)
    monkeypatch.setattr(ssl.SSLContext, "sslsocket_class", CountingTLS)
    # Not in the module itself, which the server uses, too.
    counting = SimpleNamespace(**{**vars(select), "poll": CountingPoll})
    monkeypatch.setattr(stream, "select", counting)
    monkeypatch.setattr(waiting, "select", counting)
    return seen


@pytest.mark.parametrize("security", ["none", "starttls"])
@pytest.mark.parametrize(
    ("extensions", "expected"), [(EXTENSIONS, ONE_FLIGHT), (PIPELINED, TWO_FLIGHTS)]
)
def test_a_message_takes_four_system_calls_or_seven(
    message, calls: list[str], security: Any, extensions: Sequence[str], expected: list[str]
) -> None:
    with (
        Sink(extensions=extensions, tls=security) as sink,
        Mailer(sink.url) as mailer,
    ):
        mailer.send_message(message())
        calls.clear()
        mailer.send_message(message())
        assert calls == expected
        calls.clear()
        assert len(list(mailer.stream_messages([message()] * 3))) == 3
        assert calls == expected * 3


def test_recipients_and_lines_cost_no_system_call(message, sink: Sink, calls: list[str]) -> None:
    people = [f"user{number}@example.com" for number in range(50)]
    with Mailer(sink.url) as mailer:
        mailer.send_message(message())
        calls.clear()
        mailer.send_message(message(*people, text="A line.\n" * 1000))
    assert calls[:4] == ONE_FLIGHT


# The first message: the connection and the greeting; EHLO; MAIL and RCPT with the first chunk,
# which shows whether the server knows BDAT; the rest of the content.
FIRST = ["poll", "setsockopt", *["poll", "recv"], *["send", "poll", "recv"] * 3]


@pytest.mark.usefixtures("bdat_unproved")
def test_the_first_message_takes_thirteen_system_calls(
    message, sink: Sink, calls: list[str]
) -> None:
    with Mailer(sink.url) as mailer:
        mailer.send_message(message())
    # Closing sends QUIT.
    assert calls == [*FIRST, "send"]


# Memory. The server is a separate process: its memory is not the client's.

_SERVER = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)

def serve(sock):
    lines = sock.makefile("rb")
    sock.sendall(b"220 x\\r\\n")
    for line in lines:
        reply = b"250 ok\\r\\n"
        verb = line[:4]
        if verb == b"EHLO":
            reply = b"250-x\\r\\n250-PIPELINING\\r\\n250 CHUNKING\\r\\n"
        elif verb == b"BDAT":
            size = int(line.split()[1])
            while size:
                size -= len(lines.read(min(size, 65536)))
        elif verb == b"DATA":
            sock.sendall(b"354 go\\r\\n")
            while lines.readline() != b".\\r\\n":
                pass
        sock.sendall(reply)

while True:
    try:
        serve(listener.accept()[0])
    except OSError:
        pass  # the client does not wait for the reply to QUIT
"""


@pytest.fixture(scope="module")
def discarding() -> Iterator[str]:
    """The URL of a server in another process, which discards everything."""
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield f"smtp://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def _as_object() -> Submission:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", "s"
    made.set_content("text\n")
    made.add_attachment(bytes(25 * MiB), "application", "octet-stream", filename="a.bin")
    return Submission(made)


def _as_bytes() -> Submission:
    content = b"Subject: s\r\n\r\n" + (b"A" * 76 + b"\r\n") * (35 * MiB // 78)
    return Submission(content, "a@example.com", "b@example.com")


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("make", [_as_object, _as_bytes])
def test_25_mb_are_sent_without_being_copied(
    discarding: str, chunking: bool, make: Callable[[], Submission]
) -> None:
    one = make()
    with Mailer(discarding, chunking=chunking) as mailer:
        mailer.send_message(b"", "a@example.com", "b@example.com")
        tracemalloc.start()
        try:
            [receipt] = mailer.stream_messages([one])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert not isinstance(receipt, Exception)
    assert peak < MiB


# Calls of functions take most of the time of a small message.
MOST_CALLS = 180
MOST_CALLS_FOR_THE_FIRST = 300


def test_a_small_message_calls_few_functions(discarding: str) -> None:
    content = b"Subject: s\r\n\r\n" + b"A line of text.\r\n" * 100
    with Mailer(discarding) as mailer:
        send = functools.partial(mailer.send_message, content, "a@example.com", "b@example.com")
        first = calls_of(send, mailbackends)
        later = calls_of(send, mailbackends)
    assert later <= MOST_CALLS
    assert first <= MOST_CALLS_FOR_THE_FIRST


# In another process, in which no earlier test has left anything.
_GARBAGE = """
import gc, sys
from email.message import EmailMessage
from mailbackends import Mailer

def message():
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ada@example.com", "bob@example.com", "s"
    made.set_content("text")
    return made

with Mailer(sys.argv[1]) as mailer:
    mailer.send_message(message())
    messages = [message() for _ in range(20)]
    gc.collect()
    gc.disable()
    receipts = mailer.send_messages(messages)
    print(gc.collect(), sum(len(each.accepted) for each in receipts))
"""


def test_messages_leave_nothing_for_the_garbage_collector(discarding: str) -> None:
    found = subprocess.check_output(  # noqa: S603 - our own program
        [sys.executable, "-c", _GARBAGE, discarding], text=True
    )
    assert found.split() == ["0", "20"]


_ALLOCATIONS = """
import sys, tracemalloc
from email.message import EmailMessage
from mailbackends import Mailer

def message():
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ada@example.com", "bob@example.com", "s"
    made.set_content("A line of text.\\n" * 128)
    return made

def peak_of(send):
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        send()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

with Mailer(sys.argv[1]) as mailer:
    for one in [message() for _ in range(20)]:
        mailer.send_message(one)
    messages = [message() for _ in range(101)]
    before = sys.getallocatedblocks()
    for one in messages[1:]:
        mailer.send_message(one)
    left = sys.getallocatedblocks() - before
    print(left, peak_of(lambda: mailer.send_message(messages[0])))
"""

# Blocks that a hundred messages leave behind: entries of the interpreter's own caches.
MOST_BLOCKS_LEFT = 20
# In bytes, for a content of 2 KB: that content in a few forms, and the objects of one transaction.
HIGHEST_PEAK = 20 * 1024


def test_a_small_message_allocates_little_and_leaves_nothing(discarding: str) -> None:
    found = subprocess.check_output(  # noqa: S603 - our own program
        [sys.executable, "-c", _ALLOCATIONS, discarding], text=True
    )
    left, peak = map(int, found.split())
    assert left <= MOST_BLOCKS_LEFT
    assert peak <= HIGHEST_PEAK
