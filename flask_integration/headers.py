"""Headers: the line breaks that must not be in them, and those that fold them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from typing import Any

from flask_integration.addresses import Address, display, force_text

__all__ = ["LINE_LENGTH", "bad_header", "fold"]

_LINE_BREAK = re.compile(r"[\r\n]")
# Folding as RFC 5322 section 2.2.3 has it: each further line begins with white space, and
# no line is white space alone, which some servers take for the end of the header.
_FOLDED = re.compile(r"[^\r\n]*[^\s][^\r\n]*(?:\r\n[ \t][^\r\n]*[^\s][^\r\n]*)*")
# RFC 5322 section 3.6.8: printable ASCII without the colon.
_NAME = re.compile(r"[!-9;-~]+")
# Another of these would make the body unreadable.
_MADE_HERE = frozenset({"content-transfer-encoding", "content-type", "mime-version"})
LINE_LENGTH = 78  # RFC 5322 section 2.1.1


def bad_header(message: Any) -> str | None:
    """What is wrong with the first header of ``message`` that could smuggle another one in.

    ``message`` is a `Message`, or anything with the attributes of one. None: all is well.
    """
    for field, value in _address_fields(message):
        if _LINE_BREAK.search(display(value)):
            return f"{field} {value!r} holds a line break: take it out"
    subject = force_text(message.subject or "")
    if _LINE_BREAK.search(subject) and not _FOLDED.fullmatch(subject):
        return f"subject {subject!r} holds a line break: take it out"
    for name, value in dict(getattr(message, "extra_headers", None) or {}).items():
        if not _NAME.fullmatch(str(name)):
            return f"extra header name {name!r} is no header name: letters, digits and hyphens"
        if str(name).lower() in _MADE_HERE:
            return f"extra header {name} is what the message writes itself: leave it out"
        if _LINE_BREAK.search(text := force_text(value)) and not _FOLDED.fullmatch(text):
            return f"extra header {name}: {value!r} holds a line break: take it out"
    return _bad_attachment(message)


def fold(name: str, value: str) -> str:
    """``value`` on lines of at most 78 columns where its spaces allow it.

    The email package would parse a long header and write it anew, which has lost quotes
    and recipients before; lines that are short enough it leaves alone.
    """
    lines = value.splitlines() or [""]
    lengths = [len(name) + 2 + len(lines[0]), *map(len, lines[1:])]
    if max(lengths) <= LINE_LENGTH:
        return value
    words = re.sub(r"\r?\n[ \t]", " ", value).split(" ")
    lines = [words[0]]
    room = LINE_LENGTH - len(name) - 2
    for word in words[1:]:
        # A line of spaces alone would end the header for some readers.
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
            continue  # the email package's own, which checks itself
        if not hasattr(attachment, "content_type"):
            return f"attachment {attachment!r} is none: write Attachment(filename, type, data)"
        headers = dict(getattr(attachment, "headers", None) or {})
        for value in (attachment.filename, attachment.content_type, attachment.disposition):
            if value and _LINE_BREAK.search(value):
                return f"attachment {value!r} holds a line break: take it out"
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or _LINE_BREAK.search(force_text(value)):
                return f"attachment header {name!r}: {value!r} holds a line break: take it out"
    return None
