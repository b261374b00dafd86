"""Replies from a socket, each within a bounded time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from mailbackends.errors import SMTPProtocolError
from mailbackends.protocol.reply_parser import ReplyParser
from mailbackends.reply import Reply
from mailbackends.transport.poll import poll_of

__all__ = ["ReplyReader"]

_RECEIVE = 8192


class ReplyReader:
    """Reads the replies that come on one socket.

    A reply as a whole takes at most the socket's timeout. The timeout of a single
    ``recv()`` would let a server that sends a byte now and then hold us for ever.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._parser = ReplyParser()
        self._untaken: list[bytes] = []  # what has come, but for what `take_lines` gave
        self._farewell: Reply | None = None
        self._poll = poll_of(sock)
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else None

    def read(self) -> Reply:
        """The next reply. `take_lines` has to be called behind it.

        Raises:
            EOFError: the server closed the connection.
            OSError: the connection broke; `TimeoutError` where the reply took too long.
            SMTPProtocolError: what came is no reply.
        """
        if self._untaken:
            reply, self._farewell = self._farewell, None
            if reply := reply or self._parser.next_reply():
                return reply
        timeout = self.sock.gettimeout()
        started = time.monotonic()
        return self._receive() or self._wait(timeout, started)

    def take_lines(self, count: int) -> bytes:
        """The next ``count`` lines as they came, line ends and all, to be shown."""
        raw = b"".join(self._untaken)
        if raw.count(b"\n") == count and raw.endswith(b"\n"):
            self._untaken.clear()
            return raw
        *lines, rest = raw.split(b"\n", count)
        self._untaken = [rest] if rest else []
        return b"".join(line + b"\n" for line in lines)

    def is_quiet(self) -> bool:
        """True where surely nothing came behind the last reply; never waits.

        False where `has_farewell` has to look. This is one system call, and that is four.
        """
        if self._untaken or self._poll is None or (self._pending and self._pending()):
            return False
        return not self._poll(0)

    def has_farewell(self) -> bool:
        """True where a 421 has come that nobody asked for; never waits.

        Raises:
            SMTPProtocolError: what has come is no reply, or another one than 421, which
                alone may come at any time (RFC 5321 section 3.8).
        """
        if self._farewell is None and self.has_unread():
            reply = self._parser.next_reply()
            if reply is None or reply.code != 421:
                raise SMTPProtocolError(500, b"The server spoke although nobody asked.")
            self._farewell = reply
        return self._farewell is not None

    def has_unread(self) -> bool:
        """True where bytes have come behind the last reply that was read; never waits."""
        # A stand-in for a socket, as programs have them in their tests, need not know
        # what it means not to wait.
        if isinstance(self.sock, socket.socket):
            timeout = self.sock.gettimeout()
            self.sock.settimeout(0)
            # Nothing yet, or a fault: whoever reads or writes next meets it again.
            with contextlib.suppress(OSError):
                self._take(self.sock.recv(_RECEIVE))
            self.sock.settimeout(timeout)
        return bool(self._untaken)

    def last_words(self) -> Reply | None:
        """What the server said before the connection broke, where it did; never waits."""
        with contextlib.suppress(SMTPProtocolError):
            if self.has_unread():
                return self._farewell or self._parser.next_reply()
        return None

    def _receive(self) -> Reply | None:
        data = self.sock.recv(_RECEIVE)
        if not data:
            raise EOFError
        self._take(data)
        return self._parser.next_reply()

    def _wait(self, timeout: float | None, started: float) -> Reply:
        try:
            while True:
                if timeout is not None:
                    left = timeout - (time.monotonic() - started)
                    if left <= 0:
                        raise TimeoutError("timed out")
                    self.sock.settimeout(left)
                if reply := self._receive():
                    return reply
        finally:
            if timeout is not None:
                self.sock.settimeout(timeout)

    def _take(self, data: bytes) -> None:
        self._parser.receive_data(data)
        if data:
            self._untaken.append(data)
