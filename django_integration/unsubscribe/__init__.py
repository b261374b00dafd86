"""Mailings that can be left by one click (RFC 8058).

``message.unsubscribe = "newsletter"`` gives a message the header fields, with a signed token for
its one recipient; ``path("unsubscribe/", include("django_integration.unsubscribe.urls"))`` serves
the page, at the URL in the setting ``MAILBACKENDS_UNSUBSCRIBE_URL``; receivers of
`unsubscribed` act.
"""

from django_integration.unsubscribe.links import (
    InvalidToken,
    Subscription,
    add_unsubscribe,
    read_token,
    unsubscribe_url,
    unsubscribed,
)

__all__ = [
    "InvalidToken",
    "Subscription",
    "add_unsubscribe",
    "read_token",
    "unsubscribe_url",
    "unsubscribed",
]
