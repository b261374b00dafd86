"""Sending: the methods of `Mail`, named mailers and ``app.extensions["mail"]``."""

from __future__ import annotations

import asyncio
import contextvars
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from flask import Flask, current_app, has_app_context

from flask_integration.addresses import Address
from flask_integration.delivery import (
    SenderState,
    deliver,
    deliver_many,
    email_dispatched,
    suppressed,
)
from flask_integration.message import Message
from flask_integration.posting import Posting
from mailbackends import Receipt, Reply

__all__ = ["MailConnection", "Sender", "current_application"]


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
            RuntimeError: there is no application.
        """
        app, state = self._target()
        with state.lease_backend() as backend:
            send = backend.send if backend else suppressed
            return deliver(app, state, message, envelope_from, send)

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        """Send a `Message` made from these arguments."""
        return self.send(Message(*args, **kwargs))

    def send_many(self, messages: Iterable[Any]) -> list[Receipt | Exception]:
        """Send many messages over one connection; return one outcome for each, in order.

        An outcome is the Receipt, or the exception that `send` would have raised. A message
        that fails does not stop the others. ``messages`` is read to its end first: if it
        raises, nothing is sent.
        """
        return list(self.stream(list(messages)))

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
        """As `send`, but in a thread, so that the event loop of an async view continues.

        Flask runs each async view in its own event loop. Threads share the connections of
        the pool between all of them; a connection of an event loop would end with the view.

        The mailer has as many threads as it may have connections, and does not use the event
        loop's executor, which name lookups need. Further messages wait in a queue, and are not
        subject to MAIL_POOL_TIMEOUT.

        Cancelling the task stops a message that waits in the queue, but not one that is
        being sent.
        """
        executor = self._target()[1].executor
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            executor, context.run, self.send, message, envelope_from
        )

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
        self.num_emails = 0
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
                return backend.send(posting) if backend else suppressed(posting)
        if self.host is self._own_host:
            return self._own_host.send(posting)  # type: ignore[no-any-return]
        return _send_by_smtplib(self.host, posting)


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


def _send_by_smtplib(host: Any, posting: Posting) -> Receipt:
    """Send with the ``sendmail`` of an object that the application put in place of ours."""
    started = time.monotonic()
    refused = host.sendmail(
        posting.from_addr,
        list(posting.to_addrs),
        posting.as_bytes(),
        list(posting.mail_options),
        list(posting.rcpt_options),
    )
    replies = {
        address: Reply(code, (text,))
        for address, (code, text) in (refused.items() if isinstance(refused, dict) else ())
    }
    return Receipt(
        accepted=tuple(x for x in posting.to_addrs if x not in replies),
        refused=replies,
        reply=Reply(250, (b"",)),
        message_id=posting.message_id,
        duration=time.monotonic() - started,
    )
