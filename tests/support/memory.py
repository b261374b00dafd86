"""`MemorySocket`: a server that is nothing but a list of bytes, for tests by the thousand."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MemorySocket"]


class MemorySocket:
    """What a client needs of a socket. Each of ``pieces`` is what one ``recv()`` gives.

    Behind the last one comes the end of the connection; None is a timeout.
    """

    def __init__(self, pieces: Iterable[bytes | None]) -> None:
        self.pieces = iter(pieces)
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.is_closed = False

    def recv(self, size: int) -> bytes:
        """The next piece."""
        piece = next(self.pieces, b"")
        if piece is None:
            raise TimeoutError("timed out")
        return piece

    def sendall(self, data: bytes) -> None:
        """Take all of it."""
        self.sent += data
        self.writes.append(bytes(data))

    def gettimeout(self) -> float | None:
        """None: it never waits."""
        return None

    def settimeout(self, timeout: float | None) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing to be freed."""
        self.is_closed = True
