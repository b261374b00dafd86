"""How a message is laid out by the email package: by `EmailMessage`, or by its older classes.

A `Layout` writes parts and header fields as bytes, without objects for them, and makes the same
as objects. `MODERN` is `email.message.EmailMessage` with its content manager and
``email.policy.SMTP``. A `LegacyLayout` is the classes in ``email.mime``. Header fields of parts
come from the email package itself, as the installed version makes them.
"""

from __future__ import annotations

import binascii
import email
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from email.charset import BASE64, QP, Charset
from email.contentmanager import raw_data_manager
from email.message import EmailMessage, Message, MIMEPart
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import Policy
from functools import lru_cache
from typing import Any, NamedTuple

from mailbackends.mime.fields import SMTP, address_field, date_or_identifier, text_field
from mailbackends.mime.folding import boundary_line, checked_policy, header_line, header_lines
from mailbackends.mime.headers import BLIND, Field
from mailbackends.mime.parts import FilePart, Multipart, Part, TextPart
from mailbackends.mime.pieces import BLOCK, Piece, base64_body, multipart_body, with_crlf
from mailbackends.mime.serializer import serialized
from mailbackends.mime.words import LINE_LENGTH, LONGEST_LINE

__all__ = ["MODERN", "Layout", "LegacyLayout", "NotPlain", "Written"]

_ADDRESSES = frozenset({"From", "To", "Cc", "Reply-To"})
_VERSION = b"MIME-Version: 1.0\r\n"
# The line ends of str.splitlines() and not of bytes.splitlines().
_OTHER_LINE_END = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTENT_FIELDS = frozenset(
    {"content-type", "content-disposition", "content-transfer-encoding", "mime-version"}
)


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

        ``version`` is False for a part that became the first one of a multipart: its
        MIME-Version stayed with that, if the layout has one for each part only once.

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
            make = {
                "alternative": message.make_alternative,
                "related": message.make_related,
                "mixed": message.make_mixed,
            }
            make[part.subtype]()
            for child in rest:
                is_value = isinstance(child, TextPart | FilePart | Multipart)
                message.attach(self.build(child) if is_value else child)
        else:
            raise TypeError(f"an object cannot be the body of a message: {type(part).__name__}")

    def _multipart_head(self, content_type: bytes, *, version: bool) -> bytes:
        # The email package adds MIME-Version with the first body, and leaves it at the top.
        return _VERSION + content_type if version else content_type

    def _text(self, part: TextPart, *, version: bool) -> Written:
        text = part.text
        if part.charset != "utf-8" or "\0" in text:
            raise NotPlain
        try:
            lines = text.encode("utf-8").splitlines()
            before, after = _modern_text_head(part.subtype, part.filename)
        except (UnicodeError, ValueError, TypeError) as error:
            raise NotPlain from error
        if len(max(lines, key=len, default=b"")) <= LINE_LENGTH:
            body = b"\r\n".join(lines) + b"\r\n"
            encoding = b"7bit" if body.isascii() else b"8bit"
        else:
            recorder = _Recorder()
            raw_data_manager.set_content(recorder, text, subtype=part.subtype, charset="utf-8")  # type: ignore[arg-type]
            body = with_crlf(recorder.payload.encode("ascii"))
            encoding = recorder.encoding.encode("ascii")
        head = before + encoding + after
        return Written(head + _VERSION if version else head, [body])

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
        return Written(head + _VERSION if version else head, [base64_body(part.data)])


class _Recorder:
    """Takes the place of the message that a content manager fills, with only what that sets."""

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


# --- The classes in email.mime --------------------------------------------------------------


class LegacyLayout(Layout):
    """The layout of the classes in ``email.mime``, which Django 5.2 and Flask-Mail use.

    Texts are sent as they are, and not in base64 as these classes have it, unless they have
    NUL or a line of more than 998 octets. ``policy`` decides how long lines are folded.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = checked_policy(policy, linesep="\r\n", cte_type="8bit")

    def field(self, name: str, value: str | Sequence[str]) -> bytes:
        """A header field. The value is text in ASCII, encoded by the caller where necessary."""
        lowered = name.lower()
        if not isinstance(value, str) or not value.isascii() or lowered in BLIND:
            raise NotPlain
        if lowered in _CONTENT_FIELDS:
            raise NotPlain
        return header_line(self.policy, name, value)

    def build(self, part: Part) -> Message[Any, Any]:
        """The part as an object of the policy ``compat32``."""
        if isinstance(part, TextPart):
            return _legacy_text(part)
        if isinstance(part, FilePart):
            return _legacy_file(part)
        if not isinstance(part, Multipart):
            return part
        made = MIMEMultipart(part.subtype)
        for child in part.parts:
            made.attach(self.build(child))
        return made

    def _multipart_head(self, content_type: bytes, *, version: bool) -> bytes:
        return content_type + _VERSION

    def _text(self, part: TextPart, *, version: bool) -> Written:
        text, subtype, filename, charset = part
        if charset != "utf-8":
            return self._object(_legacy_text(part))
        try:
            data = text.encode()
        except UnicodeError as error:
            raise NotPlain from error
        encoding = _legacy_encoding(data)
        if encoding is None:
            head = _legacy_text_head(subtype, filename, data.isascii(), self.policy)
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            return Written(head, [data.replace(b"\n", b"\r\n")])
        if _OTHER_LINE_END.search(text):
            raise NotPlain  # which lines are long depends on who asks
        return self._object(_legacy_text(part))

    def _file(self, part: FilePart, *, version: bool) -> Written:
        data, content_type, filename, disposition, fields, charset = part
        if content_type.lower().startswith(("message/", "multipart/")):
            raise NotPlain  # which are not encoded (RFC 2046 section 5.2.1)
        head = _legacy_file_head(content_type, filename, disposition, charset, self.policy)
        if fields:
            names = [name.lower() for name, _ in fields]
            if len(set(names)) < len(names) or not _CONTENT_FIELDS.isdisjoint(names):
                return self._object(_legacy_file(part))
            head += header_lines(fields, self.policy)
        return Written(head, [base64_body(data)])


def _legacy_encoding(data: bytes) -> int | None:
    """How a text has to be encoded, as `email.charset` has it; None for not at all.

    Base64, the email package's default, would make spam filters suspicious.
    """
    if b"\0" in data:
        return BASE64  # RFC 5322 section 3.5 and RFC 2045 section 2.8: never as it is
    # Nearly all texts have a line end within each 998 bytes, which is found without a list
    # of all lines.
    place = 0
    while len(data) - place > LONGEST_LINE:
        end = data.rfind(b"\n", place, place + LONGEST_LINE + 1)
        if end < 0:
            return QP if max(map(len, data.splitlines())) > LONGEST_LINE else None
        place = end + 1
    return None


def _legacy_text(part: TextPart) -> Message[Any, Any]:
    charset = Charset(part.charset)
    try:
        part.text.encode(charset.output_codec or "us-ascii")
    except (UnicodeEncodeError, LookupError):
        charset = Charset("utf-8")
    if charset.output_charset == "utf-8":
        charset.body_encoding = _legacy_encoding(part.text.encode())  # type: ignore[assignment]
    parameters = {} if ";" in part.subtype else {"charset": str(charset)}
    made = MIMENonMultipart("text", part.subtype, **parameters)
    made.set_payload(part.text, charset)
    if part.filename is not None:
        _set_disposition(made, "attachment", part.filename)
    return made


@lru_cache(maxsize=256)
def _legacy_text_head(
    subtype: str, filename: str | None, is_ascii: bool, policy: Policy
) -> bytes:
    return _leaf_head(_legacy_text(TextPart("" if is_ascii else "\u00e9", subtype, filename)), policy)


def _legacy_file(part: FilePart) -> Message[Any, Any]:
    made: Message[Any, Any]
    if part.content_type.partition(";")[0].strip().lower() == "message/rfc822":
        # RFC 2046 section 5.2.1: a message within a message is not encoded.
        made = MIMEMessage(email.message_from_bytes(part.data))
    else:
        made = MIMEBase(*part.content_type.split("/", 1))
        if part.charset is not None:
            made.set_param("charset", part.charset)
        made["Content-Transfer-Encoding"] = "base64"
        made.set_payload(_base64_text(part.data))
    _set_disposition(made, part.disposition, part.filename)
    for name, value in part.fields:
        del made[name]  # the caller's value replaces ours
        made[name] = value
    return made


@lru_cache(maxsize=256)
def _legacy_file_head(
    content_type: str,
    filename: str | None,
    disposition: str | None,
    charset: str | None,
    policy: Policy,
) -> bytes:
    sample = FilePart(b"", content_type, filename, disposition, (), charset)
    return _leaf_head(_legacy_file(sample), policy)


def _set_disposition(part: Message[Any, Any], disposition: str | None, name: str | None) -> None:
    if disposition is None:
        return
    if name is None:
        part["Content-Disposition"] = disposition
    else:  # RFC 2231 for what is not ASCII
        parameter: Any = name if name.isascii() else ("utf-8", "", name)
        part.add_header("Content-Disposition", disposition, filename=parameter)


def _leaf_head(part: Message[Any, Any], policy: Policy) -> bytes:
    # A message in a message is not encoded (RFC 2046 section 5.2.1), nor is what has parts.
    if part.is_multipart() or part.get_content_maintype() in ("message", "multipart"):
        raise NotPlain
    fields: list[Field] = list(part.raw_items())
    if not all(str(value).isascii() for _, value in fields):
        raise NotPlain
    return header_lines(fields, policy)


def _base64_text(data: bytes) -> str:
    """Base64 in lines of 76 columns (RFC 2045 section 6.8)."""
    # A block at a time: half the memory of `base64.encodebytes` for a large file, and as fast.
    view = memoryview(data)
    lines: list[str] = []
    for start in range(0, len(data), BLOCK):
        encoded = binascii.b2a_base64(view[start : start + BLOCK], newline=False).decode("ascii")
        lines.append("\n".join([encoded[i : i + 76] for i in range(0, len(encoded), 76)]))
    lines.append("")
    return "\n".join(lines)
