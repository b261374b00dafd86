"""The signed link with which one recipient leaves one stream of mail."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.dispatch import Signal

from django_integration.addresses import envelope_address
from mailbackends import ConfigurationError
from mailbackends.integration import (
    InvalidToken,
    Subscription,
    check_unsubscribe_stream,
    check_unsubscribe_url,
    only_recipient,
    with_unsubscribe_fields,
)

__all__ = [
    "SETTING", "InvalidToken", "Subscription", "add_unsubscribe", "read_token",
    "unsubscribe_url", "unsubscribed",
]  # fmt: skip

SETTING = "MAILBACKENDS_UNSUBSCRIBE_URL"
_SALT = "django_integration.unsubscribe"

unsubscribed: Signal = Signal()
"""Sent after somebody has unsubscribed; receivers get ``address``, ``stream``, ``request`` and
``subscription``. The sender is `Subscription`.

A mail program may send the same request several times, so that acting twice must do no harm. If
a receiver raises, the others are called all the same, and the request fails: it can be sent
again."""


def unsubscribe_url(address: str, stream: str) -> str:
    """The link for one recipient. The token in it is signed, not encrypted.

    Raises:
        ConfigurationError: ``MAILBACKENDS_UNSUBSCRIBE_URL`` is not set, or not a https URL.
    """
    base = getattr(settings, SETTING, None)
    if not base:
        raise ConfigurationError(
            f"{SETTING} is not set: set it to the public URL of "
            "django_integration.unsubscribe.urls, such as 'https://www.example.com/unsubscribe/'"
        )
    check_unsubscribe_stream(stream)
    # No colons: some mail programs end a link there.
    token = signing.dumps([address, stream], salt=_SALT).replace(":", "~")
    return f"{check_unsubscribe_url(str(base), SETTING).rstrip('/')}/{token}/"


def read_token(token: str) -> Subscription:
    """The subscription that the token of a link names.

    Raises:
        InvalidToken: it is forged, damaged or older than MAILBACKENDS_UNSUBSCRIBE_MAX_AGE seconds
            (None: no limit).
    """
    max_age = getattr(settings, "MAILBACKENDS_UNSUBSCRIBE_MAX_AGE", None)
    try:
        found: Any = signing.loads(token.replace("~", ":"), salt=_SALT, max_age=max_age)
        address, stream = found
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidToken("this link is not valid, or no longer") from error
    return Subscription(str(address), str(stream))


def add_unsubscribe(message: EmailMessage, stream: str) -> None:
    """Give the message the fields for its one recipient; the backend does so for
    ``message.unsubscribe``.

    Raises:
        InvalidMessageError: it has several recipients, who would share one link.
        ConfigurationError: as `unsubscribe_url`.
    """
    recipient = only_recipient(message.recipients())
    url = unsubscribe_url(envelope_address(recipient), stream)
    message.extra_headers = with_unsubscribe_fields(message.extra_headers, url)
