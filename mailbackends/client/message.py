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
from mailbackends.mime.folding import checked_policy
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
