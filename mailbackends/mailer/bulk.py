"""Warnings for bulk mail that Gmail and Yahoo would refuse or junk."""

from __future__ import annotations

import logging

from mailbackends.mime.content import Content

__all__ = ["warn_of_bulk"]

logger = logging.getLogger("mailbackends.mailer")

_NO_LINK = (
    "bulk mail is sent without one-click unsubscribe (RFC 8058), which Gmail and Yahoo require: "
    "add List-Unsubscribe and List-Unsubscribe-Post (unsubscribe= in Django and Flask)"
)
_NO_SIGNATURE = (
    "bulk mail is sent without a DKIM signature over List-Unsubscribe, which RFC 8058 requires: "
    "set dkim, unless the server signs both fields"
)
_warned: set[str] = set()


def warn_of_bulk(content: Content) -> None:
    """Log a warning, once each, for a message of a list without one click or without DKIM."""
    head = content.pieces[0]
    if not isinstance(head, bytes):  # pragma: no cover - a content begins with its header
        return
    end = head.find(b"\r\n\r\n")
    if end < 0 and len(content.pieces) > 1 and head.startswith(b"DKIM-Signature:"):
        # The signature of a large message is a piece of its own.
        rest = content.pieces[1]
        if isinstance(rest, bytes):
            head += rest[: rest.find(b"\r\n\r\n") + 2]
        end = len(head)
    header = (b"\n" + head[: end if end >= 0 else len(head)]).lower()
    # Most mail is none of both: two searches.
    if b"\nlist-" not in header and b"\nprecedence:" not in header:
        return
    is_bulk = b"\nlist-unsubscribe:" in header or b"\nlist-id:" in header
    is_bulk = is_bulk or b"\nprecedence: bulk" in header or b"\nprecedence: list" in header
    if is_bulk and b"\nlist-unsubscribe-post:" not in header:
        _warn(_NO_LINK)
    elif is_bulk and b"\ndkim-signature:" not in header:
        _warn(_NO_SIGNATURE)


def _warn(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        logger.warning(text)
