"""Addresses and content in the forms that `smtplib` puts on the wire."""

from __future__ import annotations

import email.utils
import re

__all__ = ["CRLF", "address_only", "bCRLF", "dot_stuff", "quoteaddr", "quotedata", "with_crlf"]

CRLF = "\r\n"
bCRLF = b"\r\n"

_LINE_END = re.compile(r"\r\n|\r|\n")
_LEADING_DOT = re.compile(r"^\.", re.M)


def quoteaddr(addrstring: str) -> str:
    """The address as a path in angle brackets (RFC 5321 section 4.1.2).

    A display name is dropped. What cannot be read as an address is taken as it is.
    """
    name, address = email.utils.parseaddr(addrstring)
    if name or address:
        return f"<{address}>"
    return addrstring if addrstring.strip().startswith("<") else f"<{addrstring}>"


def address_only(addrstring: str) -> str:
    """The address without brackets and display name, or the text where there is none."""
    name, address = email.utils.parseaddr(addrstring)
    return address if name or address else addrstring


def quotedata(data: str) -> str:
    """The text with CRLF as its only line end, and a dot before each leading dot."""
    return _LEADING_DOT.sub("..", with_crlf(data))


def with_crlf(data: str) -> str:
    """The text with CRLF in place of each CRLF, CR and LF."""
    return _LINE_END.sub(CRLF, data)


def dot_stuff(content: bytes) -> bytes:
    """The content with a dot before each leading dot, its last line ended, and the final dot.

    What stands behind a lone CR or LF counts as a line too, and gets its dot: servers
    exist that take it for one, and for them ``LF . LF`` would be the end of this message
    and what follows the commands of another (SMTP smuggling, CVE-2023-51764).
    """
    # Ten times as fast as a regular expression.
    stuffed = content.replace(b"\n.", b"\n..").replace(b"\r.", b"\r..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(bCRLF) else b"\r\n.\r\n")
