"""Mail for Flask over `mailbackends`: Flask-Mail's interface with pooled connections.

from flask_integration import Mail, Message

mail = Mail(app)
receipt = mail.send(Message("Hello", ["ada@example.com"], body="How are you?"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from flask_integration.delivery import (
        SendCancelled,
        email_dispatched,
        email_failed,
        email_sending,
        email_sent,
        signals,
    )
    from flask_integration.errors import (
        BadHeaderError,
        ConfigurationWarning,
        IncompleteMessageError,
    )
    from flask_integration.extension import Mail, NamedMail
    from flask_integration.message import Message
    from flask_integration.posting import Posting
    from flask_integration.sending import MailConnection
    from flask_integration.sending import MailConnection as Connection
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
    "MailConnection",
    "MailState",
    "MemoryBackend",
    "Message",
    "NamedMail",
    "Posting",
    "SendCancelled",
    "SmtpBackend",
    "email_dispatched",
    "email_failed",
    "email_sending",
    "email_sent",
    "force_text",
    "local_receipt",
    "sanitize_address",
    "sanitize_addresses",
    "sanitize_subject",
    "signals",
]

# The modules are imported when a name is first used: pytest loads `pytest_plugin` of this
# package in every test run of an environment, whether or not Flask is installed.
_MODULES = (
    "errors",
    "addresses",
    "attachment",
    "message",
    "posting",
    "backends",
    "delivery",
    "sending",
    "state",
    "extension",
)
_FLASK_MAILS_NAMES = {"Connection": "MailConnection"}


def __getattr__(name: str) -> Any:
    """Return a public name from its module (PEP 562)."""
    if name in __all__:
        wanted = _FLASK_MAILS_NAMES.get(name, name)
        for module in _MODULES:
            try:
                found = importlib.import_module(f"flask_integration.{module}")
            except ModuleNotFoundError as error:
                if error.name not in ("blinker", "flask"):
                    raise
                raise ModuleNotFoundError(
                    'flask_integration needs Flask: python -m pip install "mailbackends[flask]"',
                    name=error.name,
                ) from error
            if wanted in found.__all__:
                value = globals()[name] = getattr(found, wanted)
                return value
    raise AttributeError(f"module 'flask_integration' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
