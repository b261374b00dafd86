"""Base64 in lines of 76 characters (RFC 2045 section 6.8), many lines at once."""

from __future__ import annotations

import binascii
import struct

__all__ = ["BLOCK", "base64_lines", "encoded_size"]

_LINE = 57  # bytes that make a line
_LINES = 1024
BLOCK = _LINE * _LINES
"""Bytes to encode at once; all but the last block of some content have this size."""

_CUT = struct.Struct("76s" * _LINES)


def base64_lines(block: bytes | memoryview) -> bytes:
    """The lines, each with CRLF behind it. ``block`` is no larger than `BLOCK`.

    A whole block is encoded in one line and that is cut: a sixth of what it costs to encode
    line by line.
    """
    text = binascii.b2a_base64(block, newline=False)
    if not text:
        return b""
    if len(text) == _CUT.size:
        return b"\r\n".join(_CUT.unpack(text)) + b"\r\n"
    return b"\r\n".join([text[i : i + 76] for i in range(0, len(text), 76)]) + b"\r\n"


def encoded_size(size: int) -> int:
    """The bytes of that for so many bytes of content."""
    lines, rest = divmod(size, _LINE)
    return lines * 78 + (((rest + 2) // 3) * 4 + 2 if rest else 0)
