"""Where messages go: to an SMTP server, or to a place for developers to look at."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flask_integration.posting import Posting
from mailbackends import ConfigurationError, Receipt, Reply

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = [
    "Backend",
    "ConsoleBackend",
    "DummyBackend",
    "FileBackend",
    "MemoryBackend",
    "find_backend",
    "local_receipt",
]


class Backend(ABC):
    """What MAIL_BACKEND names. One stands for each mailer of each application.

    It is called by all threads of the application at once.
    """

    delivers: ClassVar[bool] = True
    """True where messages leave for their recipients, so that TESTING must stop them."""

    def __init__(self, state: MailState) -> None:  # noqa: B027 - for subclasses to use
        """Take what is needed from ``state``, but do not keep it: it owns the backend."""

    @abstractmethod
    def send(self, posting: Posting) -> Receipt:
        """Send one message. Raises what went wrong."""

    def send_many(self, postings: Iterable[Posting]) -> Iterator[Receipt | Exception]:
        """One outcome for each message, in order; a failure does not stop the others."""
        for posting in postings:
            try:
                outcome: Receipt | Exception = self.send(posting)
            except Exception as error:
                outcome = error
            yield outcome

    def hold(self) -> AbstractContextManager[Backend]:
        """What `Mail.connect` sends on, for the length of a block."""
        return nullcontext(self)

    def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Make sure that a message could be sent now. Raises what stands against it."""

    def close(self) -> None:  # noqa: B027 - and nothing to close
        """Let go of what is held. Nothing is sent on this backend any more."""


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
        text = _as_bytes(posting).decode("utf-8", "backslashreplace").replace("\r\n", "\n")
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
            file.write(_as_bytes(posting))
        return local_receipt(posting, f"written to {path}")


def find_backend(name: str | type[Backend]) -> type[Backend]:
    """The class that MAIL_BACKEND means: a short name, a dotted path, or the class itself.

    Raises:
        ConfigurationError: there is none.
    """
    if not isinstance(name, str):
        return name
    short = name.removeprefix("flask_mailman.backends.").removesuffix(".EmailBackend")
    if found := _short_names().get(short.lower()):
        return found
    module, _, attribute = name.rpartition(".")
    try:
        backend = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"MAIL_BACKEND {name!r} cannot be found: use one of "
            f"{', '.join(sorted(_short_names()))}, or the dotted path of a Backend class"
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise ConfigurationError(
            f"MAIL_BACKEND {name!r} is no subclass of flask_integration.Backend"
        )
    return backend


def local_receipt(posting: Posting, text: str) -> Receipt:
    """A receipt for what no server saw. ``text`` says what was done instead."""
    return Receipt(
        accepted=posting.to_addrs,
        refused={},
        reply=Reply(250, (text.encode(),)),
        message_id=posting.message_id,
        duration=0.0,
    )


def _short_names() -> dict[str, type[Backend]]:
    from flask_integration.smtp import SmtpBackend

    return {
        "smtp": SmtpBackend,
        "console": ConsoleBackend,
        "file": FileBackend,
        "memory": MemoryBackend,
        "locmem": MemoryBackend,  # the name that Flask-Mailman has for it
        "dummy": DummyBackend,
    }


def _as_bytes(posting: Posting) -> bytes:
    message = posting.message
    return message if isinstance(message, bytes) else message.as_bytes()
