"""A plain message of Django, written without Django's and the email package's objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime, make_msgid
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.core.mail import DNS_NAME, EmailMessage, EmailMultiAlternatives
from django.utils.timezone import get_current_timezone

from django_integration.compat import HAS_MODERN_EMAIL, email_setting
from mailbackends import WrittenMessage, written_message

__all__ = ["written"]

# What makes a message. A class or a message that has one of these of its own is built by it.
_MAKERS = (
    *("message", "_add_bodies", "_add_attachments", "_add_attachment"),
    *("_set_list_header_if_not_empty", "_idna_encode_address_header_domains"),
)
# Each of them makes Django write something else, or raise an error that says what is wrong.
_NOT_PLAIN = frozenset({*_MAKERS, "encoding", "mixed_subtype", "alternative_subtype"})
# Those that Django takes from its own attributes, or looks for.
_OWN_FIELDS = frozenset(
    {"subject", "from", "to", "cc", "reply-to", "bcc", "date", "message-id", "mime-version"}
)


def _makers(kind: type) -> tuple[Any, ...]:
    return tuple(getattr(kind, name, None) for name in _MAKERS)


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
    if not _is_plain(message):
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
        files = [(name, _text(kind, content), kind) for name, content, kind in attachments]
        fields = _fields(message)
    except (TypeError, ValueError, UnicodeError):  # something else stands there: Django knows
        return None
    if fields is None or not all(isinstance(name, str) and name for name, _, _ in files):
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
    if not _NOT_PLAIN.isdisjoint(vars(message)) or not _is_djangos(type(message)):
        return False
    return str(settings.DEFAULT_CHARSET) == "utf-8"


def _is_djangos(kind: type) -> bool:
    """True where the methods of the class are Django's, also at this moment."""
    if not _is_unmarked(kind):
        return False
    found = (makers for base, makers in _DJANGOS if issubclass(kind, base))
    return next(found, None) == _makers(kind)


@lru_cache(maxsize=256)
def _is_unmarked(kind: Any) -> bool:
    has_charset = getattr(kind, "encoding", None) is not None
    return not (
        has_charset or hasattr(kind, "mixed_subtype") or hasattr(kind, "alternative_subtype")
    )


def _text(kind: str, content: Any) -> str | bytes:
    if not isinstance(content, bytes | str):
        raise TypeError("neither bytes nor text")
    if kind.startswith("text/"):
        return content.decode() if isinstance(content, bytes) else content
    if isinstance(content, str) or kind.startswith(("message/", "multipart/")):
        raise TypeError("not bytes")
    return content


def _fields(message: EmailMessage) -> list[tuple[str, str | Sequence[str]]] | None:
    extra = message.extra_headers
    names = {str(name).lower() for name in extra}
    if not _OWN_FIELDS.isdisjoint(names) or not all(isinstance(v, str) for v in extra.values()):
        return None
    fields: list[tuple[str, str | Sequence[str]]] = [
        ("Subject", str(message.subject)),
        ("From", [str(message.from_email)]),
    ]
    for name, values in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        if values:
            fields.append((name, [str(value) for value in values]))
    zone = get_current_timezone() if email_setting("EMAIL_USE_LOCALTIME") else UTC
    fields.append(("Date", format_datetime(datetime.now(zone))))
    # Handed over as Django does: the name is asked for once, and remembered.
    fields.append(("Message-ID", make_msgid(domain=str(DNS_NAME))))
    fields += extra.items()
    return fields
