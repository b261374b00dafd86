"""A client and its server in one thread: when the client waits, the server has its turn.

The sockets are real, and so are the FIN and the RST on them. Only waiting is replaced, in the place
that gevent replaces too: `select.poll`, which `mailbackends.transport` looks up. A client that
waits for a server that will never reply times out at once; a client that waits for a server that
waits for the client fails the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import selectors
import socket
import ssl
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import pytest

from mailbackends.transport import stream, waiting
from support.line import Cut, Line
from support.machine import Delivered, Habits

__all__ = ["At", "Network", "TurnsLoop", "taking_turns"]

T = TypeVar("T")
At: TypeAlias = Callable[[int, int], T | None]


class Network:
    """Listening servers, alike, and their lines. Use it within `taking_turns`."""

    def __init__(
        self, habits: Habits, context: ssl.SSLContext | None = None, *, servers: int = 1
    ) -> None:
        self.habits = habits
        self.context = context
        self.may_be_stuck = False
        """Whether a client may wait for a server that waits for it: it times out at once."""
        self.delivered = Delivered()
        self.lines: list[Line] = []
        self._standing: list[Line] = []
        self._seen = 0
        self._cuts: At[Cut] = _nowhere
        self._habits: At[Habits] = _nowhere
        self._listeners = [
            socket.create_server(("127.0.0.1", 0), backlog=16) for _ in range(servers)
        ]
        for listener in self._listeners:
            listener.setblocking(False)
            # Set for each connection: the kernel's default is some MB.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.ports: list[int] = [listener.getsockname()[1] for listener in self._listeners]

    def begin(self, cuts: At[Cut] | None = None, habits: At[Habits] | None = None) -> Delivered:
        """Start a new run: where each connection breaks, and what is special about its server.

        Both are asked with the number of the connection and that of its server, from 0.
        """
        self._cuts = cuts or _nowhere
        self._habits = habits or _nowhere
        self.delivered = Delivered()
        self.lines = []
        self._standing, self._seen = [], 0
        return self.delivered

    def turn(self) -> bool:
        """Let the server do what can be done; False if there was nothing to do."""
        has_acted = False
        for server, listener in enumerate(self._listeners):
            with contextlib.suppress(BlockingIOError):
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                index = len(self.lines)
                habits = self._habits(index, server) or self.habits
                cut = self._cuts(index, server)
                self.lines.append(Line(sock, habits, self.delivered, cut, self.context))
                has_acted = True
        for line in self.standing():
            has_acted |= line.turn()
        return has_acted

    def standing(self) -> list[Line]:
        """The lines on which something can still happen."""
        self._standing += self.lines[self._seen :]
        self._seen = len(self.lines)
        self._standing = [
            line for line in self._standing if line.fileno() >= 0 and not line.is_silent
        ]
        return self._standing

    def end(self) -> None:
        """End a run. Raises AssertionError where the client left a connection open."""
        while self.turn():
            pass
        left = [index for index, line in enumerate(self.lines) if not line.hang_up()]
        # After a reset by the server it cannot be known.
        left = [i for i in left if not self.lines[i].is_broken]
        assert not left, f"the client left these connections open: {left}"

    def close(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            listener.close()

    def is_silent(self, address: Any) -> bool:
        """True if the client at ``address`` waits for nothing."""
        return any(line.is_silent and line.peer == address for line in self.lines)

    def descriptors(self) -> list[int]:
        """Everything that can wake the server."""
        lines = (line.fileno() for line in self.standing())
        return [*(listener.fileno() for listener in self._listeners), *lines]


def _nowhere(index: int, server: int) -> None:
    return None


class TurnsLoop(asyncio.SelectorEventLoop):
    """An event loop with the server's turns in place of its waits. Its clock can be put forward.

    Where a client waits for a server that never answers, its timers are due at once.
    """

    def __init__(self, network: Network) -> None:
        self.ahead = 0.0
        super().__init__(_Selector(network, self))

    def time(self) -> float:
        """As the loop's own, with the time that nobody waited for."""
        return super().time() + self.ahead


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, unused-ignore]
    def __init__(self, network: Network, loop: TurnsLoop) -> None:
        super().__init__()
        self._network = network
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the real one, but that it never waits for a silent server."""
        while True:
            if ready := super().select(0):
                return ready
            if timeout is not None and timeout <= 0:
                return []
            if self._network.turn():
                continue
            if timeout is not None and self._waits_in_vain():
                self._loop.ahead += timeout
                return []
            poll = select.poll()  # what is under way comes within a moment, or from a thread
            for descriptor in (self.fileno(), *self._network.descriptors()):
                poll.register(descriptor, select.POLLIN)
            if not poll.poll(0 if self._network.may_be_stuck else 5000):
                assert self._network.may_be_stuck, "client and server wait for each other"
                self._loop.ahead += timeout or 0.0
                return []

    def _waits_in_vain(self) -> bool:
        for key in self.get_map().values():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(key.fd)) as sock:
                if self._network.is_silent(sock.getsockname()):
                    return True
        return False


class _Poll:
    """In place of `select.poll`: runs the server until there is something for the client."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._poll = select.poll()
        self._sockets: list[Any] = []

    def register(self, file: Any, mask: int) -> None:
        """As the real one."""
        self._poll.register(file, mask)
        self._sockets.append(file)

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        """As the real one, except that it never waits for a silent server."""
        while True:
            if ready := self._poll.poll(0):
                return ready
            if self._network.turn():
                continue
            if any(self._is_silent(file) for file in self._sockets):
                return []
            for descriptor in self._network.descriptors():
                self._poll.register(descriptor, select.POLLIN)
            if not self._poll.poll(0 if self._network.may_be_stuck else 5000):
                assert self._network.may_be_stuck, "client and server wait for each other"
                return []
            for descriptor in self._network.descriptors():
                self._poll.unregister(descriptor)

    def _is_silent(self, file: Any) -> bool:
        return isinstance(file, socket.socket) and self._network.is_silent(file.getsockname())


@contextlib.contextmanager
def taking_turns(network: Network) -> Iterator[Network]:
    """Within the block, the network runs whenever the transport waits."""
    door = types.SimpleNamespace(
        poll=lambda: _Poll(network), POLLIN=select.POLLIN, POLLOUT=select.POLLOUT
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "select", door)
        patch.setattr(waiting, "select", door)
        try:
            yield network
        finally:
            network.close()
            for line in network.lines:
                line.hang_up()
