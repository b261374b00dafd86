"""Plain messages of Django, written as bytes without building an email object."""

from __future__ import annotations

import email.policy
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from email.message import Message
from email.utils import format_datetime, formatdate, make_msgid
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

from django.core.mail import DNS_NAME, EmailMessage, EmailMultiAlternatives
from django.core.mail import message as django_message
from django.utils.timezone import get_current_timezone

from django_integration.attachments import InlineImage
from django_integration.compat import HAS_MODERN_EMAIL, current_settings
from mailbackends.integration import (
    FilePart,
    LegacyLayout,
    Part,
    TextPart,
    WrittenMessage,
    composed,
    written_message,
)

__all__ = ["written"]

# The methods that build a message. A class or message that replaces one is built by it. In
# Django 5.2 they are others than in 6.0.
_MAKERS = tuple(
    name
    for name in (
        *("message", "_set_list_header_if_not_empty", "_idna_encode_address_header_domains"),
        *("_add_bodies", "_add_attachments", "_add_attachment"),
        *("_create_message", "_create_attachments", "_create_mime_attachment"),
        *("_create_attachment", "mixed_subtype"),
    )
    if hasattr(EmailMessage, name)
)
_ALTERNATIVE_MAKERS = tuple(
    name
    for name in ("_create_alternatives", "alternative_subtype")
    if hasattr(EmailMultiAlternatives, name)
)
# Each of these makes Django write something else, or raise an error with an explanation.
_NOT_PLAIN = frozenset(
    {*_MAKERS, *_ALTERNATIVE_MAKERS, "encoding", "mixed_subtype", "alternative_subtype"}
)
# Fields that Django sets from attributes, or looks up in the extra headers.
_OWN_FIELDS = frozenset({"subject", "from", "to", "cc", "reply-to", "bcc", "mime-version"})
_SUBTYPE = re.compile(r"[A-Za-z0-9.+-]+")
# As the email package's classes in use lay out a message.
_LAYOUT = {} if HAS_MODERN_EMAIL else {"layout": LegacyLayout(email.policy.compat32)}


def _makers(names: Sequence[str]) -> Callable[[type], Any]:
    return attrgetter(*names)


# As they are at import: a later patch is intended to have an effect.
_DJANGOS: tuple[tuple[type, Callable[[type], Any], Any], ...] = tuple(
    (kind, makers, makers(kind))
    for kind, makers in (
        (EmailMultiAlternatives, _makers((*_MAKERS, *_ALTERNATIVE_MAKERS))),
        (EmailMessage, _makers(_MAKERS)),
    )
)


def written(message: EmailMessage, build: Callable[[], Message[Any, Any]]) -> WrittenMessage | None:
    """The bytes of ``build()``; None if the message must be built.

    These are the bytes with ``email.policy.SMTP``, or with ``compat32`` in Django 5.2, where the
    message must have no values that Django itself cannot handle. The local parts of all
    addresses in the envelope must be ASCII.
    """
    if not (_NOT_PLAIN.isdisjoint(vars(message)) and _is_djangos(type(message))):
        return None
    now = current_settings()
    if str(now.DEFAULT_CHARSET) != "utf-8":
        return None
    body: Any = message.body
    if not isinstance(body, str):
        return None
    # A SimpleLazyObject passes for a string, and is not one.
    text = TextPart(str(body), message.content_subtype)
    alternatives: Sequence[Any] = ()
    if isinstance(message, EmailMultiAlternatives):
        alternatives = message.alternatives
    attachments: Sequence[Any] = message.attachments
    try:
        further = [_part(content, kind, None) for content, kind in alternatives]
        files = [_attached(entry) for entry in attachments]
        fields = _fields(message, now)
    except (TypeError, ValueError, UnicodeError):  # values that Django handles
        return None
    is_empty = not body and (attachments or alternatives)
    return written_message(
        fields,
        composed(None if is_empty else text, further, files),
        partial(_built_the_same, build, dict(fields)),
        **_LAYOUT,
    )


def _built_the_same(build: Callable[[], Message[Any, Any]], fields: dict[str, Any]) -> Any:
    """The message object, with the Date and Message-ID already reported."""
    message = build()
    for name in ("Date", "Message-ID"):
        message.replace_header(name, fields[name])
    return message


def _is_djangos(kind: type) -> bool:
    """True if the class has Django's own methods, and they are not patched."""
    if not _is_unmarked(kind):
        return False
    for base, makers, own in _DJANGOS:
        if issubclass(kind, base):
            return bool(own == makers(kind))
    return False


@lru_cache(maxsize=256)
def _is_unmarked(kind: Any) -> bool:
    if getattr(kind, "encoding", None) is not None:
        return False
    # Attributes of Django 5.2, where they are compared with the makers.
    names = ("mixed_subtype", "alternative_subtype") if HAS_MODERN_EMAIL else ()
    return not any(hasattr(kind, name) for name in names)


# --- Parts ----------------------------------------------------------------------------------


def _attached(entry: Any) -> Part:
    if isinstance(entry, Message):
        if isinstance(entry, InlineImage):
            raise TypeError("moved next to the HTML when the message is built")
        return entry
    name, content, kind = entry
    if not isinstance(name, str) or not name:
        raise TypeError("no name")
    return _part(content, kind, str(name))


def _part(content: Any, kind: str, name: str | None) -> Part:
    if kind.startswith("text/"):
        content = content.decode() if isinstance(content, bytes) else content
        subtype = kind.removeprefix("text/")
        if not isinstance(content, str) or not _SUBTYPE.fullmatch(subtype):
            raise TypeError("neither bytes nor text")
        return TextPart(str(content), subtype, name)
    if not isinstance(content, bytes) or kind.startswith(("message/", "multipart/")):
        raise TypeError("not bytes")
    return FilePart(content, kind, name, None if name is None else "attachment")


# --- Header fields --------------------------------------------------------------------------


def _fields(message: EmailMessage, now: Any) -> list[tuple[str, str | Sequence[str]]]:
    extra = message.extra_headers
    for name, value in extra.items():
        if not isinstance(value, str) or str(name).lower() in _OWN_FIELDS:
            raise TypeError("a value that Django handles")
    fields: list[tuple[str, str | Sequence[str]]] = [
        ("Subject", str(message.subject)),
        ("From", [str(message.from_email)]),
    ]
    for name, values in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        if values:
            fields.append((name, [str(value) for value in values]))
    if "Date" not in extra:
        moment, local = int(time.time()), now.EMAIL_USE_LOCALTIME
        if HAS_MODERN_EMAIL:
            date = _date(moment, get_current_timezone() if local else UTC)
        else:
            date = _legacy_date(moment, local, (time.timezone, time.altzone))
        fields.append(("Date", date))
    if "Message-ID" not in extra:
        # As Django does it: DNS_NAME looks the name up once.
        fields.append(("Message-ID", make_msgid(domain=str(DNS_NAME))))
    fields += [(name, str(value)) for name, value in extra.items()]
    return fields if HAS_MODERN_EMAIL else _as_django_5_sets(fields)


# Cached per second: formatting takes as long as all other fields together.
@lru_cache(maxsize=8)
def _date(moment: int, zone: tzinfo) -> str:
    return format_datetime(datetime.fromtimestamp(moment, zone))


@lru_cache(maxsize=8)
def _legacy_date(moment: int, local_time: bool, zone: tuple[int, int]) -> str:
    return formatdate(moment, localtime=local_time)


# A value that is short enough to be left as it is by `email.header.Header`.
_SHORT = 60


def _as_django_5_sets(
    fields: list[tuple[str, str | Sequence[str]]],
) -> list[tuple[str, str | Sequence[str]]]:
    """Each value as one text. What is not ASCII is encoded, and a long subject folded."""
    made: list[tuple[str, str | Sequence[str]]] = []
    for name, value in fields:
        text = value if isinstance(value, str) else ", ".join(value)
        if len(text) > _SHORT or not (text.isascii() and text.isprintable()):
            text = _encoded(name, text)
        made.append((name, text))
    return made


@lru_cache(maxsize=256)
def _encoded(name: str, text: str) -> str:
    # Only Django 5.2 has this function.
    return str(django_message.forbid_multi_line_headers(name, text, "utf-8")[1])  # type: ignore[attr-defined, unused-ignore]
