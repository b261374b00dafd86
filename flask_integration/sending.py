"""Sending: the methods of `Mail`, named mailers and ``app.extensions["mail"]``."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flask import Flask, current_app, has_app_context

from flask_integration.addresses import Address
from flask_integration.backend import Backend, send_by_smtplib
from flask_integration.delivery import (
    SenderState,
    adeliver,
    adeliver_many,
    deliver,
    deliver_many,
    email_dispatched,
    prepared,
    suppressed,
)
from flask_integration.message import Message
from flask_integration.outbox import outbox_of, session_of
from flask_integration.posting import Posting
from flask_integration.suppression import for_backend, prefetched, without_suppressed
from mailbackends import Receipt
from mailbackends.suppression import SuppressionLookup

if TYPE_CHECKING:
    from mailbackends.outbox import Queued

__all__ = ["MailConnection", "Sender", "current_application"]

T = TypeVar("T")
_SHORT = 50_000  # in characters


class Sender(ABC):
    """The sending methods of `Mail`, `NamedMail` and `MailState`."""

    @abstractmethod
    def _target(self) -> tuple[Flask, SenderState]:
        """Return the application that sends, and its settings.

        Raises:
            RuntimeError: there is none. The text says what to do.
        """

    def send(self, message: Any, envelope_from: Address | None = None) -> Receipt:
        """Send one message; return which recipients were accepted and which were refused.

        Args:
            message: a `Message`, Flask-Mail's, an `email.message.EmailMessage`, or a
                message with ``message()`` and ``recipients()``, as Django's have.
            envelope_from: where bounces go, if not to the sender.

        Raises:
            ValueError: the message cannot be sent as it is (`BadHeaderError`,
                `IncompleteMessageError`, `mailbackends.InvalidAddressError`).
            mailbackends.SMTPException: no recipient was accepted, or it is unknown whether
                one was; see ``outcome``.
            SendCancelled: a receiver of the signal `email_sending` has stopped the message.
            RuntimeError: neither `Mail(app)` nor an application context gives an application.
        """
        app, state = self._target()
        with state.lease_backend() as backend:
            send = partial(_send, backend, state) if backend else suppressed
            return deliver(app, state, message, envelope_from, send)

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        """Send a `Message` made from these arguments."""
        return self.send(Message(*args, **kwargs))

    def enqueue(
        self,
        message: Any,
        envelope_from: Address | None = None,
        *,
        session: Any = None,
        **options: Any,
    ) -> Queued:
        """Store one message in the database, to be sent by ``flask mail outbox work``.

        It is part of the transaction of ``session``, by default that of Flask-SQLAlchemy: it is
        sent once that is committed, and not if it is rolled back. With MAIL_OUTBOX_DATABASE and
        without ``session`` it is committed here. ``options`` are ``key``, ``at``, ``expires``,
        ``priority`` and ``on_unknown``; see `mailbackends.outbox.outbox.Outbox.enqueue`.

        Raises:
            ValueError: the message cannot be sent as it is; as `send`. Nothing was stored.
            SendCancelled: as `send`; also if none of the recipients may get mail.
            mailbackends.outbox.KeyReusedError: another message was stored under this key.
            RuntimeError: neither `Mail(app)` nor an application context gives an application.
        """
        app, state = self._target()
        posting = prepared(app, message, state, envelope_from)
        outbox = outbox_of(app)
        session = session_of(app) if session is None else session
        return outbox.enqueue(posting.submission(), session=session, alias=self._alias, **options)

    @property
    def _alias(self) -> str:
        """The name of the mailer in MAIL_MAILERS."""
        return "default"

    def send_many(self, messages: Iterable[Any]) -> list[Receipt | Exception]:
        """Send many messages over one connection; return one outcome for each, in order.

        An outcome is the Receipt, or the exception that `send` would have raised. A message
        that fails does not stop the others. ``messages`` is read to its end first: if it
        raises, nothing is sent.
        """
        given = list(messages)
        app, state = self._target()
        return list(deliver_many(app, state, given, _lookup(state, given)))

    def stream(self, messages: Iterable[Any]) -> Iterator[Receipt | Exception]:
        """As `send_many`, but lazily: each message is read and sent as its outcome is asked for.

        ``messages`` may be a generator of any length. Nothing is sent before the first
        outcome is asked for.
        """
        app, state = self._target()
        return deliver_many(app, state, messages)

    def connect(self) -> MailConnection:
        """Return a context manager that leases one connection for its block."""
        app, state = self._target()
        return MailConnection(state, app)

    async def asend(self, message: Any, envelope_from: Address | None = None) -> Receipt:
        """As `send`, awaited in the running event loop, whose connections it uses.

        Two kinds of messages are sent in a thread: those of a backend that blocks, and those
        of an async view under WSGI. Flask runs each such view in a loop that ends with it;
        threads share the connections of the pool between all views. The mailer has as many
        threads as it may have connections, and does not use the event loop's executor.
        Further messages wait in a queue, and are not subject to MAIL_POOL_TIMEOUT.

        Cancelling the task: see `mailbackends.AsyncMailer`. In a thread, a message that waits
        in the queue is not sent, and one that is being sent is not stopped.

        Receivers of signals are called in the loop, or in that thread.
        """
        app, state = self._target()
        with state.lease_backend() as backend:
            if _needs_thread(backend):
                return await _in_thread(state, self.send, message, envelope_from)

            posting = _aprepared(app, state, backend, message, envelope_from)
            return await adeliver(app, message, posting, backend)

    async def asend_many(self, messages: Iterable[Any]) -> list[Receipt | Exception]:
        """As `send_many`, awaited; see `asend`."""
        given = list(messages)
        app, state = self._target()
        with state.lease_backend() as backend:
            if _needs_thread(backend):
                return await _in_thread(state, self.send_many, given)

            async def prepare_one(message: Any) -> Posting | Exception:
                try:
                    return await _aprepared(app, state, backend, message)
                except Exception as error:
                    return error

            lookup = None
            if state.suppression is not None and backend and backend.asks_suppression_list:
                lookup = await _in_thread(state, _lookup, state, given)
            return await adeliver_many(app, backend, given, prepare_one, lookup)

    @contextmanager
    def record_messages(self) -> Iterator[list[Any]]:
        """Collect in a list what any application sends in this block, suppressed or not."""
        outbox: list[Any] = []

        def record(app: Flask, message: Any, **_: Any) -> None:
            outbox.append(message)

        with email_dispatched.connected_to(record):
            yield outbox


class MailConnection:
    """What `Mail.connect` returns::

        with mail.connect() as connection:
            for user in users:
                connection.send(Message(...))

    After MAIL_MAX_EMAILS messages the connection is closed, and the next message goes
    over a new one. Leaving the block returns the connection to the pool and cannot fail.

    ``host`` is None if sending is suppressed. It may be set to an object with the
    ``sendmail`` method of `smtplib.SMTP`, which then gets the messages.
    """

    def __init__(self, mail: SenderState, app: Flask | None = None) -> None:
        self.mail = mail
        self.host: Any = None
        self.num_emails: int = 0
        self._app = app
        self._own_host: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.host = self.configure_host()
        self.num_emails = 0
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stack.close()
        self.host = self._own_host = None

    def configure_host(self) -> Any:
        """Lease a connection of the pool; return it, or None if sending is suppressed.

        Raises:
            mailbackends.SMTPException: no connection could be made.
        """
        try:
            backend = self._stack.enter_context(self.mail.lease_backend())
            self._own_host = self._stack.enter_context(backend.hold()) if backend else None
        except BaseException:
            self._stack.close()
            raise
        return self._own_host

    def send(self, message: Any, envelope_from: Address | None = None) -> Receipt:
        """Send one message on this connection; as `Mail.send`."""
        app = self._app or current_application()
        receipt = deliver(app, self.mail, message, envelope_from, self._send)
        self.num_emails += 1
        if self.num_emails == self.mail.max_emails:
            # Counts as Flask-Mail does; the pool has already replaced the connection.
            self.num_emails = 0
        return receipt

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        """Send a `Message` made from these arguments."""
        return self.send(Message(*args, **kwargs))

    def _send(self, posting: Posting) -> Receipt:
        if self.host is None:
            # Outside of its block nothing is leased: use any connection of the pool.
            with self.mail.lease_backend() as backend:
                return _send(backend, self.mail, posting) if backend else suppressed(posting)
        if self.host is self._own_host:
            return _send(self._own_host, self.mail, posting)
        return send_by_smtplib(self.host, without_suppressed(posting, self.mail.suppression))


def _send(backend: Backend, state: SenderState, posting: Posting) -> Receipt:
    return backend.send(for_backend(posting, backend, state.suppression))


def _lookup(state: SenderState, messages: list[Any]) -> SuppressionLookup | None:
    return None if state.suppression is None else prefetched(state.suppression, messages)


def _needs_thread(backend: Backend | None) -> bool:
    if backend is None:  # nothing is sent
        return False
    return not backend.is_async or _is_for_one_call(asyncio.get_running_loop())


def _is_for_one_call(loop: asyncio.AbstractEventLoop) -> bool:
    """True for a loop that ends with the present call: Flask's, for one async view under WSGI.

    Its connections would end with the view, and MAIL_POOL_SIZE would be for each view.
    """
    asgiref = sys.modules.get("asgiref.sync")
    loops = getattr(getattr(asgiref, "AsyncToSync", None), "loop_thread_executors", ())
    return loop in loops


async def _in_thread(state: SenderState, function: Callable[..., T], *arguments: Any) -> T:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        state.executor, context.run, function, *arguments
    )


async def _aprepared(
    app: Flask,
    state: SenderState,
    backend: Backend | None,
    message: Any,
    envelope_from: Address | None = None,
) -> Posting:
    if _is_short(message):
        posting = prepared(app, message, state, envelope_from)
    else:
        posting = await _in_thread(state, prepared, app, message, state, envelope_from)
    if backend is None or state.suppression is None or backend.asks_suppression_list:
        return posting
    return await _in_thread(state, for_backend, posting, backend, state.suppression)


def _is_short(message: Any) -> bool:
    """True for a message that is written within about a millisecond."""
    if type(message) is not Message or message.attachments:
        return False
    return len(message.body or "") + len(message.html or "") <= _SHORT


def current_application() -> Flask:
    """Return the current application.

    Raises:
        RuntimeError: there is none.
    """
    if not has_app_context():
        raise RuntimeError(
            "there is no current application: send in a request, or inside "
            "'with app.app_context():'"
        )
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
