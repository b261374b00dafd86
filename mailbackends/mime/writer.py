"""Writes a plain message at once: text, alternatives, attachments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from mailbackends.mime.parts import (
    Part,
    address_field,
    binary_part,
    date_or_identifier,
    multipart,
    text_field,
    text_part,
)
from mailbackends.mime.serializer import Piece

__all__ = ["WrittenMessage", "written_message"]

_ADDRESSES = frozenset({"From", "To", "Cc", "Reply-To"})
_ONCE = frozenset({"subject", "from", "to", "cc", "reply-to", "date", "message-id"})
_VERSION = b"MIME-Version: 1.0\r\n"


@dataclass(slots=True)
class WrittenMessage:
    """A message that stands written as it will go out. `written_message` makes it.

    It has no Bcc field, header fields in ASCII, and its text as 8bit where that is short.
    """

    pieces: tuple[Piece, ...] = field(repr=False)
    message_id: str | None
    build: Callable[[], Message[Any, Any]] = field(repr=False)
    """Makes the message object, for a server that needs the message in another form."""


def written_message(
    fields: Iterable[tuple[str, str | Sequence[str]]],
    text: str | None,
    build: Callable[[], Message[Any, Any]],
    *,
    subtype: str = "plain",
    alternatives: Iterable[tuple[str | bytes, str]] = (),
    attachments: Iterable[tuple[str, str | bytes, str]] = (),
) -> WrittenMessage | None:
    """What ``build()`` gives, written without building it; None where that cannot be known.

    ``build`` makes an `email.message.EmailMessage` with ``email.policy.SMTP``: by
    ``set_content`` with the text (unless it is None), ``add_alternative`` with each pair of
    content and type, ``add_attachment`` with each file name, content and type; then the
    header fields, in their order. From, To, Cc and Reply-To are given as lists of
    mailboxes. It is called only where the server needs another form.
    """
    known = _header(fields)
    body = _body(text, subtype, alternatives, attachments) if known is not None else None
    if known is None or body is None:
        return None
    header, message_id = known
    return WrittenMessage((body.head + header + b"\r\n", *body.body), message_id, build)


def _header(fields: Iterable[tuple[str, str | Sequence[str]]]) -> tuple[bytes, str | None] | None:
    lines: list[bytes] = []
    seen: set[str] = set()
    message_id: str | None = None
    for name, value in fields:
        lowered = name.lower()
        if lowered in _ONCE:
            if lowered in seen:
                return None
            seen.add(lowered)
        if not isinstance(value, str):
            line = address_field(name, value) if name in _ADDRESSES else None
        elif name in ("Date", "Message-ID"):
            line = date_or_identifier(name, value)
            if name == "Message-ID":
                message_id = value
        else:
            line = text_field(name, value)
        if line is None:
            return None
        lines.append(line)
    return b"".join(lines), message_id


class _Unknown(Exception):
    """A part that has to be built."""


def _body(
    text: str | None,
    subtype: str,
    alternatives: Iterable[tuple[str | bytes, str]],
    attachments: Iterable[tuple[str, str | bytes, str]],
) -> Part | None:
    """The body, and the fields about the content as they stand first in the header."""
    try:
        further = [_part(content, kind, None) for content, kind in alternatives]
        files = [_part(content, kind, name) for name, content, kind in attachments]
        parts = [] if text is None else [_known(text_part(text, subtype, version=False))]
    except _Unknown:
        return None
    # The email package puts MIME-Version in with the first text, and there it stays, at the
    # top; each further part is made as a message of its own, and has another.
    version = _VERSION if parts else b""
    if not (further or files):
        return Part(parts[0].head + version, parts[0].body) if parts else None
    if further:
        parts = [multipart("alternative", parts + further)]
    body = multipart("mixed", parts + files) if files else parts[0]
    return Part(version + body.head, body.body)


def _part(content: str | bytes, kind: str, filename: str | None) -> Part:
    maintype, _, subtype = kind.partition("/")
    if maintype == "text" and isinstance(content, str):
        return _known(text_part(content, subtype, version=True, filename=filename))
    if maintype == "text" or not isinstance(content, bytes):
        raise _Unknown
    return _known(binary_part(content, maintype, subtype, version=True, filename=filename))


def _known(part: Part | None) -> Part:
    if part is None:
        raise _Unknown
    return part
