"""Backends that deliver nothing: for developers and tests to look at."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask_integration.backends.base import Backend, local_receipt
from flask_integration.posting import Posting
from mailbackends import ConfigurationError, Receipt

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["ConsoleBackend", "DummyBackend", "FileBackend", "MemoryBackend"]


class DummyBackend(Backend):
    """Takes every message, and nothing more."""

    delivers = False

    def send(self, posting: Posting) -> Receipt:
        """A receipt, as if all recipients had been accepted."""
        return local_receipt(posting, "dropped by the dummy backend")


class MemoryBackend(Backend):
    """Keeps what the application sent, for tests: ``mail.outbox``."""

    delivers = False

    def __init__(self, state: MailState) -> None:
        self.outbox: list[Any] = []

    def send(self, posting: Posting) -> Receipt:
        """Add the message, as the application gave it, to ``outbox``."""
        self.outbox.append(posting.original)
        return local_receipt(posting, "kept in memory")


class ConsoleBackend(Backend):
    """Writes each message to standard output."""

    delivers = False
    _lock = threading.Lock()

    def send(self, posting: Posting) -> Receipt:
        """Write the message and a rule of dashes, not mixed with those of other threads."""
        text = posting.as_bytes().decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        with self._lock:
            sys.stdout.write(f"{text}\n{'-' * 79}\n")
            sys.stdout.flush()
        return local_receipt(posting, "written to the console")


class FileBackend(Backend):
    """Writes each message to a file of its own in MAIL_FILE_PATH, which mail programs open.

    Raises:
        ConfigurationError: the directory is not given or cannot be made.
    """

    delivers = False

    def __init__(self, state: MailState) -> None:
        if not state.file_path:
            raise ConfigurationError(
                "MAIL_BACKEND is 'file' and MAIL_FILE_PATH is not set: set it to a directory"
            )
        self.directory = Path(state.file_path)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"MAIL_FILE_PATH {state.file_path!r} cannot be used as a directory: {error}"
            ) from error

    def send(self, posting: Posting) -> Receipt:
        """Write ``<time>-<random>.eml``, readable by its owner alone."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:12]}.eml"
        path = self.directory / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(posting.as_bytes())
        return local_receipt(posting, f"written to {path}")
