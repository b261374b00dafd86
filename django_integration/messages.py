"""From Django's message to what a `Mailer` sends: the only place where the two meet."""

from __future__ import annotations

import copy
import email
import email.policy
import inspect
import re
from collections.abc import Iterable
from email.charset import Charset
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Policy
from email.utils import formataddr, parseaddr
from functools import lru_cache, partial
from typing import Any

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.encoding import force_str

from django_integration.addresses import envelope_address, with_quotes
from django_integration.attachments import group_inline_images
from django_integration.compat import HAS_MODERN_EMAIL, LAZY, parsed_message, resolve_lazy
from django_integration.errors import InvalidHeaderError, SendCancelled
from django_integration.fast import written
from django_integration.staging import ORIGINAL_RECIPIENTS, Staging
from django_integration.unsubscribe.links import add_unsubscribe
from mailbackends import InvalidMessageError, SMTPException, Submission
from mailbackends.integration import check_visible, to_ascii

__all__ = ["RawEmailMessage", "as_submission"]

_ADDRESS_FIELDS = {"From": "from_email", "To": "to", "Cc": "cc", "Reply-To": "reply_to"}


# Django calls no backend for a message without recipients, and others set no attributes: with a
# default, no view has to ask whether they exist.
for _name in ("receipt", "send_error"):
    if not hasattr(EmailMessage, _name):
        setattr(EmailMessage, _name, None)


class RawEmailMessage(EmailMessage):
    """A message that is sent byte for byte as given: signed, or received and passed on.

    ``from_email`` and ``to`` are the envelope. Nothing is taken from or added to the header
    of ``content``, so a ``pre_send`` receiver can change the envelope only. Line ends go out
    as CRLF. Other backends get the parsed message from `message`.

    Raises:
        TypeError: ``content`` is not bytes.
    """

    def __init__(
        self, content: bytes, from_email: str, to: Iterable[str], *, connection: Any = None
    ) -> None:
        if not isinstance(content, bytes | bytearray | memoryview):
            raise TypeError(
                f"content must be bytes, got {type(content).__name__}: "
                "use as_bytes() of a message object"
            )
        self.content: bytes = bytes(content)
        header = BytesHeaderParser(policy=email.policy.compat32).parsebytes(self.content)
        subject = str(make_header(decode_header(header["Subject"] or "")))
        super().__init__(subject, "", from_email, list(to), connection=connection)

    def message(self, *, policy: Policy[Any] | None = None) -> Any:
        """The parsed content."""
        return parsed_message(self.content, policy)


def as_submission(message: EmailMessage, staging: Staging, *, fast: bool = False) -> Submission:
    """The message with its envelope, for the `Mailer`.

    With ``fast``, a plain message is written as bytes without building an email object.

    Raises:
        ConfigurationError: ``unsubscribe`` is set, and links for it cannot be made.
        ValueError: a header field contains a line break, or an address is invalid
            (`InvalidMessageError`, `InvalidAddressError`, or Django's own exception).
        SendCancelled: no recipients are given, or none is in ``allowed_recipients``.
    """
    given = message.recipients()
    if not given:
        raise SendCancelled(f"the message {_subject(message)} has no recipients")
    if not message.from_email:
        raise InvalidMessageError(
            f"the message {_subject(message)} has no sender: set from_email or DEFAULT_FROM_EMAIL"
        )
    stream = getattr(message, "stream", None)
    if link := getattr(message, "unsubscribe", None):
        stream = stream or link
        if isinstance(message, RawEmailMessage):
            raise InvalidMessageError(
                "a RawEmailMessage is sent as it is: write the fields of unsubscribe into it"
            )
        add_unsubscribe(message, link)
    sender = envelope_address(message.from_email)
    if reference := getattr(message, "bounce_reference", None):
        from django_integration.bounces import envelope_sender  # few messages have one

        sender = envelope_sender(reference)
    recipients = [envelope_address(address) for address in given]
    # Not because of a domain, which is sent as A-labels.
    needs_utf8 = not "".join((sender, *recipients)).isascii() and not all(
        path.rpartition("@")[0].isascii() for path in (sender, *recipients)
    )
    withheld: list[str] = []
    if staging.is_active:
        recipients, withheld = staging.apply(recipients)
    original = _visible(withheld, message) if withheld else []
    if isinstance(message, RawEmailMessage):
        head = f"{ORIGINAL_RECIPIENTS}: {', '.join(original)}\r\n".encode() if original else b""
        return Submission(head + message.content, sender, tuple(recipients), stream=stream)
    if fast and not needs_utf8 and not original and '"' not in "".join(recipients):
        build = partial(_built, message, False)
        try:
            ready = written(message if HAS_MODERN_EMAIL else _simplified(message), build)
        except (ValueError, TypeError):  # reported when the message is built
            ready = None
        if ready is not None:
            return Submission(ready, sender, tuple(recipients), stream=stream)
    mime = _built(message, needs_utf8)
    if original:
        mime[ORIGINAL_RECIPIENTS] = ", ".join(original)
    return Submission(mime, sender, tuple(recipients), stream=stream)


def _visible(withheld: list[str], message: EmailMessage) -> list[str]:
    """Those of the withheld recipients whom To or Cc names: the others are blind copies."""
    named = {envelope_address(address) for address in (*message.to, *message.cc)}
    return [address for address in withheld if address in named]


def _built(message: EmailMessage, needs_utf8: bool) -> Message[Any, Any]:
    try:
        message = _simplified(message)
        mime: Message[Any, Any]
        if HAS_MODERN_EMAIL and _takes_policy(type(message).message):
            policy = email.policy.SMTPUTF8 if needs_utf8 else email.policy.SMTP
            mime = message.message(policy=policy)  # type: ignore[call-arg, unused-ignore]
        else:
            mime = message.message()
    except (ValueError, TypeError) as error:
        raise _explained(error, message) from error
    if needs_utf8 and not HAS_MODERN_EMAIL:
        mime = _with_utf8_addresses(mime, message)
    # A subclass may have signed the message that its message() returns.
    if type(message).message in _DJANGOS_OWN:
        group_inline_images(mime)
    return mime


_DJANGOS_OWN = (EmailMessage.message,)


@lru_cache(maxsize=64)
def _takes_policy(method: Any) -> bool:
    """False for a ``message()`` written for a Django before 6.0."""
    parameters = inspect.signature(method).parameters
    return "policy" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _with_utf8_addresses(mime: Message[Any, Any], message: EmailMessage) -> Message[Any, Any]:
    """Restore local parts that are not ASCII: Django 5.2 writes them as encoded words."""
    rewritten = email.message_from_bytes(mime.as_bytes(), policy=email.policy.SMTPUTF8)
    for field, attribute in _ADDRESS_FIELDS.items():
        if field in rewritten:
            value = message.extra_headers.get(field, getattr(message, attribute))
            text = value if isinstance(value, list | tuple) else [value]
            rewritten.replace_header(field, ", ".join(force_str(entry) for entry in text))
    return rewritten


# What str.splitlines() takes for the end of a line, except CR and LF. The email package splits
# header values there, or refuses them.
_NOT_LINE_ENDS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_WITH_BLANKS = re.compile(" [^ <>@]+@")
_UTF8 = Charset("utf-8")


def _simplified(message: EmailMessage) -> EmailMessage:
    """The message, or a copy with values that Django and the email package can handle.

    Lazy values are evaluated. Domains become A-labels, so that the header has the same ones
    as the envelope. Values with unusual line ends become encoded words (RFC 2047).
    """
    # Nearly all messages need nothing, and are recognised without a call for each value.
    values = [message.subject, message.from_email, *message.to, *message.cc, *message.reply_to]
    values += message.extra_headers.values()
    parts: list[Any] = [message.body]
    for part in (*message.attachments, *getattr(message, "alternatives", ())):
        parts += part if isinstance(part, tuple) else ()
    for value in (*values, *parts):
        if type(value) is not str and issubclass(type(value), LAZY):
            break
    else:
        texts = "<".join(map(str, values))
        if texts.isascii() and texts.isprintable() and not _WITH_BLANKS.search(texts):
            return message
    simplified = {
        "subject": _text(message.subject),
        "body": resolve_lazy(message.body),
        "attachments": [_resolved_tuple(entry) for entry in message.attachments],
        "extra_headers": {
            name: (_mailbox if name in _ADDRESS_FIELDS else _text)(value)
            for name, value in message.extra_headers.items()
        },
    }
    for attribute in _ADDRESS_FIELDS.values():
        value = getattr(message, attribute)
        is_list = isinstance(value, list | tuple)
        simplified[attribute] = [_mailbox(entry) for entry in value] if is_list else _mailbox(value)
    if isinstance(message, EmailMultiAlternatives):
        simplified["alternatives"] = [_resolved_tuple(entry) for entry in message.alternatives]
    changes = {
        name: value
        for name, value in simplified.items()
        if _has_changed(getattr(message, name), value)
    }
    if not changes:
        return message
    copied = copy.copy(message)
    vars(copied).update(changes)
    return copied


def _has_changed(old: Any, new: Any) -> bool:
    """True unless both are or contain the same objects: a lazy text is equal to its value."""
    if old is new:
        return False
    if isinstance(new, dict):
        old, new = old.values(), new.values()
    if isinstance(new, str) or not isinstance(new, Iterable):
        return old is not new
    return any(before is not after for before, after in zip(old, new, strict=True))


def _resolved_tuple(entry: Any) -> Any:
    """An attachment or alternative with its lazy values evaluated."""
    if not isinstance(entry, tuple) or not any(issubclass(type(value), LAZY) for value in entry):
        return entry
    values = map(resolve_lazy, entry)
    return entry._make(values) if hasattr(entry, "_make") else tuple(values)


def _text(value: Any) -> Any:
    value = resolve_lazy(value)
    text = str(value)
    if not _NOT_LINE_ENDS.search(text) or "\n" in text or "\r" in text:
        return value
    return _encoded_words(text)


def _encoded_words(text: str) -> str:
    # Ten characters are at most 40 bytes, and an encoded word at most 75 characters long.
    parts = [text[start : start + 10] for start in range(0, len(text), 10)]
    return " ".join(_UTF8.header_encode(part) for part in parts)


def _mailbox(value: Any) -> Any:
    value = resolve_lazy(value)
    text = str(value)
    quoted = with_quotes(text)
    if text.isascii() or "\n" in text or "\r" in text:
        return value if quoted is text else quoted
    name, address = parseaddr(text)
    # Django 5.2 would write an encoded word in place of an address that has such a character.
    check_visible(address, of="header's")
    local, _, domain = address.rpartition("@")
    if not local or (domain.isascii() and not _NOT_LINE_ENDS.search(name)):
        return value
    if name.isascii():
        return formataddr((name, to_ascii(address)))
    return f"{_encoded_words(name)} <{to_ascii(address)}>"


def _explained(error: ValueError | TypeError, message: EmailMessage) -> Exception:
    """An error about a message, which is also a ``ValueError`` and an `SMTPException`.

    Queues of mail go on to the next message after an `SMTPException` only.
    """
    if isinstance(error, SMTPException):
        return error
    fields: list[tuple[str, Any]] = [("Subject", message.subject)]
    for field, attribute in _ADDRESS_FIELDS.items():
        value = getattr(message, attribute)
        fields += [(field, entry) for entry in (value if isinstance(value, list) else [value])]
    fields += list(message.extra_headers.items())
    for name, value in fields:
        text = f"{name}: {value}"
        if "\n" in text or "\r" in text:
            return InvalidHeaderError(
                f"the header field {name!r} contains a line break: {str(value)[:200]!r}. "
                "Remove it, since it would start another header field."
            )
    return InvalidMessageError(f"the message {_subject(message)} cannot be built: {error}")


def _subject(message: EmailMessage) -> str:
    return repr(str(message.subject)[:60])
