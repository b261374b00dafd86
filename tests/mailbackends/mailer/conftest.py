"""What the tests of the Mailer have in common."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest

from mailbackends.protocol.gates import Buffer
from mailbackends.transport.stream import Stream
from support import loops
from support.awaited import awaited_mailers
from support.background import until, upkeep_threads
from support.sink import Sink

MakeMessage = Callable[..., EmailMessage]

# They are about the blocking form only: threads, signals that interrupt them, system calls, memory.
_ONE_FACE = frozenset(
    f"test_{name}"
    for name in (
        "accidents",
        "async_blocking",
        "async_bursts",
        "both_faces",
        "async_cancellation",
        "async_mailer",
        "counts",
        "no_deadlock",
    )
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use a `Mailer` with an `AsyncMailer` too, with the same interface."""
    name = metafunc.module.__name__.rpartition(".")[2]
    if "_kind_of_loop" in metafunc.fixturenames:
        metafunc.parametrize("_kind_of_loop", loops.KINDS, indirect=True)
    uses_mailer = hasattr(metafunc.module, "Mailer") and name not in _ONE_FACE
    # The servers that take turns with a client in one thread replace poll().
    is_for_threads = metafunc.definition.get_closest_marker("threads_only") is not None
    takes_turns = "network" in metafunc.fixturenames or (
        "taking_turns" in metafunc.function.__code__.co_names
    )
    if uses_mailer and not is_for_threads and not takes_turns:
        metafunc.parametrize("_face", ["threads", "asyncio"], indirect=True)


@pytest.fixture(autouse=True)
def _face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module's `Mailer` is the blocking one, or one that awaits an `AsyncMailer`."""
    if getattr(request, "param", "threads") == "threads":
        yield
        return
    with awaited_mailers() as awaited:
        monkeypatch.setattr(request.module, "Mailer", awaited)
        yield


@pytest.fixture(autouse=True)
def _bdat_has_worked(request: pytest.FixtureRequest) -> None:
    """These tests begin after the first message to a server, unless `bdat_unproved` is used."""
    if "bdat_unproved" not in request.fixturenames:
        request.getfixturevalue("bdat_has_worked")


@pytest.fixture
def _kind_of_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """`support.loops.run` makes loops of asyncio, or of uvloop."""
    loops.use(request.param)
    yield
    loops.use("asyncio")


@pytest.fixture
def bdat_unproved() -> None:
    """BDAT has not been used yet, as in a new process."""


@pytest.fixture
def no_upkeep_thread_is_left() -> Iterator[None]:
    """A Mailer that was closed, or is garbage, has ended its thread after the test."""
    yield
    gc.collect()
    until(lambda: not upkeep_threads())


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A server with PIPELINING and CHUNKING, on loopback, without TLS and login."""
    with Sink() as sink:
        yield sink


# Without CHUNKING there is a moment between the envelope and the content.
_GROUPS = ("PIPELINING", "ENHANCEDSTATUSCODES")


@pytest.fixture
def one() -> Iterator[Sink]:
    """The first of several servers; it has no CHUNKING."""
    with Sink(extensions=_GROUPS) as sink:
        yield sink


@pytest.fixture
def two() -> Iterator[Sink]:
    """The second of several servers; it has no CHUNKING."""
    with Sink(extensions=_GROUPS) as sink:
        yield sink


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"smtp://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def message() -> MakeMessage:
    """Makes a message: ``message("a@example.com", ..., subject="hello", text="Hello.")``."""

    def make(*to: str, subject: str = "hello", text: str = "Hello.") -> EmailMessage:
        made = EmailMessage()
        made["From"] = "from@example.com"
        made["To"] = ", ".join(to or ("to@example.com",))
        made["Subject"] = subject
        made.set_content(text + "\n")
        return made

    return make


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The writes to the operating system, as they are within TLS."""
    seen: list[bytes] = []
    send_some = Stream.send_some

    def watched(self: Stream, buffers: list[Buffer]) -> int:
        joined = b"".join(buffers)
        if sent := send_some(self, buffers):
            seen.append(joined[:sent])
        return sent

    monkeypatch.setattr(Stream, "send_some", watched)
    return seen
