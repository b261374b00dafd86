"""mailbackends: send mail from a Python web application.

- `Mailer` sends messages over connections that live across calls, and tells for each what
  became of it.
- `SMTP`, `SMTP_SSL`, `LMTP` and the exceptions are the standard library's `smtplib`,
  written anew: ``import mailbackends as smtplib``.
- ``django_integration`` and ``flask_integration`` map the frameworks to a `Mailer`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailbackends.client import (
        CRLF,
        LMTP,
        LMTP_PORT,
        OLDSTYLE_AUTH,
        SMTP,
        SMTP_PORT,
        SMTP_SSL,
        SMTP_SSL_PORT,
        bCRLF,
        quoteaddr,
        quotedata,
    )
    from mailbackends.doctor import Step, diagnose
    from mailbackends.errors import (
        ConfigurationError,
        InvalidAddressError,
        InvalidMessageError,
        Outcome,
        PoolClosed,
        PoolTimeout,
        RateLimited,
        SMTPAuthenticationError,
        SMTPCertificateError,
        SMTPConnectError,
        SMTPConnectionError,
        SMTPDataError,
        SMTPDeliveryUnknown,
        SMTPException,
        SMTPHeloError,
        SMTPNotSupportedError,
        SMTPProtocolError,
        SMTPRecipientsRefused,
        SMTPResponseException,
        SMTPSenderRefused,
        SMTPServerDisconnected,
        SMTPTimeoutError,
        SMTPTLSError,
    )
    from mailbackends.mailer import (
        CircuitState,
        FileAttachment,
        Mailer,
        MailerStats,
        Options,
        PinnedConnection,
        Receipt,
        ServerStats,
        Submission,
    )
    from mailbackends.protocol.delivery_options import DeliveryOptions, delivery_options
    from mailbackends.reply import EnhancedStatus, Reply

__all__ = [
    "CRLF",
    "LMTP",
    "LMTP_PORT",
    "OLDSTYLE_AUTH",
    "SMTP",
    "SMTP_PORT",
    "SMTP_SSL",
    "SMTP_SSL_PORT",
    "CircuitState",
    "ConfigurationError",
    "DeliveryOptions",
    "EnhancedStatus",
    "FileAttachment",
    "InvalidAddressError",
    "InvalidMessageError",
    "Mailer",
    "MailerStats",
    "Options",
    "Outcome",
    "PinnedConnection",
    "PoolClosed",
    "PoolTimeout",
    "RateLimited",
    "Receipt",
    "Reply",
    "SMTPAuthenticationError",
    "SMTPCertificateError",
    "SMTPConnectError",
    "SMTPConnectionError",
    "SMTPDataError",
    "SMTPDeliveryUnknown",
    "SMTPException",
    "SMTPHeloError",
    "SMTPNotSupportedError",
    "SMTPProtocolError",
    "SMTPRecipientsRefused",
    "SMTPResponseException",
    "SMTPSenderRefused",
    "SMTPServerDisconnected",
    "SMTPTLSError",
    "SMTPTimeoutError",
    "ServerStats",
    "Step",
    "Submission",
    "bCRLF",
    "delivery_options",
    "diagnose",
    "quoteaddr",
    "quotedata",
]

# Where the names above stand. They are imported when they are first asked for: a program
# that sends no mail today, or a test run that has the pytest plugin, loads none of it.
_MODULES = (
    "reply",
    "errors",
    "client",
    "protocol.delivery_options",
    "mailer",
    "doctor",
)


def __getattr__(name: str) -> Any:
    """Return a public name from the module that it stands in (PEP 562)."""
    if name in __all__:
        for module in _MODULES:
            found = importlib.import_module(f"mailbackends.{module}")
            if name in found.__all__:
                value = globals()[name] = getattr(found, name)
                return value
    raise AttributeError(f"module 'mailbackends' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
