"""Where messages go: to an SMTP server, or to a place for developers to look at."""

from flask_integration.backends.base import Backend, local_receipt
from flask_integration.backends.local import (
    ConsoleBackend,
    DummyBackend,
    FileBackend,
    MemoryBackend,
)
from flask_integration.backends.names import find_backend
from flask_integration.backends.smtp import SmtpBackend

__all__ = [
    "Backend",
    "ConsoleBackend",
    "DummyBackend",
    "FileBackend",
    "MemoryBackend",
    "SmtpBackend",
    "find_backend",
    "local_receipt",
]
