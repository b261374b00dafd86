"""Addresses, content and message objects, written as `smtplib` writes them."""

from __future__ import annotations

import copy
import email.utils
import io
import re
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Policy
from typing import Any, TypeAlias

from mailbackends.mime.content import check_headers
from mailbackends.mime.folding import checked_policy
from mailbackends.mime.pieces import dot_stuffed
from mailbackends.mime.serializer import serialized

__all__ = [
    "CRLF",
    "Data",
    "address_only",
    "as_bytes",
    "bCRLF",
    "dot_stuff",
    "flattened",
    "quoteaddr",
    "quotedata",
    "without_bcc",
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


def without_bcc(message: Message[Any, Any]) -> Message[Any, Any]:
    """Return a copy of the message without its Bcc fields.

    Raises:
        InvalidMessageError: a header field contains a line break, and would become two.
    """
    check_headers(message)
    outgoing = copy.copy(message)
    del outgoing["Bcc"]
    del outgoing["Resent-Bcc"]
    return outgoing


def flattened(message: Message[Any, Any], policy: Policy[Any] | None = None) -> bytes:
    """Return what ``BytesGenerator(policy=policy)`` writes, with CRLF as line ends.

    Header fields are those of the email package where these are read as what was given. The
    message's own policy leaves no UTF-8 in the header: SMTPUTF8 would have to be negotiated.
    """
    changes: dict[str, Any] = {"linesep": CRLF}
    mangle_from = policy is None or policy.mangle_from_  # the generator's own rule
    if policy is None:
        policy = message.policy
        if getattr(policy, "utf8", False):
            changes["utf8"] = False
    policy = checked_policy(policy, package_first=True, **changes)
    pieces = serialized(message, policy)
    if pieces is not None:
        content = b"".join(p if isinstance(p, bytes) else b"".join(p.pieces()) for p in pieces)
        # The generator writes such a line as ">From ", depending on the policy.
        if b"\nFrom " not in content:
            return content
    buffer = io.BytesIO()
    BytesGenerator(buffer, mangle_from, policy=policy).flatten(message, linesep=CRLF)
    return buffer.getvalue()
