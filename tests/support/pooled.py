"""Connections for the tests of the pool: in memory, or with a real socket."""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from mailbackends.pool import Pool, Poolable

__all__ = ["Dialler", "FakeConnection", "SocketConnection", "pool_of"]

C = TypeVar("C", bound=Poolable)


class FakeConnection:
    """A connection that reports to be alive, and records how it ended."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.alive = True
        self.ended: list[str] = []

    def is_alive(self) -> bool:
        """The value that the test has set."""
        return self.alive

    def close(self) -> None:
        """End politely."""
        self._end("closed")

    def abort(self) -> None:
        """Record that it was aborted."""
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended.append(how)

    def __repr__(self) -> str:
        return f"<connection {self.number} {''.join(self.ended)}>"


class Dialler:
    """Opens `FakeConnection`s: all of them in ``opened``, the deadlines given in ``deadlines``."""

    def __init__(self) -> None:
        self.opened: list[FakeConnection] = []
        self.deadlines: list[float | None] = []

    def __call__(self, deadline: float | None) -> FakeConnection:
        """A new connection."""
        self.deadlines.append(deadline)
        connection = FakeConnection(len(self.opened))
        self.opened.append(connection)
        return connection

    @property
    def standing(self) -> list[FakeConnection]:
        """Those that have not ended."""
        return [connection for connection in self.opened if not connection.ended]


class SocketConnection:
    """A real socket that sends QUIT when it is closed politely."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)

    def is_alive(self) -> bool:
        """False if anything can be read, an end of file included."""
        return not select.select([self.socket], [], [], 0)[0]

    def close(self) -> None:
        """Write QUIT and close."""
        if self.socket.fileno() >= 0:
            self.socket.sendall(b"QUIT\r\n")
            self.socket.close()

    def abort(self) -> None:
        """Close the descriptor only."""
        if self.socket.fileno() >= 0:
            os.close(self.socket.detach())


def pool_of(connect: Callable[[float | None], C], **options: Any) -> Pool[C]:
    """A pool of size 2 without limits, except for the options given."""
    defaults: dict[str, Any] = {
        "size": 2,
        "timeout": 10.0,
        "max_messages_per_connection": math.inf,
        "max_lifetime": math.inf,
        "max_idle": math.inf,
    }
    return Pool(connect, **{**defaults, **options})
