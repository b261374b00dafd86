"""Who sends and who receives a message object, as `smtplib` reads its header."""

from __future__ import annotations

import copy
import io
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Policy
from email.utils import getaddresses
from typing import Any

from mailbackends.client.quoting import CRLF
from mailbackends.errors import InvalidMessageError
from mailbackends.mime.content import check_headers
from mailbackends.mime.serializer import serialized

__all__ = ["flattened", "recipients", "resent_prefix", "sender", "without_bcc"]


def resent_prefix(message: Message[Any, Any]) -> str:
    """``"Resent-"`` where the message was resent, or nothing (RFC 5322 section 3.6.6).

    Raises:
        ValueError: it was resent more than once; which block is the last, nobody can tell.
    """
    blocks = message.get_all("Resent-Date")
    if blocks is None:
        return ""
    if len(blocks) > 1:
        raise ValueError("message has more than one 'Resent-' header block")
    return "Resent-"


def sender(message: Message[Any, Any], prefix: str) -> str:
    """The address in Sender, or else the first in From (RFC 5322 section 3.6.2).

    Raises:
        InvalidMessageError: there is neither, or no address in it.
    """
    name = f"{prefix}Sender" if f"{prefix}Sender" in message else f"{prefix}From"
    field = message[name]
    addresses = getaddresses([field]) if field else []
    if not addresses:
        raise InvalidMessageError(
            f"the message has no {prefix}From field with an address: give from_addr"
        )
    return addresses[0][1]


def recipients(message: Message[Any, Any], prefix: str) -> list[str]:
    """The addresses in To, Bcc and Cc, in the standard library's order."""
    fields = [message[f"{prefix}{name}"] for name in ("To", "Bcc", "Cc")]
    return [address for _, address in getaddresses([f for f in fields if f is not None])]


def without_bcc(message: Message[Any, Any]) -> Message[Any, Any]:
    """A copy of the message without its Bcc fields.

    Raises:
        InvalidMessageError: a header field holds a line break, and would become two.
    """
    check_headers(message)
    outgoing = copy.copy(message)
    del outgoing["Bcc"]
    del outgoing["Resent-Bcc"]
    return outgoing


def flattened(message: Message[Any, Any], policy: Policy[Any] | None = None) -> bytes:
    """What ``BytesGenerator(policy=policy)`` writes, with CRLF for line ends."""
    pieces = serialized(message, (policy or message.policy).clone(linesep=CRLF))
    if pieces is not None:
        content = b"".join(p if isinstance(p, bytes) else b"".join(p.pieces()) for p in pieces)
        # Such a line becomes ">From ", at times: not here.
        if b"\nFrom " not in content:
            return content
    buffer = io.BytesIO()
    BytesGenerator(buffer, policy=policy).flatten(message, linesep=CRLF)
    return buffer.getvalue()
