"""What a message consists of, as values: texts, files, and multiparts of them (RFC 2046)."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import Message
from typing import Any, NamedTuple, TypeAlias

__all__ = ["FilePart", "Multipart", "Part", "TextPart", "composed", "with_images"]


class TextPart(NamedTuple):
    """A text: the body of a message, an alternative, or an attachment if it has a name."""

    text: str
    subtype: str = "plain"
    """Such as ``"html"``."""
    filename: str | None = None
    charset: str = "utf-8"


class FilePart(NamedTuple):
    """A file in base64."""

    data: bytes
    content_type: str
    """Such as ``"image/png"``."""
    filename: str | None = None
    disposition: str | None = None
    """``"attachment"`` or ``"inline"``; None for a part without Content-Disposition."""
    fields: tuple[tuple[str, str], ...] = ()
    """Further header fields, such as Content-ID."""
    charset: str | None = None
    """For a text whose type does not contain it."""


class Multipart(NamedTuple):
    """Several parts as one."""

    subtype: str
    parts: Sequence[Part]
    wraps_body: bool = True
    """True if the first part is the body of the message, or contains it."""


Part: TypeAlias = "TextPart | FilePart | Multipart | Message[Any, Any]"
"""A value, or a part as an object of the email package."""


def composed(
    body: Part | None, alternatives: Sequence[Part] = (), files: Sequence[Part] = ()
) -> Part | None:
    """A body with its alternatives, the preferred one last, and with files next to it.

    None if there is nothing.
    """
    has_body = body is not None
    parts = [body] if body is not None else []
    if alternatives:
        parts = [Multipart("alternative", (*parts, *alternatives), has_body)]
    if files:
        return Multipart("mixed", (*parts, *files), has_body)
    return parts[0] if parts else None


def with_images(html: Part, images: Sequence[Part]) -> Part:
    """HTML together with the images that it shows (RFC 2387)."""
    return Multipart("related", (html, *images)) if images else html
