"""What the shop does with every mail, by the signals of `django_integration`.

They keep what became of each, which is the only way to a receipt where Django sends the
mail itself, as in a password reset; and they keep newsletters from who wants none.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from django.core.mail import EmailMessage

from django_integration import SendCancelled, post_send, pre_send, send_failed
from mailbackends import Receipt

__all__ = ["UNSUBSCRIBED", "Entry", "as_json", "connect", "entries"]

UNSUBSCRIBED = {"no-news@example.com"}
"""Who wants no newsletter."""

Entry = dict[str, Any]

entries: deque[Entry] = deque(maxlen=50)
"""The last mails of this process, the newest last."""


def connect() -> None:
    """Listen to the mail of this process."""
    pre_send.connect(_prepare, dispatch_uid="shop")
    post_send.connect(_note_receipt, dispatch_uid="shop")
    send_failed.connect(_note_error, dispatch_uid="shop")


def _prepare(message: EmailMessage, **kwargs: Any) -> None:
    """Nobody's mail program shall answer a machine with an out-of-office note (RFC 3834)."""
    message.extra_headers.setdefault("Auto-Submitted", "auto-generated")
    if "List-Unsubscribe" in message.extra_headers and UNSUBSCRIBED & set(message.to):
        raise SendCancelled(f"{message.to[0]} wants no newsletter")


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
