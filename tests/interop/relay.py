"""`Relay`: a proxy that counts connections, and can act in the middle of one."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from interop.servers.base import HOST, Endpoint

__all__ = ["Relay"]


class Relay:
    """Passes on bytes while its ``with`` block runs; it listens at ``port`` or ``path``."""

    def __init__(self, target: Endpoint) -> None:
        self._target = target
        self.connections = 0
        self.closed_by_server = 0
        self.port = 0
        self.path: str | None = None
        if target.path is None:
            self._listener = socket.socket()
            # Small buffers, so that a message can be interrupted in its middle.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            self._listener.bind((HOST, 0))
            self._listener.listen()
            self.port = self._listener.getsockname()[1]
        else:
            self._folder = tempfile.TemporaryDirectory()
            self.path = str(Path(self._folder.name) / "s")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(self.path)
            self._listener.listen()
        self._left: int | None = None
        # Locked during the action of `after`: the ends of connections are passed on later.
        self._acting = threading.Lock()
        self._act: Callable[[], None] = lambda: None
        self._open: list[socket.socket] = []

    def after(self, count: int, act: Callable[[], None]) -> None:
        """Call ``act`` after ``count`` more bytes of the clients, before the rest is passed on."""
        self._left, self._act = count, act

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for one in (self._listener, *self._open):
            _end(one)
        if self.path is not None:
            self._folder.cleanup()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections += 1
                self._open.append(client)
                try:
                    server = self._dial()
                except OSError:
                    _end(client)
                    continue
                self._open.append(server)
                for one in (client, server):
                    if one.family == socket.AF_INET:
                        # Otherwise each message waits for a delayed acknowledgement.
                        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _dial(self) -> socket.socket:
        if self._target.path is None:
            return socket.create_connection((HOST, self._target.port), 10)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._target.path)
        except OSError:
            server.close()
            raise
        return server

    def _pump(self, source: socket.socket, sink: socket.socket, is_upward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_upward and self._left is not None:
                    if len(data) > self._left:
                        sink.sendall(data[: self._left])
                        data, self._left = data[self._left :], None
                        with self._acting:
                            self._act()
                    else:
                        self._left -= len(data)
                sink.sendall(data)
            if not is_upward:
                self.closed_by_server += 1
        with self._acting:
            _end(source)
            _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
