"""BDAT (RFC 3030): what is known about a server, and a first chunk that can do no harm.

Proxies in front of a server, and some appliances, announce CHUNKING without supporting BDAT.
They read the content after it as commands. So the whole content follows BDAT only with a server
on which BDAT has worked; with any other, the first chunk is a single header line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from mailbackends.mime.content import Content

__all__ = [
    "MAX_ONE_FLIGHT",
    "NOT_READ",
    "Chunking",
    "SplitContent",
    "fits_one_flight",
    "split_content",
]


class Chunking(Enum):
    """What is known about BDAT with one server."""

    PROVED = "BDAT has worked: all of the content may follow it at once"
    UNPROVED = "BDAT has not been used yet: the first chunk is a single header line"
    OFF = "BDAT does not work, or is not allowed: DATA is used"


NOT_READ = frozenset({500, 501, 502, 503, 504, 555})
"""Replies to BDAT that say that the command itself was refused: its chunk may have been read as
commands. They say nothing about the message."""

MAX_ONE_FLIGHT = 64 * 1024
"""In one flight, the content is sent in vain if a recipient is refused: small contents only."""

# RFC 5321 section 4.5.3.1.4: a longer line may be read as two commands.
_LONGEST = 512
# Not with the first letters of a command, which is all that some servers look at.
_HEADER_LINE = re.compile(
    rb"(?i:(?!mail|rcpt|data|rset|quit|[eh]elo|lhlo|noop|help|vrfy|expn|turn|etrn|auth|bdat|star))"
    rb"[!-9;-~]+:[\t -~]*\r\n"
)


@dataclass(slots=True)
class SplitContent:
    """A content in two chunks."""

    first: bytes
    """A header line, which a server without BDAT reads as one unknown command."""
    rest: Iterable[bytes | memoryview]
    """The buffers of the second chunk; a tuple if nothing is made while it is sent."""
    rest_size: int
    """The length of the second chunk in bytes."""


def split_content(content: Content) -> SplitContent | None:
    """The content after its first line, or None if that is not a harmless header line."""
    head = content.pieces[0]
    end = head.find(b"\r\n", 0, _LONGEST) + 2 if isinstance(head, bytes) else 0
    if not isinstance(head, bytes) or not _HEADER_LINE.fullmatch(head, 0, end):
        return None
    if content.size == end:
        return None  # Some servers refuse an empty chunk.
    chunk = content.chunk()
    rest: Iterable[bytes | memoryview]
    if isinstance(chunk, tuple):
        rest = (memoryview(head)[end:], *chunk[1:])
    else:
        rest = _without(end, iter(chunk))
    return SplitContent(head[:end], rest, content.size - end)


def _without(size: int, buffers: Iterator[bytes]) -> Iterator[bytes | memoryview]:
    """The buffers without the first ``size`` bytes, which are in the first one."""
    yield memoryview(next(buffers))[size:]
    yield from buffers


def fits_one_flight(content: Content) -> bool:
    """True if it is small and in memory: content made while it is sent may fail half-way."""
    return content.size <= MAX_ONE_FLIGHT and all(isinstance(p, bytes) for p in content.pieces)
