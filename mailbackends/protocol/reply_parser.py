"""Replies from the bytes that a server sends, in any pieces (RFC 5321 section 4.2)."""

from __future__ import annotations

import contextlib
from functools import lru_cache

from mailbackends.errors import SMTPProtocolError
from mailbackends.reply import Reply

__all__ = ["MAX_LINE", "MAX_REPLY", "ReplyParser", "not_a_reply"]

# RFC 5321 section 4.5.3.1.5 allows 512 octets; the standard library reads up to 8192,
# and servers that fill that are known.
MAX_LINE = 8192

# No server needs this much for one reply. Without a limit, a hostile one could fill the memory.
MAX_REPLY = 256 * 1024

# A server repeats a few short replies. Replies with a queue id, which differ, are mostly longer.
_SHORT = 40


class ReplyParser:
    """Collects bytes and returns whole replies.

    A line may end with CRLF or, as with many servers, with LF alone. A code that is not a
    number ends the reply and is reported as -1, as in `smtplib`. Anything else that cannot be
    a reply raises `SMTPProtocolError`, after which the parser must not be used.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._start = 0
        self._searched = 0
        self._lines: list[bytes] = []
        self._code: int | None = None
        self._size = 0

    @property
    def is_empty(self) -> bool:
        """True if no byte is waiting: neither a whole reply nor the beginning of one."""
        return self._start == len(self._buffer) and not self._lines

    def receive_data(self, data: bytes) -> None:
        """Add bytes as they came from the socket, of any length."""
        left = self._buffer[self._start :]
        self._buffer = left + data if left else data
        self._searched -= self._start
        self._start = 0

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None if more bytes are needed.

        Raises:
            SMTPProtocolError: a line is longer than `MAX_LINE` bytes, a reply longer than
                `MAX_REPLY` bytes, or the code changes within a reply.
        """
        while (end := self._buffer.find(b"\n", self._searched) + 1) > 0:
            line = self._buffer[self._start : end]
            self._start = self._searched = end
            if len(line) > MAX_LINE:
                raise SMTPProtocolError(500, b"Line too long.")
            if not self._lines and line[3:4] != b"-":
                return _known_reply(line) if len(line) <= _SHORT else _reply(line)
            code, is_last = _code_in(line)
            # RFC 5321 section 4.2.1: the code is the same on each line. If it changes, the
            # server may mean either: the reply cannot be acted upon.
            if self._lines and code not in (self._code, -1):
                text = f"Reply code changed from {self._code} to {code} within a reply."
                raise SMTPProtocolError(500, text.encode())
            self._code = code
            self._size += len(line)
            if self._size > MAX_REPLY:
                raise SMTPProtocolError(500, b"Reply too long.")
            self._lines.append(line[4:].strip(b" \t\r\n"))
            if is_last:
                reply = Reply(code, tuple(self._lines))
                self._lines, self._size = [], 0
                return reply
        self._searched = len(self._buffer)
        if self._searched - self._start > MAX_LINE:
            raise SMTPProtocolError(500, b"Line too long.")
        return None

    def rest(self) -> list[Reply]:
        """All whole replies that are left, up to bytes that are not a reply."""
        replies = []
        with contextlib.suppress(SMTPProtocolError):
            while (reply := self.next_reply()) is not None:
                replies.append(reply)
        return replies


def _code_in(line: bytes) -> tuple[int, bool]:
    """The code of one line, and whether it is the last line of its reply."""
    digits = line[:3]
    # bytes.isdigit() is true for ASCII digits only, int() for much more.
    if len(digits) < 3 or not digits.isdigit():
        return -1, True
    return int(digits), line[3:4] != b"-"


def _reply(line: bytes) -> Reply:
    """The reply that consists of this one line."""
    return Reply(_code_in(line)[0], (line[4:].strip(b" \t\r\n"),))


_known_reply = lru_cache(maxsize=64)(_reply)


def not_a_reply(why: bytes, reply: Reply) -> SMTPProtocolError:
    """The error for a reply that answers no command; the text has its first 200 bytes."""
    return SMTPProtocolError(500, why + reply.message[:200])
