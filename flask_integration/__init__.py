"""Mail for Flask over `mailbackends`: Flask-Mail's interface, pooled and accounted for.

from flask_integration import Mail, Message

mail = Mail(app)
receipt = mail.send(Message("Hello", ["ada@example.com"], body="How are you?"))
"""

from flask_integration.addresses import (
    force_text,
    sanitize_address,
    sanitize_addresses,
    sanitize_subject,
)
from flask_integration.attachment import Attachment
from flask_integration.backends import (
    Backend,
    ConsoleBackend,
    DummyBackend,
    FileBackend,
    MemoryBackend,
    SmtpBackend,
    local_receipt,
)
from flask_integration.connection import Connection
from flask_integration.errors import BadHeaderError, ConfigurationWarning, IncompleteMessageError
from flask_integration.extension import Mail, NamedMail
from flask_integration.message import Message
from flask_integration.posting import Posting
from flask_integration.signals import email_dispatched, email_failed, email_sent, signals
from flask_integration.state import MailState

__all__ = [
    "Attachment",
    "Backend",
    "BadHeaderError",
    "ConfigurationWarning",
    "Connection",
    "ConsoleBackend",
    "DummyBackend",
    "FileBackend",
    "IncompleteMessageError",
    "Mail",
    "MailState",
    "MemoryBackend",
    "Message",
    "NamedMail",
    "Posting",
    "SmtpBackend",
    "email_dispatched",
    "email_failed",
    "email_sent",
    "force_text",
    "local_receipt",
    "sanitize_address",
    "sanitize_addresses",
    "sanitize_subject",
    "signals",
]
