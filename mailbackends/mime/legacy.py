"""Messages laid out as by the classes in ``email.mime``, which Django 5.2 and Flask-Mail use."""

from __future__ import annotations

import binascii
import email
import re
from collections.abc import Sequence
from email.charset import BASE64, QP, Charset
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import Policy
from functools import lru_cache
from typing import Any

from mailbackends.mime.folding import checked_policy, header_line, header_lines
from mailbackends.mime.headers import BLIND, Field, is_field_name
from mailbackends.mime.layout import VERSION, Layout, NotPlain, Written
from mailbackends.mime.parts import FilePart, Multipart, Part, TextPart
from mailbackends.mime.pieces import BLOCK, base64_body
from mailbackends.mime.quoted_printable import quoted_lines
from mailbackends.mime.words import LINE_LENGTH, LONGEST_LINE, PLAIN_WORDS

__all__ = ["LegacyLayout"]

# The line ends of str.splitlines() and not of bytes.splitlines().
_OTHER_LINE_END = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_QP_WIDTH = 76  # that of `email.charset`
_CONTENT_FIELDS = frozenset(
    {"content-type", "content-disposition", "content-transfer-encoding", "mime-version"}
)
# Fields that are not sent, or that a body has already.
_NOT_SET = BLIND | _CONTENT_FIELDS


class LegacyLayout(Layout):
    """The layout of the classes in ``email.mime``.

    Texts are sent as they are, and not in base64 as these classes have it, unless they have
    NUL or a line of more than 998 octets. ``policy`` decides how long lines are folded.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy: Policy[Any] = checked_policy(policy, linesep="\r\n", cte_type="8bit")

    def field(self, name: str, value: str | Sequence[str]) -> bytes:
        """A header field. The value is text in ASCII, encoded by the caller where necessary."""
        if not isinstance(value, str) or not _is_settable(name):
            raise NotPlain
        if len(name) + len(value) + 2 <= LINE_LENGTH and PLAIN_WORDS.fullmatch(value):
            return f"{name}: {value}\r\n".encode("ascii")
        if not value.isascii():
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
        return content_type + VERSION

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
        if encoding != QP:
            return self._object(_legacy_text(part))
        head = _legacy_text_head(subtype, filename, data.isascii(), self.policy, is_long=True)
        body = b"\r\n".join(quoted_lines(data.splitlines(), _QP_WIDTH))
        return Written(head, [body + b"\r\n" if data.endswith((b"\r", b"\n")) else body])

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


@lru_cache(maxsize=256)
def _is_settable(name: str) -> bool:
    return is_field_name(name) and name.lower() not in _NOT_SET


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
    parameters: Any = {} if ";" in part.subtype else {"charset": str(charset)}
    made = MIMENonMultipart("text", part.subtype, **parameters)
    made.set_payload(part.text, charset)
    if part.filename is not None:
        _set_disposition(made, "attachment", part.filename)
    return made


@lru_cache(maxsize=256)
def _legacy_text_head(
    subtype: str, filename: str | None, is_ascii: bool, policy: Policy, *, is_long: bool = False
) -> bytes:
    sample = ("a" if is_ascii else "\u00e9") * (LONGEST_LINE + 1 if is_long else 1)
    return _leaf_head(_legacy_text(TextPart(sample, subtype, filename)), policy)


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
