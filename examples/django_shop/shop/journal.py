"""What the shop does with every mail, through the signals of `django_integration`.

They record the outcome, which is the only way to get a receipt if Django sends the mail
itself, as in a password reset; and they stop newsletters to customers who do not want any.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from django.core.mail import EmailMessage

from django_integration import SendCancelled, post_send, pre_send, send_failed
from mailbackends import Receipt
from mailbackends.outbox import Queued

__all__ = ["UNSUBSCRIBED", "Entry", "as_json", "connect", "entries"]

UNSUBSCRIBED = {"no-news@example.com"}
"""Customers who do not want the newsletter."""

Entry = dict[str, Any]

entries: deque[Entry] = deque(maxlen=50)
"""The last mails of this process, the newest last."""


def connect() -> None:
    """Connect the receivers."""
    pre_send.connect(_prepare, dispatch_uid="shop")
    post_send.connect(_note_receipt, dispatch_uid="shop")
    send_failed.connect(_note_error, dispatch_uid="shop")


def _prepare(message: EmailMessage, **kwargs: Any) -> None:
    """Keep mail programs from sending out-of-office replies (RFC 3834)."""
    message.extra_headers.setdefault("Auto-Submitted", "auto-generated")
    if "List-Unsubscribe" in message.extra_headers and UNSUBSCRIBED & set(message.to):
        raise SendCancelled(f"{message.to[0]} does not want the newsletter")


def _note_receipt(message: EmailMessage, receipt: Receipt, **kwargs: Any) -> None:
    entries.append({"subject": str(message.subject), "receipt": as_json(receipt)})


def _note_error(message: EmailMessage, error: Exception, **kwargs: Any) -> None:
    entries.append({"subject": str(message.subject), "error": str(error)})


def as_json(receipt: Receipt | Queued | None) -> dict[str, Any] | None:
    """A receipt for a JSON response; None if the backend has none, such as Django's own."""
    if receipt is None:
        return None
    if isinstance(receipt, Queued):  # in the outbox: nothing was sent yet
        return {**receipt.as_dict(), "text": str(receipt)}
    return {
        "accepted": list(receipt.accepted),
        "refused": {address: str(reply) for address, reply in receipt.refused.items()},
        "reply": str(receipt.reply),
        "message_id": receipt.message_id,
        "milliseconds": round(receipt.duration * 1000, 1),
        "text": str(receipt),
    }
