"""`Attachment`: a file that is sent with a message, next to its text or in its HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from mimetypes import guess_type

from flask_integration.addresses import encode_words, evaluated, force_text
from mailbackends import InvalidMessageError
from mailbackends.integration import FilePart

__all__ = ["Attachment"]

_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;.*)?")
# The characters that need no quoting in <...> (RFC 2045 section 7) and in a URL (RFC 2392).
_CONTENT_ID = re.compile(r"[!#$&'*+./0-9=?@A-Z^_`a-z{|}~-]+")


class Attachment:
    """One file. Only ``data`` is required.

    Args:
        filename: the name that the recipient sees.
        content_type: such as ``"application/pdf"``; guessed from the name if None.
        data: the content. A string is sent as UTF-8.
        disposition: ``"attachment"`` (the default) or ``"inline"``.
        headers: further headers of this part.
        content_id: the name that HTML uses for it: ``<img src="cid:logo">`` for ``"logo"``.
            An inline attachment that has one becomes part of the HTML.

    Raises:
        ValueError: there is no data, ``content_id`` is invalid, or the arguments are in another
            order.
        TypeError: ``data`` is neither a string nor bytes.
    """

    def __init__(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: str | bytes | bytearray | memoryview | None = None,
        disposition: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        content_id: str | None = None,
    ) -> None:
        if isinstance(content_type, bytes | bytearray | memoryview):
            # Flask-Mailman's order: attach(filename, content, mimetype).
            content_type, data = data, content_type
        filename, content_type, data, disposition, content_id = map(
            evaluated, (filename, content_type, data, disposition, content_id)
        )
        if data is None:
            raise ValueError(f"attachment {filename!r} has no data: pass data as str or bytes")
        if not isinstance(data, (str, bytes, bytearray, memoryview)):
            raise TypeError(
                f"attachment {filename!r} has data of type {type(data).__name__}: pass str or "
                "bytes, for example the result of a file's read()"
            )
        if _is_other_order(content_type, data):
            raise ValueError(
                f"attachment {filename!r} has {data!r} as data, and its content type is invalid: "
                "the order is filename, content_type, data; or pass them by name"
            )
        if content_type is None and filename is not None:
            content_type = guess_type(filename)[0]
        if content_type is None:
            content_type = "text/plain" if isinstance(data, str) else "application/octet-stream"
        self.filename = filename
        self.content_type = content_type
        self.data: str | bytes = data if isinstance(data, str) else bytes(data)
        self.disposition: str = disposition or "attachment"
        self.headers: dict[str, str] = dict(headers or {})
        if content_id is not None:
            if not _CONTENT_ID.fullmatch(content_id):
                raise ValueError(
                    f"content_id {content_id!r} must be ASCII without spaces, <, > and quotes"
                )
            self.headers["Content-ID"] = f"<{content_id}>"

    def __repr__(self) -> str:
        return (
            f"<Attachment {self.filename!r} {self.content_type} {self.disposition}, "
            f"{len(self.data)} {'characters' if isinstance(self.data, str) else 'bytes'}>"
        )

    @property
    def content_id(self) -> str | None:
        """The Content-ID without its angle brackets, or None (RFC 2392)."""
        for name, value in self.headers.items():
            if name.lower() == "content-id":
                return value.strip("<> ")
        return None

    @property
    def is_related(self) -> bool:
        """Whether it is an image that the HTML shows, and not a file next to the text."""
        return self.disposition.lower() == "inline" and self.content_id is not None


def _is_other_order(content_type: object, data: object) -> bool:
    """Return whether text was passed in the order of Flask-Mailman: (filename, data, type)."""
    return (
        isinstance(content_type, str)
        and isinstance(data, str)
        and _TYPE.fullmatch(data) is not None
        and not _TYPE.fullmatch(content_type)
    )


def _is_utf8_text(content_type: str, data: str | bytes) -> bool:
    """Return whether the part is a text in UTF-8 that does not name another charset."""
    if not content_type.lower().startswith("text/"):
        return False
    if isinstance(data, str):
        return True
    if "charset=" in content_type.lower():
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ascii(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    return " ".join(decomposed.encode("ascii", "ignore").decode("ascii").split())


def to_part(attachment: Attachment, *, ascii_filename: bool = False) -> FilePart:
    """Return ``attachment`` as a part of a message.

    ``ascii_filename`` removes non-ASCII characters from the name.

    Raises:
        InvalidMessageError: its content type is invalid.
    """
    kind, name, data = attachment.content_type, attachment.filename, attachment.data
    if not _TYPE.fullmatch(kind):
        raise InvalidMessageError(
            f"attachment {name!r} has the invalid content type {kind!r}: "
            "write it like 'application/pdf'"
        )
    return FilePart(
        data.encode() if isinstance(data, str) else data,
        kind,
        _ascii(name) if ascii_filename and name is not None else name,
        attachment.disposition,
        tuple(
            (name, encode_words(force_text(value), "utf-8"))
            for name, value in attachment.headers.items()
        ),
        "utf-8" if _is_utf8_text(kind, data) else None,
    )
