"""Addresses and content in the forms that `smtplib` puts on the wire."""

from __future__ import annotations

import email.utils
import re
from email.message import Message
from typing import TypeAlias

from mailbackends.mime.pieces import dot_stuffed

__all__ = [
    "CRLF",
    "Data",
    "address_only",
    "as_bytes",
    "bCRLF",
    "dot_stuff",
    "quoteaddr",
    "quotedata",
]

CRLF = "\r\n"
bCRLF = b"\r\n"

Data: TypeAlias = bytes | bytearray | memoryview | str
"""Data to send: bytes as they are, or text."""

_ATOMS = r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
_PLAIN = re.compile(rf"{_ATOMS}@[\w-]+(?:\.[\w-]+)*", re.A)
_LEADING_DOT = re.compile(r"^\.", re.M)


def quoteaddr(addrstring: str) -> str:
    """Return the address as a path in angle brackets (RFC 5321 section 4.1.2).

    A display name is dropped. A text that is not an address is used as it is.
    """
    # The parser gives the same result, and takes longer than the rest of a command.
    if type(addrstring) is str and _PLAIN.fullmatch(addrstring):
        return f"<{addrstring}>"
    name, address = email.utils.parseaddr(addrstring)
    if name or address:
        return f"<{address}>"
    return addrstring if addrstring.strip().startswith("<") else f"<{addrstring}>"


def address_only(addrstring: str) -> str:
    """Return the address without brackets and display name, or the text if it is not one."""
    name, address = email.utils.parseaddr(addrstring)
    return address if name or address else addrstring


def quotedata(data: str) -> str:
    """Return the text with CRLF as its only line end, and a dot before each leading dot."""
    return _LEADING_DOT.sub("..", _with_crlf(data))


def as_bytes(content: Data) -> bytes | bytearray:
    """Return content as `smtplib` takes it: bytes as they are, text as ASCII with CRLF.

    Raises:
        UnicodeEncodeError: text that is not ASCII.
        TypeError: neither text nor bytes.
    """
    if isinstance(content, str):
        return _with_crlf(content).encode("ascii")
    if isinstance(content, bytes | bytearray):
        return content
    try:
        return bytes(memoryview(content))
    except TypeError:
        kind = type(content).__name__
        # The standard library's text, which there comes from a regular expression, and a fix.
        fix = "; send_message() takes message objects" if isinstance(content, Message) else ""
        raise TypeError(f"expected string or bytes-like object, got {kind!r}{fix}") from None


def _with_crlf(text: str) -> str:
    # Far faster than a regular expression.
    return text.replace(CRLF, "\n").replace("\r", "\n").replace("\n", CRLF)


def dot_stuff(content: bytes | bytearray) -> bytes:
    """Return the content for DATA, with a dot before each leading dot, and the final dot.

    Unlike `Mailer`, which makes a CRLF of each line end, `SMTP` sends bytes as they are: lone
    CR and LF count as line ends, too.
    """
    return b"".join(dot_stuffed([bytes(content)], lone_line_ends=True))
