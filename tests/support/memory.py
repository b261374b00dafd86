"""`MemorySocket`: a server that is only a list of bytes, for thousands of tests."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MemorySocket"]


class MemorySocket:
    """The methods of a socket that a client needs. ``recv()`` returns each of ``pieces`` in turn.

    After the last one the connection ends; None is a timeout.
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
        """Accept all bytes."""
        self.sent += data
        self.writes.append(bytes(data))

    def gettimeout(self) -> float | None:
        """None: it never waits."""
        return None

    def settimeout(self, timeout: float | None) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """There is nothing to free."""
        self.is_closed = True
