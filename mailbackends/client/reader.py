"""Replies from a socket, each within a bounded time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from mailbackends.errors import SMTPProtocolError
from mailbackends.protocol.reply_parser import ReplyParser
from mailbackends.reply import Reply
from mailbackends.transport.stream import poll_of

__all__ = ["ReplyReader"]

_RECEIVE = 8192


class ReplyReader:
    """Reads the replies that come on one socket.

    A reply as a whole may take at most the socket's timeout. With a timeout for each ``recv()``
    only, a server that sends a byte now and then could block the program for ever.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._parser = ReplyParser()
        self._untaken: list[bytes] = []  # received, and not yet returned by `take_lines`
        self._farewell: Reply | None = None
        self._poll = poll_of(sock)
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else None

    def read(self) -> Reply:
        """Return the next reply. `take_lines` must be called after it.

        Raises:
            EOFError: the server closed the connection.
            OSError: the connection broke; `TimeoutError` if the reply took too long.
            SMTPProtocolError: the server sent something that is not a reply.
        """
        if self._untaken:
            reply, self._farewell = self._farewell, None
            if reply := reply or self._parser.next_reply():
                return reply
        timeout = self.sock.gettimeout()
        started = time.monotonic()
        return self._receive() or self._wait(timeout, started)

    def take_lines(self, count: int) -> bytes:
        """Return the next ``count`` lines as received, line ends included, for debug output."""
        raw = b"".join(self._untaken)
        if raw.count(b"\n") == count and raw.endswith(b"\n"):
            self._untaken.clear()
            return raw
        *lines, rest = raw.split(b"\n", count)
        self._untaken = [rest] if rest else []
        return b"".join(line + b"\n" for line in lines)

    def is_quiet(self) -> bool:
        """True if certainly nothing came after the last reply; never waits.

        If False, `has_farewell` has to check. This is one system call, and that is four.
        """
        if self._untaken or self._poll is None or (self._pending and self._pending()):
            return False
        return not self._poll(0)

    def has_farewell(self) -> bool:
        """True if a 421 has come that no command asked for; never waits.

        Raises:
            SMTPProtocolError: something else has come. Only 421 may come at any time
                (RFC 5321 section 3.8).
        """
        if self._farewell is None and self.has_unread():
            reply = self._parser.next_reply()
            if reply is None or reply.code != 421:
                raise SMTPProtocolError(500, b"The server sent a reply that no command asked for.")
            self._farewell = reply
        return self._farewell is not None

    def has_unread(self) -> bool:
        """True if bytes have come after the last reply that was read; never waits."""
        # A substitute for a socket, as programs use in their tests, may not support this.
        if isinstance(self.sock, socket.socket):
            timeout = self.sock.gettimeout()
            self.sock.settimeout(0)
            # Nothing yet, or an error, which the next read or write raises again.
            with contextlib.suppress(OSError):
                self._take(self.sock.recv(_RECEIVE))
            self.sock.settimeout(timeout)
        return bool(self._untaken)

    def last_words(self) -> Reply | None:
        """Return the last reply before the connection broke, or None; never waits."""
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
