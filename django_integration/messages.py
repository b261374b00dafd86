"""From Django's message to what a `Mailer` sends: the only place where the two meet."""

from __future__ import annotations

import email
import email.policy
import inspect
from email.message import Message
from functools import lru_cache, partial
from typing import Any

from django.core.mail import EmailMessage
from django.utils.encoding import force_str

from django_integration.addresses import envelope_address
from django_integration.attachments import group_inline_images
from django_integration.compat import HAS_MODERN_EMAIL
from django_integration.errors import SendCancelled
from django_integration.fast import written
from django_integration.staging import ORIGINAL_RECIPIENTS, Staging
from mailbackends import InvalidMessageError, Submission

__all__ = ["as_submission"]

_ADDRESS_FIELDS = {"From": "from_email", "To": "to", "Cc": "cc", "Reply-To": "reply_to"}


def as_submission(message: EmailMessage, staging: Staging, *, fast: bool = False) -> Submission:
    """The message with its envelope, for the `Mailer`.

    With ``fast``, a plain message is written as bytes without building an email object.

    Raises:
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
    sender = envelope_address(message.from_email)
    recipients = [envelope_address(address) for address in given]
    needs_utf8 = not sender.isascii() or not "".join(recipients).isascii()
    if needs_utf8:  # not because of a domain, which is sent as A-labels
        needs_utf8 = not all(path.rpartition("@")[0].isascii() for path in (sender, *recipients))
    withheld: list[str] = []
    if staging.is_active:
        recipients, withheld = staging.apply(recipients)
        if not recipients:
            raise SendCancelled(
                f"none of the recipients is in allowed_recipients: {', '.join(withheld)}"
            )
    if fast and not needs_utf8 and not withheld:
        ready = written(message, partial(_built, message, False))
        if ready is not None:
            return Submission(ready, sender, tuple(recipients))
    mime = _built(message, needs_utf8)
    if withheld:
        mime[ORIGINAL_RECIPIENTS] = ", ".join(withheld)
    return Submission(mime, sender, tuple(recipients))


def _built(message: EmailMessage, needs_utf8: bool) -> Message[Any, Any]:
    try:
        mime: Message[Any, Any]
        if HAS_MODERN_EMAIL and _takes_policy(type(message).message):
            policy = email.policy.SMTPUTF8 if needs_utf8 else email.policy.SMTP
            mime = message.message(policy=policy)  # type: ignore[call-arg, unused-ignore]
        else:
            mime = message.message()
    except ValueError as error:
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


def _explained(error: ValueError, message: EmailMessage) -> ValueError:
    """An error that names the header field with the line break, or else the same error.

    Django 5.2 names it in its own exception class, which applications may catch.
    """
    if type(error) is not ValueError:
        return error
    fields: list[tuple[str, Any]] = [("Subject", message.subject)]
    for field, attribute in _ADDRESS_FIELDS.items():
        value = getattr(message, attribute)
        fields += [(field, entry) for entry in (value if isinstance(value, list) else [value])]
    fields += list(message.extra_headers.items())
    for name, value in fields:
        text = f"{name}: {value}"
        if "\n" in text or "\r" in text:
            return InvalidMessageError(
                f"the header field {name!r} contains a line break: {str(value)[:200]!r}. "
                "Remove it, since it would start another header field."
            )
    return error


def _subject(message: EmailMessage) -> str:
    return repr(str(message.subject)[:60])
