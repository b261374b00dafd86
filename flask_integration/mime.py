"""A `Message` as an email: header fields, alternatives, related images, attachments (RFC 2046)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from datetime import datetime
from email import policy
from email.message import Message
from email.utils import format_datetime, formatdate
from functools import lru_cache, partial
from typing import Any, Protocol

from flask_integration.addresses import (
    encode_words,
    force_text,
    header_addresses,
    sanitize_address,
    sanitize_subject,
)
from flask_integration.attachment import Attachment, to_part
from flask_integration.headers import fold
from flask_integration.rendering import Rendering
from mailbackends import InvalidMessageError
from mailbackends.integration import (
    LegacyLayout,
    Part,
    TextPart,
    WrittenMessage,
    can_make_text,
    composed,
    inline_styles,
    text_of,
    with_images,
    written_message,
)

__all__ = ["Content", "build", "written"]

_SUBTYPE = re.compile(r"(?:text/)?[A-Za-z0-9!#$&^_.+-]+(?:\s*;[^\r\n]*)?")
# As Flask-Mail lays out its messages. The fields are folded here already.
_LAYOUT = LegacyLayout(policy.SMTP)


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
    attachments: list[Attachment | Message]
    extra_headers: Any

    @property
    def html(self) -> str | None:
        """The HTML alternative."""

    @property
    def msgId(self) -> str:
        """The Message-ID."""


def build(message: Content, rendering: Rendering) -> Message:
    """Return the email that ``message`` describes as an object, without Bcc.

    Line breaks in header fields are removed here; sending refuses them.

    Raises:
        InvalidMessageError: the type of an attachment or an alternative is invalid.
        ConfigurationError: a library that the configuration asks for is missing.
    """
    root = _LAYOUT.build(_content(message, rendering))
    for name, value in _fields(message, rendering):
        del root[name]  # it replaces a field of the body
        root[name] = value
    root.policy = policy.SMTP
    return root


def written(message: Content, rendering: Rendering) -> WrittenMessage | None:
    """Return the bytes of ``build(message, rendering)``; None if it has to be called.

    Raises: as `build`.
    """
    return written_message(
        _fields(message, rendering),
        _content(message, rendering),
        partial(build, message, rendering),
        _LAYOUT,
    )


# --- Header fields --------------------------------------------------------------------------


def _fields(message: Content, rendering: Rendering) -> list[tuple[str, str]]:
    """The header fields, folded. An extra header replaces a field of the same name."""
    charset = message.charset or rendering.charset
    fields = {name.lower(): (name, value) for name, value in _own_fields(message, rendering)}
    for name, value in (message.extra_headers or {}).items():
        if value is not None:
            name = force_text(name)
            fields.pop(name.lower(), None)
            value = fold(name, encode_words(force_text(value), charset))
            fields[name.lower()] = name, value
    return list(fields.values())


def _own_fields(message: Content, rendering: Rendering) -> Iterator[tuple[str, str]]:
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


# --- The body -------------------------------------------------------------------------------


def _content(message: Content, rendering: Rendering) -> Part:
    """The text, its alternatives, the images in the HTML and the files."""
    charset = (message.charset or rendering.charset).lower()
    images = [file for file in message.attachments if message.html and _is_related(file)]
    body = TextPart(_text_body(message, rendering), charset=charset)
    alternatives: list[Part] = []
    # The last alternative is the preferred one (RFC 2046 section 5.1.4).
    for subtype, content in message.alts.items():
        if content is None:
            continue
        if not _SUBTYPE.fullmatch(subtype):
            raise InvalidMessageError(
                f"alts has the invalid type {subtype!r}: write a subtype of text, such as 'html'"
            )
        is_html = subtype == "html"
        if is_html and rendering.inline_css:
            content = inline_styles(content, setting="MAIL_INLINE_CSS")
        text = TextPart(force_text(content), subtype.removeprefix("text/"), charset=charset)
        shown = [_file(image, rendering) for image in images] if is_html else []
        alternatives.append(with_images(text, shown))
    files = [_file(file, rendering) for file in message.attachments if file not in images]
    return composed(body, alternatives, files) or body


def _is_related(file: Attachment | Message) -> bool:
    return isinstance(file, Attachment) and file.is_related


def _file(file: Attachment | Message, rendering: Rendering) -> Part:
    if isinstance(file, Message):
        return file
    return to_part(file, ascii_filename=rendering.ascii_filenames)


def _text_body(message: Content, rendering: Rendering) -> str:
    wanted = rendering.text_from_html
    if wanted is None:
        wanted = can_make_text()
    if wanted and message.html and not message.body:
        return text_of(message.html, setting="MAIL_TEXT_FROM_HTML")
    return force_text(message.body or "")
