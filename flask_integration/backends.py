"""Backends: where the messages of one mailer go, to an SMTP server or somewhere to inspect them.

MAIL_BACKEND names one of the classes here, or a subclass of `Backend` that an application
defines. There is one instance for each mailer of each application, shared by all threads.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from flask_integration.backend import Backend, BackendSettings, local_receipt
from flask_integration.posting import Posting
from mailbackends import (
    AsyncMailer,
    ConfigurationError,
    Mailer,
    MailerStats,
    Receipt,
)
from mailbackends.integration import LoopMailers, nearest

__all__ = [
    "Backend",
    "BackendSettings",
    "ConsoleBackend",
    "DummyBackend",
    "FileBackend",
    "MemoryBackend",
    "SmtpBackend",
    "find_backend",
    "local_receipt",
]

T = TypeVar("T")


class SmtpBackend(Backend):
    """Sends over the connections of one pool, which all threads share.

    Coroutines use a pool of their event loop, to the servers of ``mailer``: a subclass that
    sets another ``mailer`` sends there in both ways.
    """

    _strategy: Literal["ordered", "round_robin"] = "ordered"
    _loops: LoopMailers[None] | None = None

    def __init__(self, state: BackendSettings) -> None:
        self.mailer: Mailer = Mailer([state.options, *state.fallbacks], strategy=state.strategy)
        self._strategy = state.strategy

    @property
    def asks_suppression_list(self) -> bool:
        """Whether the Mailer has a list; that of a subclass may have none."""
        return self.mailer.options.suppression is not None

    @property
    def is_async(self) -> bool:
        """True, unless a subclass has changed how messages are sent in threads only."""
        kind = type(self)
        is_changed = (
            kind.send is not SmtpBackend.send or kind.send_many is not SmtpBackend.send_many
        )
        return kind.asend is not SmtpBackend.asend or not is_changed

    async def asend(self, posting: Posting) -> Receipt:
        """Send over a connection of the running event loop."""
        async with self._async_mailers().mailer(None) as mailer:
            return await _send(mailer.send_message, posting)

    async def asend_many(
        self, postings: AsyncIterable[Posting]
    ) -> AsyncGenerator[Receipt | Exception, None]:
        """Send over as few connections as MAIL_BATCH_CONNECTIONS allows."""
        submissions = (posting.submission() async for posting in postings)
        async with (
            self._async_mailers().mailer(None) as mailer,
            aclosing(mailer.stream_messages(submissions)) as outcomes,
        ):
            async for outcome in outcomes:
                yield outcome

    def send(self, posting: Posting) -> Receipt:
        """Send over a connection of the pool."""
        return _send(self.mailer.send_message, posting)

    def send_many(self, postings: Iterable[Posting]) -> Iterator[Receipt | Exception]:
        """Send over as few connections as MAIL_BATCH_CONNECTIONS allows."""
        submissions = map(Posting.submission, postings)
        yield from self.mailer.stream_messages(submissions)

    @contextmanager
    def hold(self) -> Iterator[Backend]:
        """Lease one connection of the pool for the block."""
        with self.mailer.hold() as connection:
            connection.open()  # so that the `with` statement fails, not the first message
            yield _PinnedBackend(connection.send_message, self.asks_suppression_list)

    def open(self) -> None:
        """Make sure that a connection is ready."""
        self.mailer.open()

    @property
    def has_upkeep(self) -> bool:
        """True if MAIL_MIN_IDLE keeps connections ready."""
        return any(server.min_idle for server in self.mailer.servers)

    def close(self) -> None:
        """Close the connections of the pool."""
        self.mailer.close()
        if self._loops is not None:
            self._loops.close()

    def stats(self) -> list[MailerStats]:
        """The statistics of the threads' connections, and of those of each event loop."""
        loops = self._loops.stats() if self._loops is not None else []
        return [self.mailer.stats(), *(stats for _, stats in loops)]

    def _async_mailers(self) -> LoopMailers[None]:
        # setdefault() is one step, should two loops send their first message at once.
        made: LoopMailers[None] = LoopMailers(
            lambda _: AsyncMailer(self.mailer.servers, strategy=self._strategy)
        )
        found: LoopMailers[None] = vars(self).setdefault("_loops", made)
        return found


class _PinnedBackend(Backend):
    """Sends over the connection that one `Mail.connect` block has leased."""

    def __init__(self, send_message: Callable[..., Receipt], asks: bool) -> None:
        self._send_message = send_message
        self._asks = asks

    @property
    def asks_suppression_list(self) -> bool:
        """As the backend whose connection it is."""
        return self._asks

    def send(self, posting: Posting) -> Receipt:
        return _send(self._send_message, posting)


def _send(send_message: Callable[..., T], posting: Posting) -> T:
    return send_message(
        posting.message,
        posting.from_addr,
        posting.to_addrs,
        mail_options=posting.mail_options,
        rcpt_options=posting.rcpt_options,
        stream=posting.stream,
    )


class DummyBackend(Backend):
    """Discards every message."""

    delivers = False

    def send(self, posting: Posting) -> Receipt:
        """Return a receipt as if all recipients had been accepted."""
        return local_receipt(posting, "dropped by the dummy backend")


class MemoryBackend(Backend):
    """Collects what the application sends, for tests: ``mail.outbox``."""

    delivers = False

    def __init__(self, state: BackendSettings) -> None:
        self.outbox: list[Any] = []

    def send(self, posting: Posting) -> Receipt:
        """Add the message, as the application gave it, to ``outbox``."""
        self.outbox.append(posting.original)
        return local_receipt(posting, "stored in memory")


class ConsoleBackend(Backend):
    """Writes each message to standard output."""

    delivers = False
    _lock = threading.Lock()

    def send(self, posting: Posting) -> Receipt:
        """Write the message and a line of dashes, never interleaved with other threads'."""
        text = posting.as_bytes().decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        with self._lock:
            sys.stdout.write(f"{text}\n{'-' * 79}\n")
            sys.stdout.flush()
        return local_receipt(posting, "written to the console")


class FileBackend(Backend):
    """Writes each message to its own ``.eml`` file in MAIL_FILE_PATH.

    Raises:
        ConfigurationError: MAIL_FILE_PATH is not set or cannot be created.
    """

    delivers = False

    def __init__(self, state: BackendSettings) -> None:
        if not state.file_path:
            raise ConfigurationError(
                "MAIL_BACKEND is 'file' but MAIL_FILE_PATH is not set: set it to a directory"
            )
        self.directory: Path = Path(state.file_path)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"MAIL_FILE_PATH {state.file_path!r} cannot be used as a directory: {error}"
            ) from error

    def send(self, posting: Posting) -> Receipt:
        """Write ``<time>-<random>.eml``, readable only by its owner."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:12]}.eml"
        path = self.directory / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(posting.as_bytes())
        return local_receipt(posting, f"written to {path}")


_SHORT_NAMES: dict[str, type[Backend]] = {
    "smtp": SmtpBackend,
    "console": ConsoleBackend,
    "file": FileBackend,
    "memory": MemoryBackend,
    "locmem": MemoryBackend,  # Flask-Mailman's name for it
    "dummy": DummyBackend,
}
# Imported only when configured: it needs the extra of the same name.
_LAZY_NAMES = {"mailbox": "flask_integration.mailbox.MailboxBackend"}


def find_backend(name: str | type[Backend]) -> type[Backend]:
    """Return the class that MAIL_BACKEND names: a short name, a dotted path, or a class.

    Raises:
        ConfigurationError: there is no such backend.
    """
    if not isinstance(name, str):
        return name
    short = name.removeprefix("flask_mailman.backends.").removesuffix(".EmailBackend")
    if found := _SHORT_NAMES.get(short.lower()):
        return found
    extra = short.lower() if short.lower() in _LAZY_NAMES else None
    module, _, attribute = _LAZY_NAMES.get(short.lower(), name).rpartition(".")
    try:
        backend = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        if extra and isinstance(error, ImportError):
            missing = (error.name or extra).partition(".")[0]
            raise ConfigurationError(
                f"MAIL_BACKEND {name!r} needs {missing}: "
                f'python -m pip install "mailbackends[{extra}]"'
            ) from error
        known = sorted({*_SHORT_NAMES, *_LAZY_NAMES})
        fix = f"use one of {', '.join(known)}, or the dotted path of a Backend class"
        if meant := nearest(name, known):
            fix = f"did you mean {meant!r}?"
        reason = f" ({error})" if module else ""
        raise ConfigurationError(f"MAIL_BACKEND {name!r} cannot be found{reason}: {fix}") from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise ConfigurationError(
            f"MAIL_BACKEND {name!r} must name a subclass of flask_integration.Backend"
        )
    return backend
