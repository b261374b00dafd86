"""Plain messages of Django, written as bytes without building an email object."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from email.message import Message
from email.utils import format_datetime, make_msgid
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

from django.core.mail import DNS_NAME, EmailMessage, EmailMultiAlternatives
from django.utils.timezone import get_current_timezone

from django_integration.compat import HAS_MODERN_EMAIL, current_settings
from mailbackends.integration import WrittenMessage, written_message

__all__ = ["written"]

# The methods that build a message. A class or message that replaces one is built by it.
_MAKERS = tuple(
    name
    for name in (
        *("message", "_add_bodies", "_add_attachments", "_add_attachment"),
        *("_set_list_header_if_not_empty", "_idna_encode_address_header_domains"),
    )
    if hasattr(EmailMessage, name)  # not all of them in Django 5.2
)
# Each of these makes Django write something else, or raise an error with an explanation.
_NOT_PLAIN = frozenset({*_MAKERS, "encoding", "mixed_subtype", "alternative_subtype"})
# Fields that Django sets from attributes, or looks up in the extra headers.
_OWN_FIELDS = frozenset(
    {"subject", "from", "to", "cc", "reply-to", "bcc", "date", "message-id", "mime-version"}
)


_makers: Callable[[type], tuple[Any, ...]] = attrgetter(*_MAKERS)

# As they are at import: a later patch is intended to have an effect. Django 5.2 builds the
# email package's legacy classes, and its messages are always built.
_DJANGOS: tuple[tuple[type, tuple[Any, ...]], ...] = (
    tuple((kind, _makers(kind)) for kind in (EmailMultiAlternatives, EmailMessage))
    if HAS_MODERN_EMAIL
    else ()
)


def written(message: EmailMessage, build: Callable[[], Message[Any, Any]]) -> WrittenMessage | None:
    """The bytes of ``build()`` with ``email.policy.SMTP``; None if the message must be built.

    The local parts of all addresses in the envelope must be ASCII.
    """
    if not _DJANGOS or not _is_plain(message):
        return None
    now = current_settings()
    if str(now.DEFAULT_CHARSET) != "utf-8":
        return None
    alternatives: list[Any] = []
    if isinstance(message, EmailMultiAlternatives):
        alternatives += message.alternatives
    attachments: list[Any] = list(message.attachments)
    body: Any = message.body
    if not isinstance(body, str):
        return None
    body = str(body)  # a SimpleLazyObject passes for a string, and is not one
    is_empty = not body and (attachments or alternatives)
    try:
        parts = [(_text(kind, content), kind) for content, kind in alternatives]
        files = [(_name(name), _text(kind, content), kind) for name, content, kind in attachments]
        fields = _fields(message, UTC if not now.EMAIL_USE_LOCALTIME else get_current_timezone())
    except (TypeError, ValueError, UnicodeError):  # values that Django handles
        return None
    if fields is None:
        return None
    return written_message(
        fields,
        None if is_empty else body,
        partial(_built_the_same, build, dict(fields)),
        subtype=message.content_subtype,
        alternatives=parts,
        attachments=files,
    )


def _built_the_same(build: Callable[[], Message[Any, Any]], fields: dict[str, Any]) -> Any:
    """The message object, with the Date and Message-ID already reported."""
    message = build()
    for name in ("Date", "Message-ID"):
        message.replace_header(name, fields[name])
    return message


def _is_plain(message: EmailMessage) -> bool:
    return _NOT_PLAIN.isdisjoint(vars(message)) and _is_djangos(type(message))


def _is_djangos(kind: type) -> bool:
    """True if the class has Django's own methods, and they are not patched."""
    if not _is_unmarked(kind):
        return False
    for base, makers in _DJANGOS:
        if issubclass(kind, base):
            return makers == _makers(kind)
    return False


@lru_cache(maxsize=256)
def _is_unmarked(kind: Any) -> bool:
    has_charset = getattr(kind, "encoding", None) is not None
    return not (
        has_charset or hasattr(kind, "mixed_subtype") or hasattr(kind, "alternative_subtype")
    )


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError("no name")
    return str(name)


def _text(kind: str, content: Any) -> str | bytes:
    if not isinstance(content, bytes | str):
        raise TypeError("neither bytes nor text")
    if kind.startswith("text/"):
        return content.decode() if isinstance(content, bytes) else str(content)
    if isinstance(content, str) or kind.startswith(("message/", "multipart/")):
        raise TypeError("not bytes")
    return content


def _fields(message: EmailMessage, zone: tzinfo) -> list[tuple[str, str | Sequence[str]]] | None:
    extra = message.extra_headers
    for name, value in extra.items():
        if not isinstance(value, str) or str(name).lower() in _OWN_FIELDS:
            return None
    fields: list[tuple[str, str | Sequence[str]]] = [
        ("Subject", str(message.subject)),
        ("From", [str(message.from_email)]),
    ]
    for name, values in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        if values:
            fields.append((name, [str(value) for value in values]))
    fields.append(("Date", _date(int(time.time()), zone)))
    # As Django does it: DNS_NAME looks the name up once.
    fields.append(("Message-ID", make_msgid(domain=str(DNS_NAME))))
    fields += [(name, str(value)) for name, value in extra.items()]
    return fields


@lru_cache(maxsize=8)  # per second: formatting takes as long as all other fields together
def _date(moment: int, zone: tzinfo) -> str:
    return format_datetime(datetime.fromtimestamp(moment, zone))
