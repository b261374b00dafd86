"""Reports of failed delivery in Django: what was sent comes back as the signal `bounced`.

``message.bounce_reference = "order_42"`` marks a message in its envelope sender, which is made
from the setting ``MAILBACKENDS_BOUNCE_ADDRESS``. ``manage.py mail_bounces`` reads the reports.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.dispatch import Signal
from django.utils.crypto import salted_hmac

from mailbackends import ConfigurationError
from mailbackends.bounces import BounceReport, BounceTokens, parse_bounce

__all__ = ["bounced", "envelope_sender", "handle_report", "tokens"]

logger: logging.Logger = logging.getLogger("mailbackends.bounces")

bounced: Signal = Signal()
"""Sent for each report; receivers get ``report``, a `BounceReport`. The sender is that class.

Act on reports with a ``reference`` only, and look the recipient up by it: anybody can send the
others, and the recipients in a report are never certain."""


def tokens() -> BounceTokens:
    """The marks of this project, signed by a key that is derived from SECRET_KEY."""
    replaced = getattr(settings, "SECRET_KEY_FALLBACKS", ())
    return BounceTokens(_derived(None), fallbacks=map(_derived, replaced))


def _derived(secret: str | None) -> str:
    return salted_hmac(
        "django_integration.bounces", "", secret=secret, algorithm="sha256"
    ).hexdigest()


def envelope_sender(reference: str) -> str:
    """The address to which reports on a message with this reference go.

    Raises:
        ConfigurationError: MAILBACKENDS_BOUNCE_ADDRESS is not set, or the reference cannot be used.
    """
    address = getattr(settings, "MAILBACKENDS_BOUNCE_ADDRESS", None)
    if not address:
        raise ConfigurationError(
            "bounce_reference needs MAILBACKENDS_BOUNCE_ADDRESS: set it to the address for "
            "reports, such as 'bounces@example.com'"
        )
    return tokens().envelope_sender(str(address), reference)


def handle_report(data: bytes) -> BounceReport:
    """Read a message, and send `bounced` if it is a report.

    All receivers are called; the first exception of one is raised afterwards, so that the report
    is not taken for handled.
    """
    report = parse_bounce(data, tokens())
    if report.kind == "none":
        return report
    failed: Exception | None = None
    for receiver, result in bounced.send_robust(BounceReport, report=report):
        if isinstance(result, Exception):
            failed = failed or result
            logger.error("the receiver %r of bounced failed", receiver, exc_info=result)
    if failed is not None:
        raise failed
    return report
