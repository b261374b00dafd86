"""A message laid out as bytes, without objects for its parts, and the same as objects.

The email package has two generations of classes, which differ in the order of header fields, in
encodings and in line ends. `MODERN` is `email.message.EmailMessage` with its content manager;
``legacy.py`` has the older one. The header fields of parts come from the email package itself, as
the installed version makes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from email.message import EmailMessage, Message, MIMEPart
from email.policy import Policy
from functools import lru_cache
from typing import Any, NamedTuple

from mailbackends.mime.fields import SMTP, address_field, date_or_identifier, text_field
from mailbackends.mime.folding import boundary_line, header_lines
from mailbackends.mime.parts import FilePart, Multipart, Part, TextPart
from mailbackends.mime.pieces import Piece, base64_body, multipart_body
from mailbackends.mime.quoted_printable import quoted_lines
from mailbackends.mime.serializer import serialized
from mailbackends.mime.words import LINE_LENGTH

__all__ = ["MODERN", "VERSION", "Layout", "NotPlain", "Written"]

_ADDRESSES = frozenset({"From", "To", "Cc", "Reply-To"})
VERSION = b"MIME-Version: 1.0\r\n"
"""A header field of each part that could be a message."""


class NotPlain(Exception):
    """A part or a field that has to be built as an object."""


class Written(NamedTuple):
    """One part: its header fields, each with its line end, and its body."""

    head: bytes
    body: Sequence[Piece]

    @property
    def pieces(self) -> list[Piece]:
        """The whole part."""
        return [self.head + b"\r\n", *self.body]


class Layout(ABC):
    """Writes parts and header fields, and builds the same as objects."""

    policy: Policy
    """The policy of the email package under which a built message has the written bytes."""

    def write(self, part: Part, *, version: bool = True) -> Written:
        """A part as bytes.

        Without ``version`` it has no MIME-Version, because the multipart that was put around it
        has that field.

        Raises:
            NotPlain: only the email package can write it.
        """
        if isinstance(part, TextPart):
            return self._text(part, version=version)
        if isinstance(part, FilePart):
            return self._file(part, version=version)
        if not isinstance(part, Multipart):
            return self._object(part)
        children = [
            self.write(child, version=index > 0 or not part.wraps_body).pieces
            for index, child in enumerate(part.parts)
        ]
        boundary, body = multipart_body(children)
        line = boundary_line(self.policy, "Content-Type", f"multipart/{part.subtype}", boundary)
        return Written(self._multipart_head(line, version=version and part.wraps_body), body)

    def _object(self, part: Message[Any, Any]) -> Written:
        pieces = serialized(part, self.policy)
        if pieces is None or not isinstance(pieces[0], bytes):
            raise NotPlain
        return Written(pieces[0].removesuffix(b"\r\n"), pieces[1:])

    @abstractmethod
    def field(self, name: str, value: str | Sequence[str]) -> bytes:
        """A header field of the message.

        Raises:
            NotPlain: only the email package can write it.
        """

    @abstractmethod
    def build(self, part: Part) -> Message[Any, Any]:
        """The part as an object, without header fields of the message."""

    @abstractmethod
    def _text(self, part: TextPart, *, version: bool) -> Written: ...

    @abstractmethod
    def _file(self, part: FilePart, *, version: bool) -> Written: ...

    @abstractmethod
    def _multipart_head(self, content_type: bytes, *, version: bool) -> bytes: ...


# --- EmailMessage ---------------------------------------------------------------------------


class _ModernLayout(Layout):
    policy = SMTP

    def field(self, name: str, value: str | Sequence[str]) -> bytes:
        if not isinstance(value, str):
            line = address_field(name, value) if name in _ADDRESSES else None
        elif name in ("Date", "Message-ID"):
            line = date_or_identifier(name, value)
        else:
            line = text_field(name, value)
        if line is None:
            raise NotPlain
        return line

    def build(self, part: Part) -> EmailMessage:
        made = EmailMessage(policy=self.policy)
        self._fill(made, part)
        return made

    def _fill(self, message: EmailMessage, part: Part) -> None:
        if isinstance(part, TextPart):
            message.set_content(
                part.text, subtype=part.subtype, charset=part.charset, filename=part.filename
            )
        elif isinstance(part, FilePart):
            maintype, _, subtype = part.content_type.partition("/")
            content_id = dict(part.fields).get("Content-ID")
            message.set_content(
                *(part.data, maintype, subtype),
                disposition=part.disposition,
                filename=part.filename,
                cid=content_id,
            )
        elif isinstance(part, Multipart):
            rest = list(part.parts)
            if part.wraps_body:
                self._fill(message, rest.pop(0))
            getattr(message, f"make_{part.subtype}")()
            for child in rest:
                made: Any = child if isinstance(child, Message) else self.build(child)
                message.attach(made)
        else:
            raise TypeError(f"the body of a message cannot be a {type(part).__name__}")

    def _multipart_head(self, content_type: bytes, *, version: bool) -> bytes:
        # The email package adds MIME-Version with the first body, and leaves it at the top.
        return VERSION + content_type if version else content_type

    def _text(self, part: TextPart, *, version: bool) -> Written:
        text = part.text
        if part.charset != "utf-8" or "\0" in text:
            raise NotPlain
        try:
            lines = text.encode("utf-8").splitlines()
            before, after = _modern_text_head(part.subtype, part.filename)
        except (UnicodeError, ValueError, TypeError) as error:
            raise NotPlain from error
        body: Piece
        if len(max(lines, key=len, default=b"")) <= LINE_LENGTH:
            body = b"\r\n".join(lines) + b"\r\n"
            encoding = b"7bit" if body.isascii() else b"8bit"
        else:
            encoding, body = _encoded(lines)
        head = before + encoding + after
        return Written(head + VERSION if version else head, [body])

    def _file(self, part: FilePart, *, version: bool) -> Written:
        maintype, _, subtype = part.content_type.partition("/")
        if part.charset is not None:
            raise NotPlain
        try:
            head = _modern_file_head(maintype, subtype, part.filename, part.disposition)
            if part.fields:
                head += header_lines(part.fields, self.policy)
        except (UnicodeError, ValueError, TypeError) as error:
            raise NotPlain from error
        return Written(head + VERSION if version else head, [base64_body(part.data)])


def _encoded(lines: Sequence[bytes]) -> tuple[bytes, Piece]:
    """The encoding that the email package chooses for a text with long lines, and the body."""
    sample = b"\r\n".join(lines[:_SAMPLE]) + b"\r\n"
    quoted = quoted_lines(lines[:_SAMPLE], LINE_LENGTH)
    # It compares the first lines, with an LF after each in quoted-printable, and after base64.
    if sum(map(len, quoted)) + len(quoted) > 4 * -(-len(sample) // 3) + 1:
        return b"base64", base64_body(b"\r\n".join(lines) + b"\r\n")
    quoted += quoted_lines(lines[_SAMPLE:], LINE_LENGTH)
    return b"quoted-printable", b"\r\n".join(quoted) + b"\r\n"


_SAMPLE = 10


@lru_cache(maxsize=256)
def _modern_text_head(subtype: str, filename: str | None) -> tuple[bytes, bytes]:
    """The header of such a part, before and after its encoding."""
    part = MIMEPart(policy=SMTP)
    part.set_content("", subtype=subtype, charset="utf-8", filename=filename)
    before, encoding, after = _part_header(part).partition(b"7bit")
    if not encoding or part.get_content_type() != f"text/{subtype}":
        raise ValueError("not as expected")
    return before, after


@lru_cache(maxsize=256)
def _modern_file_head(
    maintype: str, subtype: str, filename: str | None, disposition: str | None
) -> bytes:
    part = MIMEPart(policy=SMTP)
    part.set_content(
        b"", maintype=maintype, subtype=subtype, filename=filename, disposition=disposition
    )
    if part.get_content_type() != f"{maintype}/{subtype}" or maintype in ("multipart", "message"):
        raise ValueError("not as expected")
    return _part_header(part)


def _part_header(part: MIMEPart) -> bytes:
    values = part.values()
    if not all(str(value).isprintable() for value in values) or any(v.defects for v in values):
        raise ValueError("not as expected")
    return header_lines(part.raw_items(), SMTP)


MODERN = _ModernLayout()
"""The layout of `email.message.EmailMessage` with ``email.policy.SMTP``."""
