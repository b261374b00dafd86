"""mailbackends: send mail from a Python web application.

- `Mailer` sends messages over pooled connections, and returns the outcome of each.
- `SMTP`, `SMTP_SSL`, `LMTP` and the exceptions are a drop-in replacement for the standard
  library's `smtplib`: ``import mailbackends as smtplib``.
- ``django_integration`` and ``flask_integration`` connect the frameworks to a `Mailer`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailbackends.client import CRLF as CRLF
    from mailbackends.client import LMTP, SMTP, SMTP_SSL
    from mailbackends.client import LMTP_PORT as LMTP_PORT
    from mailbackends.client import OLDSTYLE_AUTH as OLDSTYLE_AUTH
    from mailbackends.client import SMTP_PORT as SMTP_PORT
    from mailbackends.client import SMTP_SSL_PORT as SMTP_SSL_PORT
    from mailbackends.client import bCRLF as bCRLF
    from mailbackends.client import quoteaddr as quoteaddr
    from mailbackends.client import quotedata as quotedata
    from mailbackends.dkim import DKIM
    from mailbackends.doctor import Step, diagnose
    from mailbackends.errors import (
        BeforeEndError,
        ConfigurationError,
        InvalidAddressError,
        InvalidMessageError,
        Outcome,
        PoolClosed,
        PoolTimeout,
        RateLimited,
        RecipientsSuppressed,
        SigningError,
        SMTPAuthenticationError,
        SMTPCertificateError,
        SMTPConnectionError,
        SMTPDataError,
        SMTPDeliveryUnknown,
        SMTPException,
        SMTPNotSupportedError,
        SMTPProtocolError,
        SMTPRecipientsRefused,
        SMTPSenderRefused,
        SMTPServerDisconnected,
        SMTPTimeoutError,
        SMTPTLSError,
        TokenError,
        TransientError,
    )
    from mailbackends.errors import SMTPConnectError as SMTPConnectError
    from mailbackends.errors import SMTPHeloError as SMTPHeloError
    from mailbackends.errors import SMTPResponseException as SMTPResponseException
    from mailbackends.errors import SuppressionError as SuppressionError
    from mailbackends.feedback import feedback_id
    from mailbackends.mailer import (
        FileAttachment,
        Mailer,
        MailerStats,
        Options,
        Receipt,
        Submission,
    )
    from mailbackends.mailer.aio import AsyncMailer
    from mailbackends.message import Email
    from mailbackends.protocol.delivery_options import DeliveryOptions, delivery_options
    from mailbackends.reply import Reply
    from mailbackends.secret import Secret
    from mailbackends.unsubscribe import unsubscribe_fields

__all__ = [
    "DKIM",
    "LMTP",
    "SMTP",
    "SMTP_SSL",
    "AsyncMailer",
    "BeforeEndError",
    "ConfigurationError",
    "DeliveryOptions",
    "Email",
    "FileAttachment",
    "InvalidAddressError",
    "InvalidMessageError",
    "Mailer",
    "MailerStats",
    "Options",
    "Outcome",
    "PoolClosed",
    "PoolTimeout",
    "RateLimited",
    "Receipt",
    "RecipientsSuppressed",
    "Reply",
    "SMTPAuthenticationError",
    "SMTPCertificateError",
    "SMTPConnectionError",
    "SMTPDataError",
    "SMTPDeliveryUnknown",
    "SMTPException",
    "SMTPNotSupportedError",
    "SMTPProtocolError",
    "SMTPRecipientsRefused",
    "SMTPSenderRefused",
    "SMTPServerDisconnected",
    "SMTPTLSError",
    "SMTPTimeoutError",
    "Secret",
    "SigningError",
    "Step",
    "Submission",
    "TokenError",
    "TransientError",
    "delivery_options",
    "diagnose",
    "feedback_id",
    "unsubscribe_fields",
]

# Names are imported when they are first asked for: a program that sends no mail, or a test
# run with the pytest plugin installed, loads none of it. Besides those in __all__ there are
# the other names of smtplib, for `import mailbackends as smtplib`.
_MODULE_OF = {
    name: module
    for module, names in {
        "client": "CRLF LMTP LMTP_PORT OLDSTYLE_AUTH SMTP SMTP_PORT SMTP_SSL SMTP_SSL_PORT bCRLF "
        "quoteaddr quotedata",
        "dkim": "DKIM",
        "doctor": "Step diagnose",
        "errors": "BeforeEndError ConfigurationError InvalidAddressError InvalidMessageError "
        "Outcome PoolClosed PoolTimeout RateLimited RecipientsSuppressed SuppressionError "
        "SMTPAuthenticationError SMTPCertificateError SMTPConnectError "
        "SMTPConnectionError SMTPDataError SMTPDeliveryUnknown SMTPException SMTPHeloError "
        "SMTPNotSupportedError SMTPProtocolError SMTPRecipientsRefused SMTPResponseException "
        "SMTPSenderRefused SMTPServerDisconnected SMTPTLSError SMTPTimeoutError SigningError "
        "TokenError TransientError",
        "mailer": "FileAttachment Mailer MailerStats Options Receipt Submission",
        "mailer.aio": "AsyncMailer",
        "feedback": "feedback_id",
        "message": "Email",
        "protocol.delivery_options": "DeliveryOptions delivery_options",
        "reply": "Reply",
        "secret": "Secret",
        "unsubscribe": "unsubscribe_fields",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it (PEP 562)."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'mailbackends' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"mailbackends.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
