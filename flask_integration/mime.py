"""A `Message` as an email: headers, alternatives, related images, attachments (RFC 2046)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from email import policy
from email.charset import QP, Charset
from email.message import Message as Part
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import format_datetime, formatdate
from typing import TYPE_CHECKING

from flask_integration.addresses import (
    force_text,
    header_addresses,
    sanitize_address,
    sanitize_subject,
)
from flask_integration.attachment import Attachment, to_part
from flask_integration.headers import LINE_LENGTH, fold, set_addresses, set_text
from flask_integration.html import can_make_text, inline_styles, text_of
from flask_integration.rendering import Rendering
from mailbackends import InvalidMessageError

if TYPE_CHECKING:
    from flask_integration.message import Message

__all__ = ["build"]

_SUBTYPE = re.compile(r"(?:text/)?[A-Za-z0-9!#$&^_.+-]+(?:\s*;[^\r\n]*)?")

# Writes headers that need no folding as `policy.SMTP` does, but does not parse each of them
# first, which is a third of what a small message costs.
_PLAIN = policy.compat32.clone(linesep="\r\n")
_LONGEST_LINE = 998  # RFC 5322 section 2.1.1, in bytes


def build(message: Message, rendering: Rendering) -> Part:
    """The email that ``message`` describes, without Bcc.

    What would break a header is taken out, not refused: the check comes before sending.

    Raises:
        InvalidMessageError: the type of an attachment or an alternative is none.
        ConfigurationError: a library that the configuration asks for is missing.
    """
    charset = message.charset or rendering.charset
    files = list(message.attachments)
    related = [file for file in files if message.html and _is_related(file)]
    root = _texts(message, rendering, charset, related)
    if len(files) > len(related):
        root = _multipart("mixed", root)
        for file in files:
            if file not in related:
                root.attach(_part(file, rendering))
    _headers(root, message, rendering, charset)
    root.policy = _PLAIN if _is_plain(root) else policy.SMTP
    return root


def _is_plain(root: Part) -> bool:
    """True where no header needs folding, encoding or UTF-8 (RFC 6532)."""
    return all(
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and len(name) + 2 + len(value) <= LINE_LENGTH
        for part in root.walk()
        for name, value in part.raw_items()
    )


def _is_related(file: Attachment | Part) -> bool:
    return isinstance(file, Attachment) and file.is_related


def _part(file: Attachment | Part, rendering: Rendering) -> Part:
    if isinstance(file, Part):
        return file
    return to_part(file, ascii_filename=rendering.ascii_filenames)


def _texts(
    message: Message, rendering: Rendering, charset: str, related: list[Attachment | Part]
) -> Part:
    body = _text_body(message, rendering)
    if not message.alts:
        return _text(body, "plain", charset)
    # The last alternative is the one that the sender likes best (RFC 2046 section 5.1.4).
    parts = [_text(body, "plain", charset)]
    for subtype, content in message.alts.items():
        if content is None:
            continue
        if not _SUBTYPE.fullmatch(subtype):
            raise InvalidMessageError(
                f"alts has the type {subtype!r}: write a subtype of text, as 'html' or 'calendar'"
            )
        is_html = subtype == "html"
        if is_html and rendering.inline_css:
            content = inline_styles(content)
        part = _text(content, subtype.removeprefix("text/"), charset)
        if is_html and related:
            part = _multipart("related", part)
            for file in related:
                part.attach(_part(file, rendering))
        parts.append(part)
    return _multipart("alternative", *parts)


def _text_body(message: Message, rendering: Rendering) -> str:
    wanted = rendering.text_from_html
    if wanted is None:
        wanted = can_make_text()
    if wanted and message.html and not message.body:
        return text_of(message.html)
    return force_text(message.body or "")


def _multipart(subtype: str, *parts: Part) -> Part:
    multipart = MIMEMultipart(subtype)
    for part in parts:
        multipart.attach(part)
    return multipart


def _text(text: str, subtype: str, encoding: str) -> Part:
    text = force_text(text)
    charset = Charset(encoding)
    try:
        text.encode(charset.output_codec or "us-ascii")
    except (UnicodeEncodeError, LookupError):
        charset = Charset("utf-8")
    if charset.output_charset == "utf-8":
        # As it is where every line fits; base64, the default, has spam filters suspicious.
        longest = max(map(len, text.encode().splitlines()), default=0)
        if longest > _LONGEST_LINE:
            charset.body_encoding = QP
        else:
            charset.body_encoding = None  # type: ignore[assignment]
    part = MIMENonMultipart("text", subtype)
    part.set_payload(text, charset)
    return part


def _headers(root: Part, message: Message, rendering: Rendering, charset: str) -> None:
    for name, value in _fields(message, rendering, charset):
        root[name] = value
    set_addresses(root, "To", header_addresses(message.recipients or (), charset))
    set_addresses(root, "Cc", header_addresses(message.cc or (), charset))
    if message.reply_to:
        answers = message.reply_to if isinstance(message.reply_to, list) else [message.reply_to]
        set_addresses(root, "Reply-To", header_addresses(answers, charset))
    for name, value in (message.extra_headers or {}).items():
        if value is not None:
            set_text(root, name, value, charset)


def _fields(message: Message, rendering: Rendering, charset: str) -> Iterator[tuple[str, str]]:
    if message.subject:
        yield "Subject", fold("Subject", sanitize_subject(message.subject, charset))
    if message.sender:
        yield "From", fold("From", sanitize_address(message.sender, charset))
    if isinstance(message.date, datetime):
        yield "Date", format_datetime(message.date)
    else:
        yield "Date", formatdate(message.date, localtime=rendering.local_time)
    yield "Message-ID", message.msgId
