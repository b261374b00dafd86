"""Sending, as `Mail`, a named mailer and ``app.extensions["mail"]`` all offer it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import Flask

from flask_integration.addresses import Address
from flask_integration.connection import Connection
from flask_integration.delivery import deliver, deliver_many, suppressed
from flask_integration.message import Message
from flask_integration.signals import email_dispatched
from mailbackends import Receipt

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["Sender"]


class Sender(ABC):
    """What can send for an application."""

    @abstractmethod
    def _target(self) -> tuple[Flask, MailState]:
        """The application that sends, and its settings.

        Raises:
            RuntimeError: there is none. The text names the mend.
        """

    def send(self, message: Any, envelope_from: Address | None = None) -> Receipt:
        """Send one message; returns who was accepted and who was refused.

        Args:
            message: a `Message`, Flask-Mail's, an `email.message.EmailMessage`, or a
                message with ``message()`` and ``recipients()``, as Django has them.
            envelope_from: where bounces go, if not to the sender.

        Raises:
            ValueError: the message cannot be sent as it is (`BadHeaderError`,
                `IncompleteMessageError`, `mailbackends.InvalidAddressError`).
            mailbackends.SMTPException: no recipient was accepted, or it is unknown whether
                one was; ``outcome`` says which.
            RuntimeError: there is no application.
        """
        app, state = self._target()
        backend = state.active_backend
        return deliver(app, state, message, envelope_from, backend.send if backend else suppressed)

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        """Send a `Message` made from these arguments."""
        return self.send(Message(*args, **kwargs))

    def send_many(self, messages: Iterable[Any]) -> Iterator[Receipt | Exception]:
        """Send many messages over one connection; yields one outcome for each, in order.

        An outcome is the Receipt, or the exception that `send` would have raised: one
        message that fails does not stop those behind it. ``messages`` may be a generator;
        it is read as the outcomes are.
        """
        app, state = self._target()
        return deliver_many(app, state, messages)

    def connect(self) -> Connection:
        """A context manager that holds one connection for the length of its block."""
        app, state = self._target()
        return Connection(state, app)

    async def asend(self, message: Any, envelope_from: Address | None = None) -> Receipt:
        """`send`, for ``async def`` views: in a thread, so the event loop goes on.

        A task that is cancelled meanwhile does not stop the message.
        """
        return await asyncio.to_thread(self.send, message, envelope_from)

    @contextmanager
    def record_messages(self) -> Iterator[list[Any]]:
        """Collect in a list what any application sends in this block, suppressed or not."""
        outbox: list[Any] = []

        def record(app: Flask, message: Any, **_: Any) -> None:
            outbox.append(message)

        with email_dispatched.connected_to(record):
            yield outbox
