"""A message written at once as bytes, without the email package's objects for it.

`mailbackends.Email`, Django's messages and Flask's are described by header fields and by the
values in `parts`; a `Layout` writes both. What only the email package can write has to be built.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from mailbackends.mime.layout import MODERN, Layout, NotPlain
from mailbackends.mime.parts import Part
from mailbackends.mime.pieces import Piece

__all__ = ["WrittenMessage", "written_message"]

_ONCE = frozenset({"subject", "from", "to", "cc", "reply-to", "date", "message-id"})


@dataclass(slots=True)
class WrittenMessage:
    """A message already written as it will be sent. `written_message` makes it.

    It has no Bcc field, header fields in ASCII, and its text as 8bit if the lines are short.
    """

    pieces: tuple[Piece, ...] = field(repr=False)
    message_id: str | None
    build: Callable[[], Message[Any, Any]] = field(repr=False)
    """Makes the message object, for a server that needs the message in another form."""
    is_final: bool = False
    """True for one that is sent as it is, to any server."""
    has_crlf: bool = False
    """True if it is known that each line ends with CRLF, so that nobody has to look."""


def written_message(
    fields: Collection[tuple[str, str | Sequence[str]]],
    body: Part | None,
    build: Callable[[], Message[Any, Any]],
    layout: Layout = MODERN,
) -> WrittenMessage | None:
    """The bytes that ``build()`` would give, without building; None if that is not certain.

    ``build`` makes ``layout.build(body)`` and sets the header fields, in their order. With
    `MODERN`, From, To, Cc and Reply-To are given as lists of mailboxes; with a `LegacyLayout`,
    all values are given as the lines of that layout. ``build`` is called only if the server
    needs another form.
    """
    if body is None:
        return None
    try:
        values = {name.lower(): value for name, value in fields}
        if len(values) < len(fields) and _repeats(fields):
            return None
        lines = [layout.field(name, value) for name, value in fields]
        written = layout.write(body)
    except (NotPlain, ValueError, TypeError, LookupError, AttributeError):
        return None  # what is wrong is reported when the message is built
    head = b"".join((written.head, *lines, b"\r\n"))
    message_id = values.get("message-id")
    return WrittenMessage(
        (head, *written.body),
        message_id if isinstance(message_id, str) else None,
        build,
        has_crlf=True,
    )


def _repeats(fields: Collection[tuple[str, object]]) -> bool:
    """True if a field occurs twice that may occur only once (RFC 5322 section 3.6)."""
    names = [name.lower() for name, _ in fields]
    return any(names.count(name) > 1 for name in _ONCE)
