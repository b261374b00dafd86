"""The canonical forms of header and body that a signature covers (RFC 6376 section 3.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailbackends.errors import InvalidMessageError

__all__ = ["BodyHash", "RawField", "fields_of", "relaxed_field", "simple_field"]

# RFC 5322 section 2.2. Lines end with CRLF, and there is no lone CR or LF.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r]*\r\n(?:[ \t][^\r]*\r\n)*)")
_WHITE_SPACE = re.compile(rb"[ \t]+")

# Bytes hashed at once: there is never a second copy of a large content.
_WINDOW = 64 * 1024
_BLANK_LINES = b"\r\n" * 1024


@dataclass(frozen=True, slots=True)
class RawField:
    """One header field as it is sent."""

    name: bytes
    """In lower case."""
    value: bytes
    """All after the colon, folding and the last CRLF included."""
    raw: bytes


def fields_of(header: bytes) -> list[RawField]:
    """The fields of a header, whose lines end with CRLF, in order.

    Raises:
        InvalidMessageError: a line is neither a field nor the continuation of one.
    """
    found: list[RawField] = []
    place = 0
    while place < len(header):
        match = _FIELD.match(header, place)
        if match is None:
            line = header[place : header.find(b"\r\n", place)][:80]
            raise InvalidMessageError(
                f"the line {line!r} of the header is not a header field, so that no server could "
                "verify a DKIM signature: remove it, or write it as 'Name: value'"
            )
        found.append(RawField(match[1].lower(), match[2], match[0]))
        place = match.end()
    return found


def simple_field(field: RawField) -> bytes:
    """The field unchanged (section 3.4.1)."""
    return field.raw


def relaxed_field(field: RawField) -> bytes:
    """The field in one line, its name in lower case, with single spaces (section 3.4.2)."""
    value = field.value
    if b"\x0b" in value or b"\x0c" in value:  # bytes.split() would split there, too
        words = _WHITE_SPACE.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
    else:
        words = b" ".join(value.split())
    return field.name + b":" + words + b"\r\n"


class BodyHash:
    """The SHA-256 of a body that comes piece by piece, in one of the canonical forms.

    No piece may end between CR and LF. Blank lines at the end are left out of both forms;
    ``relaxed`` reduces white space within lines and removes it from their ends (sections 3.4.3
    and 3.4.4).
    """

    def __init__(self, *, relaxed: bool) -> None:
        self._hash = hashlib.sha256()
        self._is_relaxed = relaxed
        self._is_empty = True
        self._has_space = False
        """A space came last, which belongs to the body unless its line ends now."""
        self._line_ends = 0
        """So many line ends came last, which belong to the body unless it ends now."""

    def update(self, data: bytes, start: int = 0) -> None:
        """Add the bytes from ``start`` on."""
        if not self._is_relaxed or not self._has_white_space(data, start):
            self._add(data, start)  # base64, mostly: nothing is copied
            return
        for window in _windows(data, start):
            self._add(self._reduced(window), 0)

    def digest(self) -> bytes:
        """The hash of all that was added."""
        final = self._hash.copy()
        if not (self._is_empty and self._is_relaxed):
            final.update(b"\r\n")
        return final.digest()

    def _has_white_space(self, data: bytes, start: int) -> bool:
        return self._has_space or data.find(b" ", start) >= 0 or data.find(b"\t", start) >= 0

    def _reduced(self, data: bytes) -> bytes:
        if self._has_space:
            data, self._has_space = b" " + data, False
        if b"\t" in data:
            data = data.replace(b"\t", b" ")
        elif b" " not in data:
            return data
        # Three passes over bytes are far faster than one of a regular expression.
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        data = data.replace(b" \r\n", b"\r\n")
        if data.endswith(b" "):
            data, self._has_space = data[:-1], True
        return data

    def _add(self, data: bytes, start: int) -> None:
        end = len(data)
        while data.endswith(b"\r\n", start, end):
            tail = data[max(start, end - 4096) : end]
            end -= (len(tail) - len(tail.rstrip(b"\r\n"))) & ~1
        line_ends = (len(data) - end) // 2
        if end <= start:
            self._line_ends += line_ends
            return
        while self._line_ends:
            count = min(self._line_ends, 1024)
            self._hash.update(_BLANK_LINES[: 2 * count])
            self._line_ends -= count
        self._hash.update(memoryview(data)[start:end])
        self._line_ends, self._is_empty = line_ends, False


def _windows(data: bytes, start: int) -> Iterator[bytes]:
    """Slices of the data, none of which ends between CR and LF."""
    if start == 0 and len(data) <= _WINDOW:
        yield data
        return
    while start < len(data):
        end = start + _WINDOW
        if data[end - 1 : end] == b"\r":
            end += 1
        yield data[start:end]
        start = end
