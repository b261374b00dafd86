"""The server's end of one connection, driven by its caller.

It never waits, and it breaks off at the byte that the test names.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import StrEnum

from support.machine import Delivered, Habits, Machine

__all__ = ["Break", "Cut", "Line"]


class Break(StrEnum):
    """How a connection ends early."""

    FIN = "fin"
    """The server's half is closed; what the client still writes is read and discarded."""
    CLOSE = "close"
    """Both halves are closed: end of file, and a reset for everything written after it."""
    RESET = "rst"
    STALL = "stall"
    """Open, and silent forever."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where to break off: after ``offset`` bytes received from the client, or sent to it.

    The bytes before are processed. ``is_raw`` counts the bytes of TLS, else those within.
    """

    direction: str
    offset: int
    kind: Break
    is_raw: bool = False


class Line:
    """The server's end of one connection."""

    def __init__(
        self,
        sock: socket.socket,
        habits: Habits,
        delivered: Delivered,
        cut: Cut | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._sock = sock
        self.peer = sock.getpeername()
        """The client's address."""
        self._cut = cut
        self._context = context
        self._is_implicit_tls = context is not None and "STARTTLS" not in habits.extensions
        self.machine = Machine(habits, delivered)
        self.reads: list[bytes] = []
        """The bytes from the client in pieces: one for each write, if small."""
        self.sent = bytearray()
        """The bytes sent to it. Both are within TLS."""
        self.totals = {"received": 0, "sent": 0, "raw received": 0, "raw sent": 0}
        self.is_broken = False
        self.is_closed = False
        """True if neither side will use the connection again."""
        self._tls: ssl.SSLObject | None = None
        self._handshaking = False
        self._in_pieces = habits.in_pieces
        self._unsent = bytearray()  # what goes out a byte at a time
        sock.setblocking(False)
        if self._is_implicit_tls:
            self._begin_tls()
        if cut is not None and cut.offset == 0:
            self._break_off()
        elif not self._handshaking:
            self._answer()

    @property
    def is_silent(self) -> bool:
        """True if the client can wait here as long as it likes."""
        return self.machine.is_silent or (
            self.is_broken and self._cut is not None and self._cut.kind is Break.STALL
        )

    @property
    def received(self) -> bytes:
        """All bytes from the client."""
        return b"".join(self.reads)

    def fileno(self) -> int:
        """The descriptor, or -1 where it is closed."""
        return self._sock.fileno()

    def turn(self) -> bool:
        """Do what can be done; False if there was nothing to do."""
        if self.is_silent or self._sock.fileno() < 0:
            return False
        if self._unsent:
            self._flush(1)
            return True
        try:
            data = self._sock.recv(1 if self._in_pieces else 262_144)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close()
        elif not self.is_broken:
            self._take(self._up_to_cut("raw received", data))
        return True

    def interject(self, data: bytes) -> None:
        """Send unsolicited data."""
        self.machine.output += data
        self._answer()

    def hang_up(self) -> bool:
        """Close, and return whether the client had closed before."""
        had = self.is_closed
        if not had and self._sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._sock.setblocking(False)
                while data := self._sock.recv(262_144):
                    pass
                had = not data
        self._close(reset=True)
        return had

    def _take(self, data: bytes) -> None:
        if self._tls is None:
            self._act(data)
        else:
            self._incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                if self._handshaking:
                    self._shake_hands()
                while plain := self._tls.read(262_144):
                    self._act(plain)
            self._write_raw()
        if self._is_cut_due("received") or self._is_cut_due("raw received"):
            self._break_off()

    def _act(self, plain: bytes) -> None:
        if self.is_broken:
            return
        plain = self._up_to_cut("received", plain)
        self.reads.append(plain)
        self.machine.receive(plain)
        if not self._is_cut_due("received"):
            self._answer()

    def _answer(self) -> None:
        """Send the machine's output."""
        plain = self._up_to_cut("sent", bytes(self.machine.output))
        self.machine.output.clear()
        self.sent += plain
        if self._tls is None:
            self._send(plain)
        elif plain:
            self._tls.write(plain)
            self._write_raw()
        if self._is_cut_due("sent"):
            self._break_off()
        elif self.machine.is_over and not self.is_broken:
            self._end(Break.FIN)
        elif self.machine.wants_tls:
            self._begin_tls()

    def _begin_tls(self) -> None:
        assert self._context is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._handshaking = True

    def _shake_hands(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        finally:
            self._write_raw()
        self._handshaking = False
        if self._is_implicit_tls:
            self._answer()
        else:
            self.machine.tls_started()

    def _write_raw(self) -> None:
        if data := self._outgoing.read():
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self.is_broken:
            return
        data = self._up_to_cut("raw sent", data)
        if self._in_pieces and not self.machine.is_silent:
            self._unsent += data
            data = b""
        with contextlib.suppress(OSError):
            assert self._sock.send(data) == len(data), "more than a socket takes at once"
        if self._is_cut_due("raw sent"):
            self._break_off()

    def _flush(self, count: int = 262_144) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(self._unsent[:count])
        del self._unsent[:count]

    def _up_to_cut(self, counter: str, data: bytes) -> bytes:
        if self._counts(counter) and self._cut is not None:
            data = data[: max(0, self._cut.offset - self.totals[counter])]
        self.totals[counter] += len(data)
        return data

    def _is_cut_due(self, counter: str) -> bool:
        return (
            self._counts(counter)
            and self._cut is not None
            and self.totals[counter] >= self._cut.offset
        )

    def _counts(self, counter: str) -> bool:
        cut = self._cut
        return cut is not None and counter == "raw " * cut.is_raw + cut.direction

    def _break_off(self) -> None:
        if not self.is_broken:
            self.is_broken = True
            assert self._cut is not None
            self._end(self._cut.kind)

    def _end(self, kind: Break) -> None:
        self._flush()
        self.is_broken = True
        if kind is Break.FIN:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        elif kind is Break.CLOSE:
            with contextlib.suppress(OSError):
                while self._sock.recv(262_144):
                    pass  # unread data would make the kernel send RST instead of FIN
            self._sock.close()
        elif kind is Break.RESET:
            self._close(reset=True)

    def _close(self, *, reset: bool = False) -> None:
        if reset and self._sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
        self.is_closed = True
