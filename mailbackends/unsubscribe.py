"""Fields with which a mailing can be left by one click (RFC 2369, RFC 8058)."""

from __future__ import annotations

import re

from mailbackends.errors import ConfigurationError

__all__ = ["ONE_CLICK", "check_unsubscribe_url", "unsubscribe_fields"]

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
