"""Bytes from the server to replies, in whatever pieces they arrive (RFC 5321 section 4.2)."""

from __future__ import annotations

from mailbackends.errors import SMTPProtocolError
from mailbackends.reply import Reply

__all__ = ["MAX_LINE", "MAX_REPLY", "ReplyParser"]

# RFC 5321 section 4.5.3.1.5 allows 512 octets; the standard library reads up to 8192,
# and servers that fill that are known.
MAX_LINE = 8192

# No server needs this much for one reply; without a bound a hostile one fills the memory.
MAX_REPLY = 256 * 1024


class ReplyParser:
    """Collects bytes and hands out whole replies.

    A line may end with CRLF or, as many servers do it, with LF alone. A code that is no
    number ends the reply and is reported as -1, as in `smtplib`; everything else that
    cannot be a reply raises `SMTPProtocolError`, after which the parser is of no more use.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._lines: list[bytes] = []
        self._code: int | None = None
        self._size = 0

    @property
    def is_empty(self) -> bool:
        """True when not a byte waits: neither a whole reply nor the beginning of one."""
        return not self._buffer and not self._lines

    def receive_data(self, data: bytes) -> None:
        """Take bytes as they came from the socket, of any length."""
        self._buffer += data

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None where more bytes are needed.

        Raises:
            SMTPProtocolError: a line is longer than `MAX_LINE` bytes, a reply longer than
                `MAX_REPLY` bytes, or the code changes within a reply.
        """
        while (line := self._next_line()) is not None:
            code, is_last = self._read_code(line)
            self._lines.append(line[4:].strip(b" \t\r\n"))
            if code == -1 or is_last:
                reply = Reply(code, tuple(self._lines))
                self._lines, self._code, self._size = [], None, 0
                return reply
        return None

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE:
                raise SMTPProtocolError(500, b"Line too long.")
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        if len(line) > MAX_LINE:
            raise SMTPProtocolError(500, b"Line too long.")
        self._size += len(line)
        if self._size > MAX_REPLY:
            raise SMTPProtocolError(500, b"Reply too long.")
        return line

    def _read_code(self, line: bytes) -> tuple[int, bool]:
        digits = line[:3]
        # bytes.isdigit() is true for ASCII digits only, int() for much more.
        if len(digits) < 3 or not digits.isdigit():
            return -1, True
        code = int(digits)
        # RFC 5321 section 4.2.1: the code is the same on each line. A server that changes
        # its mind may mean either: nothing that it says can be acted upon.
        if self._code is not None and code != self._code:
            raise SMTPProtocolError(
                500, f"Reply code changed from {self._code} to {code} within a reply.".encode()
            )
        self._code = code
        return code, line[3:4] != b"-"
