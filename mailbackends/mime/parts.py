"""Parts and header fields of a message as bytes, without objects for them.

They are byte for byte what `email.message.EmailMessage` and its generator give by
``email.policy.SMTP``. Only what is plain is written here. Headers of parts, header fields
that need more than a look and texts that need an encoding come from the email package
itself, so that they are what the installed version makes of them. Each function returns None
for what it does not know: then the message has to be built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email.contentmanager import raw_data_manager
from email.headerregistry import UnstructuredHeader
from email.message import MIMEPart
from email.policy import SMTP
from functools import lru_cache
from typing import Any, NamedTuple

from mailbackends.mime.address import PLAIN_MAILBOX
from mailbackends.mime.base64_lines import BLOCK, base64_lines, encoded_size
from mailbackends.mime.header_lines import header_line
from mailbackends.mime.headers import ADDRESS_FIELDS
from mailbackends.mime.serializer import (
    Encoded,
    Piece,
    between,
    boundary_line,
    made_boundary,
)

__all__ = [
    "EncodedBytes",
    "Part",
    "address_field",
    "base64_body",
    "binary_part",
    "date_or_identifier",
    "multipart",
    "multipart_body",
    "text_field",
    "text_part",
]

_WIDTH = 78  # SMTP's max_line_length, for header fields and texts alike
_VERSION = b"MIME-Version: 1.0\r\n"

_PLAIN_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")
_PLAIN_MAILBOX = re.compile(PLAIN_MAILBOX)
_FIELD_NAME = re.compile(r"[!-9;-~]+")
# Fields with a structure, or of which there may be only one.
_STRUCTURED = ADDRESS_FIELDS | {"date", "orig-date", "message-id", "mime-version"}
_DATE_OR_IDENTIFIER = {
    "Date": re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"),
    "Message-ID": re.compile(
        r"<[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*>"
    ),
}


class Part(NamedTuple):
    """One part: its header fields, each with its line end, and its body."""

    head: bytes
    body: list[Piece]

    @property
    def pieces(self) -> list[Piece]:
        """All of it."""
        return [self.head + b"\r\n", *self.body]


class EncodedBytes(Encoded):
    """Bytes in base64, which is made while they are sent."""

    __slots__ = ("data", "size")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = encoded_size(len(data))

    def pieces(self) -> Iterator[bytes]:
        """The lines, some 80 KB at a time."""
        view = memoryview(self.data)
        for start in range(0, len(view), BLOCK):
            yield base64_lines(view[start : start + BLOCK])

    def holds(self, text: str) -> bool:
        """False for a boundary: it begins with "=", which in base64 is the end."""
        return False


def text_field(name: str, text: str) -> bytes | None:
    """A header field without a structure, such as Subject or ``X-Order``.

    None for a field with one, such as Sender, and for text with control characters.
    """
    lowered = name.lower()
    if lowered in _STRUCTURED or lowered.startswith(("content-", "resent-")):
        return None
    if len(name) + len(text) + 2 <= _WIDTH and _PLAIN_WORDS.fullmatch(text) and "=?" not in text:
        return f"{name}: {text}\r\n".encode("ascii") if _FIELD_NAME.fullmatch(name) else None
    if not text.isprintable() or not _FIELD_NAME.fullmatch(name):
        return None
    return _unstructured(name, text)


@lru_cache(maxsize=256)
def _unstructured(name: str, text: str) -> bytes | None:
    value: Any = SMTP.header_store_parse(name, text)[1]
    return header_line(SMTP, name, value) if isinstance(value, UnstructuredHeader) else None


def date_or_identifier(name: str, text: str) -> bytes | None:
    """A Date or Message-ID field, where its value is as `email.utils` makes them."""
    if not _DATE_OR_IDENTIFIER[name].fullmatch(text):
        return None
    if len(name) + len(text) + 2 <= _WIDTH:
        return f"{name}: {text}\r\n".encode("ascii")
    value: Any = SMTP.header_store_parse(name, text)[1]
    return header_line(SMTP, name, value)


def address_field(name: str, mailboxes: Sequence[str]) -> bytes | None:
    """A field such as From or To, with these mailboxes, which may have display names.

    None where a local part or a domain is not ASCII, or a mailbox is none.
    """
    text = ", ".join(mailboxes)
    fits = len(name) + len(text) + 2 <= _WIDTH and "=?" not in text
    if fits and all(map(_PLAIN_MAILBOX.fullmatch, mailboxes)):
        return f"{name}: {text}\r\n".encode("ascii")
    return _addresses(name, text) if text.isprintable() else None


@lru_cache(maxsize=256)
def _addresses(name: str, text: str) -> bytes | None:
    try:
        value: Any = SMTP.header_store_parse(name, text)[1]
        if not all(f"{one.username}{one.domain}".isascii() for one in value.addresses):
            return None
        return header_line(SMTP, name, value)
    except Exception:  # the parser trips over some input: it is told when the message is built
        return None


def text_part(
    text: str, subtype: str, *, version: bool, filename: str | None = None
) -> Part | None:
    """A part with text in UTF-8, as 7bit or 8bit where its lines are short, else encoded.

    ``version`` says whether MIME-Version stands in its header. None for what has no form in
    UTF-8, or no proper subtype.
    """
    try:
        lines = text.encode("utf-8").splitlines()
        head = _text_head(subtype, filename)
    except (UnicodeError, ValueError, TypeError):
        return None
    if len(max(lines, key=len, default=b"")) <= _WIDTH:
        body = b"\r\n".join(lines) + b"\r\n"
        encoding = b"7bit" if body.isascii() else b"8bit"
    else:
        recorder = _Recorder()
        raw_data_manager.set_content(recorder, text, subtype=subtype, charset="utf-8")  # type: ignore[arg-type]
        body = recorder.payload.encode("ascii").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        encoding = recorder.encoding.encode("ascii")
    before, behind = head
    return Part(before + encoding + behind + (_VERSION if version else b""), [body])


class _Recorder:
    """Stands for the message that a content manager fills, and has only what that sets."""

    policy = SMTP
    payload = ""
    encoding = ""

    def __setitem__(self, name: str, value: str) -> None:
        if name == "Content-Transfer-Encoding":
            self.encoding = value

    def get_content_maintype(self) -> str:
        return "text"

    def clear_content(self) -> None:
        pass

    def set_payload(self, payload: str) -> None:
        self.payload = payload

    def set_param(self, *args: object, **options: object) -> None:
        pass


@lru_cache(maxsize=256)
def _text_head(subtype: str, filename: str | None) -> tuple[bytes, bytes]:
    """The header of such a part, before and behind its encoding."""
    part = MIMEPart(policy=SMTP)
    part.set_content("", subtype=subtype, charset="utf-8", filename=filename)
    before, encoding, behind = _header(part).partition(b"7bit")
    if not encoding or part.get_content_type() != f"text/{subtype}":
        raise ValueError("not as expected")
    return before, behind


def binary_part(
    data: bytes, maintype: str, subtype: str, *, version: bool, filename: str | None = None
) -> Part | None:
    """A part in base64, an attachment if it has a name. None for an improper type or name."""
    try:
        head = _binary_head(maintype, subtype, filename)
    except (UnicodeError, ValueError, TypeError):
        return None
    return Part(head + (_VERSION if version else b""), [base64_body(data)])


def base64_body(data: bytes) -> Piece:
    """The body of a part that is in base64: lines with CRLF, of large data while it is sent."""
    return EncodedBytes(data) if len(data) > BLOCK else base64_lines(data)


@lru_cache(maxsize=256)
def _binary_head(maintype: str, subtype: str, filename: str | None) -> bytes:
    part = MIMEPart(policy=SMTP)
    part.set_content(b"", maintype=maintype, subtype=subtype, filename=filename)
    if part.get_content_type() != f"{maintype}/{subtype}" or maintype in ("multipart", "message"):
        raise ValueError("not as expected")
    return _header(part)


def _header(part: MIMEPart) -> bytes:
    values = part.values()
    if not all(str(value).isprintable() for value in values) or any(v.defects for v in values):
        raise ValueError("not as expected")
    return b"".join(header_line(SMTP, name, value) for name, value in part.raw_items())


def multipart(subtype: str, children: Sequence[Part]) -> Part:
    """A multipart with these parts.

    A boundary is made that stands in none of the parts.
    """
    boundary, body = multipart_body([child.pieces for child in children])
    head = boundary_line(SMTP, "Content-Type", f"multipart/{subtype}", boundary)
    return Part(head, body)


def multipart_body(parts: list[list[Piece]]) -> tuple[str, list[Piece]]:
    """A boundary that stands in none of these parts, and the body that has them between it."""
    boundary = made_boundary(parts)
    return boundary, between(parts, boundary)
