"""Fields with which a mailing can be left by one click (RFC 2369, RFC 8058), and their page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailbackends.errors import ConfigurationError, InvalidMessageError

__all__ = [
    "ONE_CLICK",
    "UNSUBSCRIBE_HEADERS",
    "UNSUBSCRIBE_PAGE",
    "UNSUBSCRIBE_TEMPLATE",
    "InvalidToken",
    "Subscription",
    "check_unsubscribe_stream",
    "check_unsubscribe_url",
    "only_recipient",
    "unsubscribe_fields",
    "unsubscribe_page_values",
    "with_unsubscribe_fields",
]

ONE_CLICK = "List-Unsubscribe=One-Click"
"""The value of List-Unsubscribe-Post, and the body of the request (RFC 8058 section 3.1)."""

# RFC 3986: what a URL consists of. Angle brackets, spaces and commas would end it in the field.
_URL = re.compile(r"https://[^\s<>\",/?#@]+(?:[/?#][!#$%&'()*+./0-9:;=?@A-Z_a-z~-]*)?")


def unsubscribe_fields(url: str) -> dict[str, str]:
    """The two header fields for one recipient, whom ``url`` identifies by a token.

    A mail program posts `ONE_CLICK` to the URL, without cookies; the response must not be a
    redirect. DKIM must cover both fields, as the option ``dkim`` does.

    Raises:
        ConfigurationError: it is not a URL with https, which RFC 8058 requires.
    """
    return {
        "List-Unsubscribe": f"<{check_unsubscribe_url(url)}>",
        "List-Unsubscribe-Post": ONE_CLICK,
    }


def check_unsubscribe_url(url: str, name: str = "the URL for unsubscribing") -> str:
    """The URL as it was given; ``name`` is what it is called in the error text.

    Raises:
        ConfigurationError: as `unsubscribe_fields`.
    """
    if not isinstance(url, str) or not _URL.fullmatch(url):
        shown = repr(url[:80]) if isinstance(url, str) else type(url).__name__
        raise ConfigurationError(
            f"{name} must begin with https:// (RFC 8058) and consist of plain ASCII, got {shown}: "
            "write 'https://www.example.com/unsubscribe/'"
        )
    return url


# --- What the integrations have in common ---------------------------------------------------

_LONGEST_STREAM = 50

UNSUBSCRIBE_TEMPLATE = "mailbackends/unsubscribe.html"
"""An application's own page; it gets ``state`` (ask, done, invalid), ``address`` and ``stream``."""

# The token is in the URL: it must not reach another site, or a search engine.
UNSUBSCRIBE_HEADERS = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
"""The header fields of the page's response."""

UNSUBSCRIBE_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Unsubscribe</title>
<style>body { font: 1.1em/1.5 system-ui, sans-serif; max-width: 34em; margin: 4em auto;
padding: 0 1em; } button { font: inherit; padding: .5em 1.2em; }</style>
{% if state == "ask" %}
<h1>Unsubscribe</h1>
<p>Stop sending “{{ stream }}” to {{ address }}?</p>
<form method="post"><button>Unsubscribe</button>
<input type="hidden" name="List-Unsubscribe" value="One-Click"></form>
{% elif state == "done" %}
<h1>You are unsubscribed</h1>
<p>We no longer send “{{ stream }}” to {{ address }}.</p>
{% else %}
<h1>This link is not valid</h1>
<p>It is incomplete or too old. Use the link in the newest message that you have.</p>
{% endif %}
</html>
"""
"""The page, for Django's templates and for Jinja."""


class InvalidToken(ValueError):
    """The token was not made here, or it has expired."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a token names: one recipient of one stream of mail, such as ``"newsletter"``."""

    address: str
    stream: str


def check_unsubscribe_stream(stream: object) -> None:
    """Refuse a name of a stream that cannot be in a link.

    Raises:
        ConfigurationError: it is not a text of 1 to 50 characters.
    """
    if not isinstance(stream, str) or not 0 < len(stream) <= _LONGEST_STREAM:
        raise ConfigurationError(
            f"a stream must be a name of 1 to {_LONGEST_STREAM} characters such as 'newsletter', "
            f"got {stream!r}"
        )


def only_recipient(recipients: Sequence[str]) -> str:
    """The one recipient of a message with ``unsubscribe``.

    Raises:
        InvalidMessageError: it has several recipients, who would share one link.
    """
    if len(recipients) != 1:
        raise InvalidMessageError(
            f"a message with unsubscribe must have exactly one recipient, got {len(recipients)}: "
            "the link is for one person; send a message to each"
        )
    return recipients[0]


def with_unsubscribe_fields(headers: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The extra header fields of a message, with those for this URL instead of its own.

    Raises:
        ConfigurationError: as `unsubscribe_fields`.
    """
    fields = unsubscribe_fields(url)
    names = {name.lower() for name in fields}
    return {k: v for k, v in headers.items() if str(k).lower() not in names} | fields


def unsubscribe_page_values(state: str, subscription: Subscription | None) -> dict[str, str]:
    """The values for the page."""
    return {
        "state": state,
        "address": subscription.address if subscription else "",
        "stream": subscription.stream if subscription else "",
    }
