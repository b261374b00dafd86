"""Header fields: line breaks that would inject a header, and folding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from typing import Any

from flask_integration.addresses import Address, display, force_text
from mailbackends.integration import LINE_LENGTH, is_field_name

__all__ = ["LINE_LENGTH", "bad_header", "fold"]

_LINE_BREAK = re.compile(r"[\r\n]")
# Folding (RFC 5322 section 2.2.3): each further line begins with white space. A line of only
# white space is not allowed, because some servers take it for the end of the header.
_FOLDED = re.compile(r"[^\r\n]*[^\s][^\r\n]*(?:\r\n[ \t][^\r\n]*[^\s][^\r\n]*)*")
# A second one of these would make the body unreadable.
_MADE_HERE = frozenset({"content-transfer-encoding", "content-type", "mime-version"})


def bad_header(message: Any) -> str | None:
    """Return what is wrong with the first header of ``message`` that could inject another one.

    ``message`` is a `Message`, or an object with the same attributes. None: there is no such
    header.
    """
    for field, value in _address_fields(message):
        if _LINE_BREAK.search(display(value)):
            return f"{field} {value!r} contains a line break: remove it"
    subject = force_text(message.subject or "")
    if _LINE_BREAK.search(subject) and not _FOLDED.fullmatch(subject):
        return f"subject {subject!r} contains a line break: remove it"
    for name, value in dict(getattr(message, "extra_headers", None) or {}).items():
        if not is_field_name(str(name)):
            return f"extra header name {name!r} is invalid: use letters, digits and hyphens"
        if str(name).lower() in _MADE_HERE:
            return f"extra header {name} is written by the message itself: remove it"
        if _LINE_BREAK.search(text := force_text(value)) and not _FOLDED.fullmatch(text):
            return f"extra header {name}: {value!r} contains a line break: remove it"
    return _bad_attachment(message)


def fold(name: str, value: str) -> str:
    """Return ``value`` folded at spaces to lines of at most 78 columns, where it has spaces.

    The email package parses a long header and rewrites it, and has lost quotes and recipients
    in doing so; it does not change lines that are short enough.
    """
    lines = value.splitlines() or [""]
    lengths = [len(name) + 2 + len(lines[0]), *map(len, lines[1:])]
    if max(lengths) <= LINE_LENGTH:
        return value
    words = re.sub(r"\r?\n[ \t]", " ", value).split(" ")
    lines = [words[0]]
    room = LINE_LENGTH - len(name) - 2
    for word in words[1:]:
        # Some readers take a line of only spaces for the end of the header.
        if len(lines[-1]) + 1 + len(word) > room and word and lines[-1].strip():
            lines.append(word)
            room = LINE_LENGTH - 1
        else:
            lines[-1] += " " + word
    return "\r\n ".join(lines)


def _address_fields(message: Any) -> Iterator[tuple[str, Address]]:
    for field in ("sender", "reply_to"):
        if value := getattr(message, field, None):
            yield field, value
    for field in ("recipients", "cc", "bcc"):
        values = getattr(message, field, None) or ()
        for value in [values] if isinstance(values, str) else values:
            yield field, value


def _bad_attachment(message: Any) -> str | None:
    for attachment in getattr(message, "attachments", None) or ():
        if isinstance(attachment, Message):
            continue  # a part of the email package, which checks itself
        if not hasattr(attachment, "content_type"):
            return f"{attachment!r} is not an attachment: write Attachment(filename, type, data)"
        headers = dict(getattr(attachment, "headers", None) or {})
        for value in (attachment.filename, attachment.content_type, attachment.disposition):
            if value and _LINE_BREAK.search(value):
                return f"attachment {value!r} contains a line break: remove it"
        for name, value in headers.items():
            if not is_field_name(name) or _LINE_BREAK.search(force_text(value)):
                return f"attachment header {name!r}: {value!r} contains a line break: remove it"
    return None
