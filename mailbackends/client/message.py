"""A message object as bytes, as `smtplib` writes it."""

from __future__ import annotations

import copy
import io
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Policy
from typing import Any

from mailbackends.client.quoting import CRLF
from mailbackends.mime.content import check_headers
from mailbackends.mime.serializer import serialized

__all__ = ["flattened", "without_bcc"]


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
    """Return what ``BytesGenerator(policy=policy)`` writes, with CRLF as line ends."""
    pieces = serialized(message, (policy or message.policy).clone(linesep=CRLF))
    if pieces is not None:
        content = b"".join(p if isinstance(p, bytes) else b"".join(p.pieces()) for p in pieces)
        # The generator writes such a line as ">From ", depending on the policy.
        if b"\nFrom " not in content:
            return content
    buffer = io.BytesIO()
    BytesGenerator(buffer, policy=policy).flatten(message, linesep=CRLF)
    return buffer.getvalue()
