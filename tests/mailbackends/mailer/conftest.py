"""What the tests of the Mailer have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest

from mailbackends.protocol.session import Buffer
from mailbackends.transport.stream import Stream
from support.sink import Sink

MakeMessage = Callable[..., EmailMessage]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A server with PIPELINING and CHUNKING, on loopback, without TLS and login."""
    with Sink() as sink:
        yield sink


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
    """What was handed to the operating system, write by write, as it is within TLS."""
    seen: list[bytes] = []
    send_some = Stream.send_some

    def watched(self: Stream, buffers: list[Buffer]) -> int:
        joined = b"".join(buffers)
        if sent := send_some(self, buffers):
            seen.append(joined[:sent])
        return sent

    monkeypatch.setattr(Stream, "send_some", watched)
    return seen
