"""Servers made by hypothesis: right often enough that a session goes on, then wrong."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["QUOTED", "SECRET", "Fault", "Server", "announced", "faults", "streams"]

SECRET = "hunter2-s3cret"
QUOTED = (
    SECRET.encode(),
    base64.b64encode(SECRET.encode()),
    base64.b64encode(f"\0user\0{SECRET}".encode()),
)
"""The password in the forms in which it is sent, and a server may quote it."""

_GOOD = {
    "greeting": b"220 hi\r\n",
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go\r\n",
    "content": b"250 2.0.0 queued\r\n",
    "starttls": b"220 go\r\n",
    "response": b"235 in\r\n",
    "quit": b"221 bye\r\n",
}
_BASIC = b"250-me\r\n250-STARTTLS\r\n250-SIZE 1000\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n"

announced = st.sampled_from(
    [
        _BASIC + b"250 AUTH PLAIN\r\n",
        _BASIC + b"250-PIPELINING\r\n250 AUTH LOGIN PLAIN\r\n",
        _BASIC + b"250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN XOAUTH2\r\n",
        _BASIC + b"250-CHUNKING\r\n250 AUTH CRAM-MD5 SCRAM-SHA-256 OAUTHBEARER PLAIN\r\n",
    ]
)
"""What a server answers to EHLO."""

codes = (
    st.sampled_from([b"220", b"221", b"235", b"250", b"251", b"334", b"354", b"421", b"450"])
    | st.sampled_from([b"500", b"503", b"535", b"552", b"000", b"999", b"25", b"2500", b"-1"])
    | st.sampled_from([b"+25", b" 50", b"", b"\xb2\xb3\xb9"])
    | st.binary(max_size=4)
)
texts = (
    st.sampled_from([b"ok", b"", b"5.1.1 no", b"SIZE 1", b"SIZE -1", b"SIZE " + b"9" * 30])
    | st.sampled_from([b"AUTH PLAIN", b"AUTH", b"AUTH=LOGIN", b"CHUNKING", b"LIMITS RCPTMAX=1"])
    | st.sampled_from([b"r=a,s=b,i=1", b"v=AAAA", b"e=no", b"{}"]).map(base64.b64encode)
    | st.sampled_from(QUOTED)
    | st.binary(max_size=40)
    | st.integers(8180, 8200).map(lambda size: b"x" * size)
)
separators = st.sampled_from([b" ", b"-", b"-", b"", b"\t", b"_"])
ends = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\r\n"])
lines = st.builds(lambda *parts: b"".join(parts), codes, separators, texts, ends)
replies = st.lists(lines, min_size=1, max_size=4).map(b"".join)

streams = st.lists(replies | st.binary(max_size=60), max_size=8)
"""What a parser is fed, piece by piece."""


@dataclass(frozen=True)
class Fault:
    """What happens in place of a right reply, or to it."""

    said: bytes | None = None
    """The bytes in its place."""
    behind: bytes = b""
    """The bytes behind it, in the same packet."""
    cut: int = 0
    """The right reply comes in two pieces, the first of so many bytes."""
    is_silence: bool = False
    is_end: bool = False


_some = st.lists(
    st.none()
    | st.none()
    | st.none()
    | st.builds(Fault, said=replies)
    | st.builds(Fault, behind=replies)
    | st.builds(Fault, cut=st.integers(1, 40))
    | st.just(Fault(is_silence=True))
    | st.just(Fault(is_end=True)),
    max_size=16,
)
# A session has to get on before there is much to be got wrong.
faults = st.builds(lambda right, wrong: [None] * right + wrong, st.integers(0, 20), _some)
"""For each reply of a session nothing, or a fault."""


class Server:
    """The pieces of bytes that a server says to what it is told with `hear`.

    A None among the pieces is a silence; their end is the end of the connection.
    """

    def __init__(self, announced: bytes, wrongs: Sequence[Fault | None]) -> None:
        self._announced = announced
        self._wrongs = iter(wrongs)
        self._heard = bytearray()
        self._due = deque([_GOOD["greeting"]])
        self._pending: list[bytes] = []
        self._in_content = False
        self._chunk_left = 0
        self._in_auth = False
        self._is_lmtp = False
        self._recipients = 0
        self._patience = 300

    def hear(self, data: bytes) -> None:
        """Take what the client sent, and make up the right replies."""
        self._heard += data
        while self._heard:
            if self._chunk_left:
                taken = min(self._chunk_left, len(self._heard))
                self._chunk_left -= taken
                del self._heard[:taken]
                continue
            line, end, rest = self._heard.partition(b"\r\n")
            if not end:
                return
            self._heard = rest
            if not self._in_content:
                self._due.append(self._right(bytes(line)))
            elif line == b".":
                self._in_content = False
                self._due.extend(self._content_replies())

    def __iter__(self) -> Iterator[bytes | None]:
        return self

    def __next__(self) -> bytes | None:
        self._patience -= 1
        if self._patience < 0:
            raise AssertionError("the client goes on for ever")
        if self._pending:
            return self._pending.pop()
        fault = next(self._wrongs, None)
        right = self._due.popleft() if self._due else None
        if fault is None or right is None:
            return right
        if fault.is_end:
            raise StopIteration
        if fault.is_silence:
            return None
        if fault.said is not None:
            return fault.said or b"\r\n"
        if fault.cut:
            self._pending.append(right[fault.cut :] or b"250 extra\r\n")
            return right[: fault.cut]
        return right + fault.behind

    def _right(self, line: bytes) -> bytes:
        if self._in_auth:
            self._in_auth = False
            return _GOOD["response"]
        words = line.decode("latin-1").lower().split(" ")
        if words[0] in ("ehlo", "lhlo"):
            self._is_lmtp = words[0] == "lhlo"
            return self._announced
        if words[0] == "mail":
            self._recipients = 0
        self._recipients += words[0] == "rcpt"
        if words[0] == "auth":
            self._in_auth = words[1:2] != ["plain"] or len(words) < 3
            return b"334 \r\n" if self._in_auth else _GOOD["response"]
        if words[0] == "bdat":
            self._chunk_left = int(words[1])
            self._due.extend(self._content_replies()[1:])
        self._in_content = words[0] == "data"
        return _GOOD.get(words[0], b"250 ok\r\n")

    def _content_replies(self) -> list[bytes]:
        # RFC 2033 section 4.2: one for each recipient.
        return [_GOOD["content"]] * (max(1, self._recipients) if self._is_lmtp else 1)
