"""A plain message of Django, written without Django's and the email package's objects."""

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

from django_integration.compat import HAS_MODERN_EMAIL, settings_now
from mailbackends import WrittenMessage, written_message

__all__ = ["written"]

# What makes a message. A class or a message that has one of these of its own is built by it.
_MAKERS = tuple(
    name
    for name in (
        *("message", "_add_bodies", "_add_attachments", "_add_attachment"),
        *("_set_list_header_if_not_empty", "_idna_encode_address_header_domains"),
    )
    if hasattr(EmailMessage, name)  # not all of them in Django 5.2
)
# Each of them makes Django write something else, or raise an error that says what is wrong.
_NOT_PLAIN = frozenset({*_MAKERS, "encoding", "mixed_subtype", "alternative_subtype"})
# Those that Django takes from its own attributes, or looks for.
_OWN_FIELDS = frozenset(
    {"subject", "from", "to", "cc", "reply-to", "bcc", "date", "message-id", "mime-version"}
)


_makers: Callable[[type], tuple[Any, ...]] = attrgetter(*_MAKERS)

# As they are when this is imported: what is patched later is somebody's wish. Django 5.2 has
# the legacy classes of the email package, and goes the long way.
_DJANGOS: tuple[tuple[type, tuple[Any, ...]], ...] = (
    tuple((kind, _makers(kind)) for kind in (EmailMultiAlternatives, EmailMessage))
    if HAS_MODERN_EMAIL
    else ()
)


def written(message: EmailMessage, build: Callable[[], Message[Any, Any]]) -> WrittenMessage | None:
    """What ``build()`` gives by ``email.policy.SMTP``; None where that has to be asked.

    The local parts of all addresses of the envelope are ASCII.
    """
    now = settings_now()
    if not _is_plain(message) or str(now.DEFAULT_CHARSET) != "utf-8":
        return None
    alternatives: list[Any] = []
    if isinstance(message, EmailMultiAlternatives):
        alternatives += message.alternatives
    attachments: list[Any] = list(message.attachments)
    body: Any = message.body
    if not isinstance(body, str):
        return None
    is_empty = not body and (attachments or alternatives)
    try:
        parts = [(_text(kind, content), kind) for content, kind in alternatives]
        files = [(_name(name), _text(kind, content), kind) for name, content, kind in attachments]
        fields = _fields(message, UTC if not now.EMAIL_USE_LOCALTIME else get_current_timezone())
    except (TypeError, ValueError, UnicodeError):  # something else stands there: Django knows
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
    """The message object, by the name and of the time that were told already."""
    message = build()
    for name in ("Date", "Message-ID"):
        message.replace_header(name, fields[name])
    return message


def _is_plain(message: EmailMessage) -> bool:
    return _NOT_PLAIN.isdisjoint(vars(message)) and _is_djangos(type(message))


def _is_djangos(kind: type) -> bool:
    """True where the methods of the class are Django's, also at this moment."""
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
    return name


def _text(kind: str, content: Any) -> str | bytes:
    if not isinstance(content, bytes | str):
        raise TypeError("neither bytes nor text")
    if kind.startswith("text/"):
        return content.decode() if isinstance(content, bytes) else content
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
    # Handed over as Django does: the name is asked for once, and remembered.
    fields.append(("Message-ID", make_msgid(domain=str(DNS_NAME))))
    fields += extra.items()
    return fields


@lru_cache(maxsize=8)  # of this second: it takes as long as all other fields together
def _date(moment: int, zone: tzinfo) -> str:
    return format_datetime(datetime.fromtimestamp(moment, zone))
