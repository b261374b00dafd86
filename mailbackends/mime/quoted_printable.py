"""Quoted-printable (RFC 2045 section 6.7), as the email package writes it, many lines at once.

The email package looks up each character of a text, which takes longer than anything else in
sending HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["quoted_lines"]

_AS_THEY_ARE = b"\n\t" + bytes(code for code in range(32, 127) if code != ord("="))
_EQUALS = ord("=")
_QUOTED_BLANK = {b" ": b"=20", b"\t": b"=09"}


def quoted_lines(lines: Sequence[bytes], width: int) -> list[bytes]:
    """The encoded lines of a text, without line ends.

    ``lines`` have no line ends either. The result is that of `email.quoprimime.body_encode`: no
    line has more than ``width`` octets, and none ends with a blank.
    """
    encoded: list[bytes] = []
    room = width - 1  # a soft line break takes one octet
    for line in _quoted(b"\n".join(lines)).split(b"\n") if lines else ():
        start, end = 0, len(line)
        while end - start > width:
            stop = start + room
            # A quoted octet is not divided.
            if line[stop - 2] == _EQUALS:
                stop -= 2
            elif line[stop - 1] == _EQUALS:
                stop -= 1
            encoded.append(line[start:stop] + b"=")
            start = stop
        rest = line[start:]
        if not rest.endswith((b" ", b"\t")):
            encoded.append(rest)
        elif len(rest) + 2 <= width:
            encoded.append(rest[:-1] + _QUOTED_BLANK[rest[-1:]])
        elif len(rest) < width:
            encoded += (rest + b"=", b"")
        else:
            encoded += (rest[:-1] + b"=", _QUOTED_BLANK[rest[-1:]])
    return encoded


def _quoted(text: bytes) -> bytes:
    """The text with each octet quoted that has to be, except for blanks."""
    # With one replacement for each different octet; "=" first, since the others contain it.
    text = text.replace(b"=", b"=3D")
    for code in set(text.translate(None, _AS_THEY_ARE)) - {_EQUALS}:
        text = text.replace(bytes((code,)), b"=%02X" % code)
    return text
