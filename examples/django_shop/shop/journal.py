"""What became of each mail, kept by the signals of `django_integration`.

The only way to a receipt where Django sends the mail itself, as in a password reset.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from django.core.mail import EmailMessage

from django_integration import post_send, pre_send, send_failed
from mailbackends import Receipt

__all__ = ["Entry", "connect", "entries"]

Entry = dict[str, Any]

entries: deque[Entry] = deque(maxlen=50)
"""The last mails of this process, the newest last."""


def connect() -> None:
    """Listen to the mail of this process."""
    pre_send.connect(_mark, dispatch_uid="shop")
    post_send.connect(_note_receipt, dispatch_uid="shop")
    send_failed.connect(_note_error, dispatch_uid="shop")


def _mark(message: EmailMessage, **kwargs: Any) -> None:
    """Nobody's mail program shall answer a machine with an out-of-office note (RFC 3834)."""
    message.extra_headers.setdefault("Auto-Submitted", "auto-generated")


def _note_receipt(message: EmailMessage, receipt: Receipt, **kwargs: Any) -> None:
    entries.append({"subject": str(message.subject), "receipt": as_json(receipt)})


def _note_error(message: EmailMessage, error: Exception, **kwargs: Any) -> None:
    entries.append({"subject": str(message.subject), "error": str(error)})


def as_json(receipt: Receipt | None) -> dict[str, Any] | None:
    """A receipt for a JSON answer. None where the backend gives none, as Django's own."""
    if receipt is None:
        return None
    return {
        "accepted": list(receipt.accepted),
        "refused": {who: str(reply) for who, reply in receipt.refused.items()},
        "reply": str(receipt.reply),
        "message_id": receipt.message_id,
        "milliseconds": round(receipt.duration * 1000, 1),
        "text": str(receipt),
    }
