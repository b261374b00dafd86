"""The pieces of a message's content: CRLF lines, base64 blocks, and parts between boundaries.

A piece is bytes, or an `Encoded`, which makes its bytes while they are sent. So a large
attachment is in memory once, and not a second time in base64.
"""

from __future__ import annotations

import binascii
import random
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

__all__ = [
    "BLOCK",
    "LARGE_TEXT",
    "SAMPLE_BOUNDARY",
    "UNENCODED",
    "Encoded",
    "EncodedBytes",
    "EncodedText",
    "Piece",
    "base64_body",
    "base64_lines",
    "dot_stuffed",
    "encoded_size",
    "has_lone_line_end",
    "has_long_line",
    "join_parts",
    "multipart_body",
    "new_boundary",
    "whole_lines",
    "with_crlf",
]

# --- Line ends: CRLF everywhere, since servers may take a lone CR or LF for one -------------
# (RFC 5321 section 2.3.8)

# Bytes looked at or changed at once, so that there is never a second copy of a large content.
_WINDOW = 256 * 1024


def whole_lines(data: bytes) -> Iterator[bytes]:
    """The same bytes in slices that end with LF; only one slice at a time is a copy."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _WINDOW) + 1 or len(data)
        yield data[start:end]
        start = end


def has_lone_line_end(data: bytes) -> bool:
    """True if there is a CR without LF, or a LF without CR."""
    # Normalising and comparing takes a third of the time of counting CRLF, CR and LF.
    for lines in whole_lines(data) if len(data) > _WINDOW else (data,):
        if lines.replace(b"\r", b"").replace(b"\n", b"\r\n") != lines:
            return True
    return False


def with_crlf(data: bytes) -> bytes:
    """The same lines, with CRLF in place of each lone CR or LF."""
    if not has_lone_line_end(data):
        return data
    # Three passes of replace are far faster than one of a regular expression.
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def dot_stuffed(buffers: Iterable[bytes], *, lone_line_ends: bool = False) -> Iterator[bytes]:
    """The buffers for DATA: a dot before each leading dot, and the final dot.

    No buffer ends between CR and LF. Without ``lone_line_ends``, CRLF is the only line end in
    them. With it, a dot after a lone CR or LF is doubled, too: some servers take either for a
    line end, and for them the content would end there, and what follows would be commands
    (SMTP smuggling, CVE-2023-51764).
    """
    at_line_start, is_complete = True, False
    for buffer in buffers:
        # A large buffer that has dots to stuff is copied in slices, and never as a whole.
        # For bytes, `in` raises and drops an exception each time.
        has_dots = buffer.find(b"\r\n.") >= 0 or (lone_line_ends and buffer.find(b".") >= 0)
        for lines in whole_lines(buffer) if has_dots else (buffer,) if buffer else ():
            if at_line_start and lines.startswith(b"."):
                yield b"."
            # Ten times as fast as a regular expression. Without a dot to stuff, replace()
            # returns the same object, not a copy.
            if lone_line_ends:
                yield lines.replace(b"\n.", b"\n..").replace(b"\r.", b"\r..")
            else:
                yield lines.replace(b"\r\n.", b"\r\n..")
            is_complete = lines.endswith(b"\r\n")
            at_line_start = is_complete or (lone_line_ends and lines.endswith((b"\r", b"\n")))
    yield b".\r\n" if is_complete else b"\r\n.\r\n"


UNENCODED = frozenset({"", "7bit", "8bit", "binary"})
"""The transfer encodings that leave a body as it is (RFC 2045 section 6.2)."""


def has_long_line(text: str) -> bool:
    """True if a line has more than 998 characters without its end (RFC 5322 section 2.1.1)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    place = 0
    while len(text) - place > 998:
        end = text.rfind("\n", place, place + 999)
        if end < 0:
            return True
        place = end + 1
    return False


# --- Base64 in lines of 76 characters (RFC 2045 section 6.8), many lines at once -------------

_LINE = 57  # bytes that make one line
_LINES = 1024
BLOCK = _LINE * _LINES
"""Bytes to encode at once; every block of a content but the last has this size."""

_CUT = struct.Struct("76s" * _LINES)


def base64_lines(block: bytes | memoryview) -> bytes:
    """At most `BLOCK` bytes as base64 lines, each with CRLF.

    The block is encoded as one line, which is then cut: a sixth of the cost of encoding line
    by line.
    """
    text = binascii.b2a_base64(block, newline=False)
    if not text:
        return b""
    if len(text) == _CUT.size:
        return b"\r\n".join(_CUT.unpack(text)) + b"\r\n"
    return b"\r\n".join([text[i : i + 76] for i in range(0, len(text), 76)]) + b"\r\n"


def encoded_size(size: int) -> int:
    """The length in bytes of the base64 lines for ``size`` bytes."""
    lines, rest = divmod(size, _LINE)
    return lines * 78 + (((rest + 2) // 3) * 4 + 2 if rest else 0)


# --- Content made while it is sent ---------------------------------------------------------

LARGE_TEXT = 128 * 1024
"""Text with more characters is encoded while it is sent."""


class Encoded(ABC):
    """Content made piece by piece while it is sent, anew each time: ASCII with CRLF."""

    __slots__ = ()

    size: int
    """Length in bytes."""
    ends_line: bool = True
    """True if the last piece ends with CRLF."""
    may_change: bool = True
    """False if the bytes are the same each time. A file may be written to meanwhile."""

    @abstractmethod
    def pieces(self) -> Iterator[bytes]:
        """The bytes in order; no piece ends between CR and LF.

        Raises:
            InvalidMessageError: there are no longer ``size`` bytes.
        """

    @abstractmethod
    def holds(self, text: str) -> bool:
        """True if ``text``, a boundary, occurs in the content."""

    is_base64: bool = False
    """True if `pieces` are the base64 lines of `source`; else they are the same bytes."""

    def source(self) -> Iterator[bytes | memoryview]:
        """What the content is made of, to store it elsewhere.

        Raises:
            InvalidMessageError: there are no longer ``size`` bytes.
        """
        return self.pieces()


class EncodedText(Encoded):
    """A large ASCII text as lines that end with CRLF."""

    __slots__ = ("ends_line", "size", "text")
    may_change = False

    def __init__(self, text: str) -> None:
        """``text`` is ASCII, with LF for each line end."""
        self.text: str = text
        self.size: int = len(text) + text.count("\n")
        self.ends_line: bool = text.endswith("\n")

    def pieces(self) -> Iterator[bytes]:
        """The bytes in order, some 128 KB at a time."""
        for start in range(0, len(self.text), LARGE_TEXT):
            piece = self.text[start : start + LARGE_TEXT].encode("ascii")
            yield piece.replace(b"\n", b"\r\n")

    def holds(self, text: str) -> bool:
        """True if ``text`` occurs in the content."""
        return text in self.text


class EncodedBytes(Encoded):
    """Bytes that become base64 lines while they are sent."""

    __slots__ = ("data", "size")
    is_base64 = True
    may_change = False

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data
        self.size: int = encoded_size(len(data))

    def pieces(self) -> Iterator[bytes]:
        """The lines, some 80 KB at a time."""
        view = memoryview(self.data)
        for start in range(0, len(view), BLOCK):
            yield base64_lines(view[start : start + BLOCK])

    def holds(self, text: str) -> bool:
        """False: a boundary begins with "=", which only ends base64."""
        return False

    def source(self) -> Iterator[bytes | memoryview]:
        """The bytes before base64."""
        yield self.data


Piece: TypeAlias = bytes | Encoded


def base64_body(data: bytes) -> Piece:
    """The body of a part in base64: lines with CRLF, made while they are sent for large data."""
    return EncodedBytes(data) if len(data) > BLOCK else base64_lines(data)


# --- Multiparts (RFC 2046 section 5.1) ------------------------------------------------------


def multipart_body(parts: Sequence[Sequence[Piece]]) -> tuple[str, list[Piece]]:
    """A boundary that occurs in none of the parts, and the body with the parts between it."""
    boundary = new_boundary(parts)
    return boundary, join_parts(parts, boundary)


def join_parts(parts: Sequence[Sequence[Piece]], boundary: str) -> list[Piece]:
    """The body of a multipart: the parts with the boundary before, between and after them."""
    line = b"--" + boundary.encode("ascii")
    out: list[Piece] = []
    separator = line + b"\r\n"
    for pieces in parts:
        out.append(separator)
        out += pieces
        separator = b"\r\n" + line + b"\r\n"
    if not parts:
        out.append(separator)
    out.append(b"\r\n" + line + b"--\r\n")
    return out


def new_boundary(parts: Sequence[Sequence[Piece]]) -> str:
    """A boundary that occurs in none of the parts.

    It has the form of the email package's, which mail programs are known to accept.
    """
    width = len(repr(sys.maxsize - 1))
    stem = boundary = f"{'=' * 15}{random.randrange(sys.maxsize):0{width}d}=="  # noqa: S311
    counter = 0
    while any(_contains(piece, boundary) for pieces in parts for piece in pieces):
        boundary, counter = f"{stem}.{counter}", counter + 1
    return boundary


def _contains(piece: Piece, boundary: str) -> bool:
    return boundary.encode("ascii") in piece if isinstance(piece, bytes) else piece.holds(boundary)


SAMPLE_BOUNDARY = new_boundary([])
"""As long as every boundary at the first attempt."""
