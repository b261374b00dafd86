"""Warnings for bulk mail that Gmail and Yahoo would refuse or junk."""

from __future__ import annotations

import logging
import re

from mailbackends.mime.content import Content

__all__ = ["warn_of_bulk"]

logger: logging.Logger = logging.getLogger("mailbackends.mailer")

_NO_LINK = (
    "bulk mail is sent without one-click unsubscribe (RFC 8058), which Gmail and Yahoo require: "
    "add List-Unsubscribe and List-Unsubscribe-Post (unsubscribe= in Django and Flask)"
)
_NO_LINK_OF_STREAM = (
    "bulk mail of the stream {!r} is sent without one-click unsubscribe (RFC 8058), which Gmail "
    "and Yahoo require: add unsubscribe=, or exempt the stream if it is transactional"
)
_NO_SIGNATURE = (
    "bulk mail is sent without a DKIM signature over List-Unsubscribe, which RFC 8058 requires: "
    "set dkim, unless the server signs both fields"
)
# With the line end before it: a search for a literal prefix is fast.
_OF_A_LIST = re.compile(rb"\n(?i:list-|precedence:)")
_warned: set[str] = set()


def warn_of_bulk(content: Content, stream: str | None = None) -> None:
    """Log a warning, once each, for a message of a list without one click or without DKIM.

    ``stream`` is that of bulk mail, and None for other mail.
    """
    header = b"\n" + content.header()
    if _OF_A_LIST.search(header) is None:  # most mail
        if stream is not None:
            _warn(_NO_LINK_OF_STREAM.format(stream))
        return
    header = header.lower()
    is_bulk = stream is not None or b"\nlist-unsubscribe:" in header or b"\nlist-id:" in header
    is_bulk = is_bulk or b"\nprecedence: bulk" in header or b"\nprecedence: list" in header
    if is_bulk and b"\nlist-unsubscribe-post:" not in header:
        _warn(_NO_LINK)
    elif is_bulk and b"\ndkim-signature:" not in header:
        _warn(_NO_SIGNATURE)


def _warn(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        logger.warning(text)
