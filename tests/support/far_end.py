"""`FarEnd`: a driver on one end of a socket pair, and a server's part on the other."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mailbackends.protocol.session import Session
from mailbackends.protocol.state import Dialogue
from mailbackends.transport.driver import Driver
from mailbackends.transport.stream import Stream
from mailbackends.transport.waiting import Timeouts, run

__all__ = ["PATIENT", "FarEnd"]

T = TypeVar("T")

PATIENT = Timeouts(command=10.0, content=10.0)


class FarEnd:
    """The other end of a `Driver`'s stream: a function that plays the server, in a thread.

    ``buffer`` is the size of the system's own buffers, in bytes. With ``tcp`` the sockets
    are those of TCP. ``tls_context`` and ``tls_hostname`` are the driver's.
    """

    def __init__(
        self,
        play: Callable[[FarEnd], object],
        *,
        buffer: int | None = None,
        tcp: bool = False,
        **tls: Any,
    ) -> None:
        ours, self.sock = _tcp_pair() if tcp else socket.socketpair()
        for sock in (ours, self.sock):
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.sock.settimeout(10)
        self.session = Session()
        self.driver = Driver(self.session, Stream(ours), **tls)
        self.received = b""
        self.errors: list[BaseException] = []
        self.go = threading.Event()
        """For a function that waits until the test has come this far."""
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(play,))

    def _run(self, play: Callable[[FarEnd], object]) -> None:
        try:
            with contextlib.suppress(OSError):
                play(self)
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self) -> FarEnd:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.go.set()
        self.stopped.set()
        self.driver.stream.abort()
        self.thread.join()
        self.sock.close()
        assert self.errors == []

    def run(self, dialogue: Dialogue[T], timeouts: Timeouts = PATIENT) -> T:
        """Run a dialogue of ours."""
        return run(self.driver.run(dialogue, timeouts))

    # What the server's function can do

    def read_until(self, end: bytes) -> bytes:
        """The bytes before ``end``, which is dropped."""
        while end not in self.received:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError
            self.received += data
        found, _, self.received = self.received.partition(end)
        return found

    def say(self, *lines: bytes) -> None:
        """Send these lines."""
        self.sock.sendall(b"".join(line + b"\r\n" for line in lines))

    def answer(self, *lines: bytes) -> None:
        """Read one line for each command."""
        for line in lines:
            self.read_until(b"\r\n")
            self.say(line)

    def reset(self) -> None:
        """Close with RST: the client's kernel discards what was not read."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]
