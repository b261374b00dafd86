"""`Attachment`: a file that is sent with a message, next to its text or in its HTML."""

from __future__ import annotations

import binascii
import email
import re
import unicodedata
from collections.abc import Mapping
from email.message import Message as Part
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from mimetypes import guess_type

from flask_integration.addresses import encode_words, evaluated, force_text
from mailbackends import InvalidMessageError

__all__ = ["Attachment"]

_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;.*)?")
# The characters that need no quoting in <...> (RFC 2045 section 7) and in a URL (RFC 2392).
_CONTENT_ID = re.compile(r"[!#$&'*+./0-9=?@A-Z^_`a-z{|}~-]+")
_BLOCK = 57 * 1024  # bytes: whole lines of base64


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


def is_utf8_text(content_type: str, data: str | bytes) -> bool:
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


def to_part(attachment: Attachment, *, ascii_filename: bool = False) -> Part:
    """Return the MIME part for ``attachment``.

    ``ascii_filename`` removes non-ASCII characters from the name.

    Raises:
        InvalidMessageError: its content type is invalid.
    """
    content_type = attachment.content_type
    if not _TYPE.fullmatch(content_type):
        raise InvalidMessageError(
            f"attachment {attachment.filename!r} has the invalid content type {content_type!r}: "
            "write it like 'application/pdf'"
        )
    data = attachment.data
    part: Part
    if content_type.partition(";")[0].strip().lower() == "message/rfc822":
        # RFC 2046 section 5.2.1: a message within a message is not encoded.
        raw = data.encode() if isinstance(data, str) else data
        part = MIMEMessage(email.message_from_bytes(raw))
    else:
        part = MIMEBase(*content_type.split("/", 1))
        if is_utf8_text(content_type, data):
            part.set_param("charset", "utf-8")
        if isinstance(data, str):
            data = data.encode()
        part["Content-Transfer-Encoding"] = "base64"
        part.set_payload(_base64_lines(data))
    _describe(part, attachment, ascii_filename)
    return part


def _describe(part: Part, attachment: Attachment, ascii_filename: bool) -> None:
    filename = attachment.filename
    if filename is not None and ascii_filename:
        decomposed = unicodedata.normalize("NFKD", filename)
        filename = " ".join(decomposed.encode("ascii", "ignore").decode("ascii").split())
    if filename is None:
        part["Content-Disposition"] = attachment.disposition
    elif filename.isascii():
        part.add_header("Content-Disposition", attachment.disposition, filename=filename)
    else:
        part.add_header(
            "Content-Disposition", attachment.disposition, filename=("utf-8", "", filename)
        )
    for name, value in attachment.headers.items():
        del part[name]  # the caller's value replaces ours
        part[name] = encode_words(force_text(value), "utf-8")


def _base64_lines(data: bytes) -> str:
    """Base64 in lines of 76 columns (RFC 2045 section 6.8)."""
    # A block at a time: half the memory of `base64.encodebytes` for a large file, and as fast.
    view = memoryview(data)
    lines: list[str] = []
    for start in range(0, len(data), _BLOCK):
        encoded = binascii.b2a_base64(view[start : start + _BLOCK], newline=False).decode("ascii")
        lines.append("\n".join([encoded[i : i + 76] for i in range(0, len(encoded), 76)]))
    lines.append("")
    return "\n".join(lines)
