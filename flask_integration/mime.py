"""A `Message` as an email: header fields, alternatives, related images, attachments (RFC 2046)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from email import policy
from email.charset import BASE64, QP, Charset
from email.message import Message as Part
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import format_datetime, formatdate
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from flask_integration.addresses import (
    encode_words,
    force_text,
    header_addresses,
    sanitize_address,
    sanitize_subject,
)
from flask_integration.attachment import Attachment, to_part
from flask_integration.headers import LINE_LENGTH, fold
from flask_integration.rendering import Rendering, can_make_text, inline_styles, text_of
from mailbackends import InvalidMessageError
from mailbackends.integration import checked_policy

__all__ = [
    "FOLDED",
    "LONGEST_LINE",
    "PLAIN",
    "Content",
    "Maker",
    "are_plain",
    "body_encoding",
    "build",
    "composed",
    "extra_fields",
    "own_fields",
    "text_part",
]

Made = TypeVar("Made")

_SUBTYPE = re.compile(r"(?:text/)?[A-Za-z0-9!#$&^_.+-]+(?:\s*;[^\r\n]*)?")

# Writes header fields that need no folding like `policy.SMTP`, but without parsing each of them
# first, which takes a third of the time of a small message.
PLAIN = checked_policy(policy.compat32.clone(linesep="\r\n"))
FOLDED = checked_policy(policy.SMTP)
LONGEST_LINE = 998  # RFC 5322 section 2.1.1, in bytes


class Content(Protocol):
    """The attributes of a `flask_integration.Message` that become its content."""

    subject: Any
    sender: Any
    recipients: Any
    cc: Any
    reply_to: Any
    date: Any
    charset: str | None
    body: Any
    alts: dict[str, str]
    attachments: list[Attachment | Part]
    extra_headers: Any

    @property
    def html(self) -> str | None:
        """The HTML alternative."""

    @property
    def msgId(self) -> str:
        """The Message-ID."""


class Maker(Protocol[Made]):
    """Makes parts of one kind: objects, or bytes."""

    def text(self, text: str, subtype: str) -> Made:
        """Return a text part; its subtype may have parameters."""

    def file(self, file: Attachment | Part) -> Made:
        """Return the part of an attachment, or of an image that the HTML shows."""

    def multipart(self, subtype: str, parts: list[Made]) -> Made:
        """Return these parts as one."""


def build(message: Content, rendering: Rendering) -> Part:
    """Return the email that ``message`` describes, without Bcc.

    Line breaks in header fields are removed here; sending refuses them.

    Raises:
        InvalidMessageError: the type of an attachment or an alternative is invalid.
        ConfigurationError: a library that the configuration asks for is missing.
    """
    root = composed(message, rendering, _Objects(message, rendering))
    for name, value in own_fields(message, rendering):
        root[name] = value
    for name, value in extra_fields(message, rendering):
        del root[name]  # it replaces an existing one
        root[name] = value
    fields = (field for part in root.walk() for field in part.raw_items())
    root.policy = PLAIN if are_plain(fields) else FOLDED
    return root


def are_plain(fields: Iterable[tuple[str, Any]]) -> bool:
    """Return whether none of them needs folding, encoding or UTF-8 (RFC 6532)."""
    for name, value in fields:
        if not isinstance(value, str) or len(name) + 2 + len(value) > LINE_LENGTH:
            return False
        if not value.isascii() or not value.isprintable():
            return False
    return True


def composed(message: Content, rendering: Rendering, make: Maker[Made]) -> Made:
    """Return the body of ``message``, with parts made by ``make``. Raises: as `build`."""
    files = list(message.attachments)
    related = [file for file in files if message.html and _is_related(file)]
    body = _texts(message, rendering, related, make)
    if len(files) == len(related):
        return body
    return make.multipart("mixed", [body, *(make.file(f) for f in files if f not in related)])


def own_fields(message: Content, rendering: Rendering) -> Iterator[tuple[str, str]]:
    """Yield the header fields that each message has, folded."""
    charset = message.charset or rendering.charset
    if message.subject:
        yield "Subject", fold("Subject", sanitize_subject(message.subject, charset))
    if message.sender:
        yield "From", fold("From", sanitize_address(message.sender, charset))
    if isinstance(message.date, datetime):
        yield "Date", format_datetime(message.date)
    else:
        moment = math.floor(time.time() if message.date is None else message.date)
        yield "Date", _date(moment, rendering.local_time, (time.timezone, time.altzone))
    yield "Message-ID", message.msgId
    answers = message.reply_to or []
    for name, values in (
        ("To", message.recipients),
        ("Cc", message.cc),
        ("Reply-To", answers if isinstance(answers, list) else [answers]),
    ):
        if values and (addresses := ", ".join(header_addresses(values, charset))):
            yield name, fold(name, addresses)


@lru_cache(maxsize=8)  # of this second: formatting takes as long as all other fields
def _date(moment: int, local_time: bool, zone: tuple[int, int]) -> str:
    return formatdate(moment, localtime=local_time)


def extra_fields(message: Content, rendering: Rendering) -> Iterator[tuple[str, str]]:
    """Yield the extra headers, folded. Each replaces a field of the same name."""
    charset = message.charset or rendering.charset
    for name, value in (message.extra_headers or {}).items():
        if value is not None:
            name = force_text(name)
            yield name, fold(name, encode_words(force_text(value), charset))


def _is_related(file: Attachment | Part) -> bool:
    return isinstance(file, Attachment) and file.is_related


def _texts(
    message: Content, rendering: Rendering, related: list[Attachment | Part], make: Maker[Made]
) -> Made:
    body = make.text(_text_body(message, rendering), "plain")
    if not message.alts:
        return body
    # The last alternative is the preferred one (RFC 2046 section 5.1.4).
    parts = [body]
    for subtype, content in message.alts.items():
        if content is None:
            continue
        if not _SUBTYPE.fullmatch(subtype):
            raise InvalidMessageError(
                f"alts has the invalid type {subtype!r}: write a subtype of text, such as 'html'"
            )
        is_html = subtype == "html"
        if is_html and rendering.inline_css:
            content = inline_styles(content)
        part = make.text(force_text(content), subtype.removeprefix("text/"))
        if is_html and related:
            part = make.multipart("related", [part, *map(make.file, related)])
        parts.append(part)
    return make.multipart("alternative", parts)


def _text_body(message: Content, rendering: Rendering) -> str:
    wanted = rendering.text_from_html
    if wanted is None:
        wanted = can_make_text()
    if wanted and message.html and not message.body:
        return text_of(message.html)
    return force_text(message.body or "")


class _Objects:
    """Makes parts as objects of the email package."""

    def __init__(self, message: Content, rendering: Rendering) -> None:
        self.charset = message.charset or rendering.charset
        self.ascii_filenames = rendering.ascii_filenames

    def text(self, text: str, subtype: str) -> Part:
        return text_part(text, subtype, self.charset)

    def file(self, file: Attachment | Part) -> Part:
        if isinstance(file, Part):
            return file
        return to_part(file, ascii_filename=self.ascii_filenames)

    def multipart(self, subtype: str, parts: list[Part]) -> Part:
        multipart = MIMEMultipart(subtype)
        for part in parts:
            multipart.attach(part)
        return multipart


def body_encoding(text: bytes) -> int | None:
    """Return how a text has to be encoded, as `email.charset` has it; None for not at all.

    Base64, the email package's default, would make spam filters suspicious.
    """
    if b"\0" in text:
        return BASE64  # RFC 5322 section 3.5 and RFC 2045 section 2.8: never as it is
    if max(map(len, text.splitlines()), default=0) > LONGEST_LINE:
        return QP
    return None


def text_part(text: str, subtype: str, encoding: str) -> Part:
    """Return a text as an object of the email package, encoded only if it has to be."""
    charset = Charset(encoding)
    try:
        text.encode(charset.output_codec or "us-ascii")
    except (UnicodeEncodeError, LookupError):
        charset = Charset("utf-8")
    if charset.output_charset == "utf-8":
        charset.body_encoding = body_encoding(text.encode())  # type: ignore[assignment]
    part = MIMENonMultipart("text", subtype)
    part.set_payload(text, charset)
    return part
