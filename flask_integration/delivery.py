"""Delivery: messages through a backend, with their outcomes published as signals.

The sender of a signal is always the application.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, Protocol

from blinker import Namespace, Signal
from flask import Flask

from flask_integration.addresses import Address
from flask_integration.backends import Backend, local_receipt
from flask_integration.posting import Defaults, Posting, prepare
from mailbackends import Receipt

__all__ = [
    "SenderState",
    "deliver",
    "deliver_many",
    "email_dispatched",
    "email_failed",
    "email_sent",
    "signals",
    "suppressed",
]

signals = Namespace()

email_dispatched = signals.signal(
    "email-dispatched",
    doc="""A message was sent, or would have been if sending were not suppressed.
    Receivers get ``message``, as it was passed to `Mail.send`.""",
)
email_sent = signals.signal(
    "email-sent",
    doc="""As `email_dispatched`; receivers get ``message`` and ``receipt``.
    Look at ``receipt.refused``: some recipients may have been refused.""",
)
email_failed = signals.signal(
    "email-failed",
    doc="""A message was not accepted; receivers get ``message`` and ``error``.
    ``error.outcome`` says whether it may have been delivered anyway.""",
)


class SenderState(Defaults, Protocol):
    """The settings that sending uses; a `MailState` has all of them."""

    def lease_backend(self) -> AbstractContextManager[Backend | None]:
        """Return a context manager for where messages go; None if sending is suppressed."""

    @property
    def max_emails(self) -> int | None:
        """MAIL_MAX_EMAILS: the number of messages on one connection."""

    @property
    def executor(self) -> Executor:
        """The threads of `Mail.asend`."""


def deliver(
    app: Flask,
    state: SenderState,
    message: Any,
    envelope_from: Address | None,
    send: Callable[[Posting], Receipt],
) -> Receipt:
    """Prepare ``message``, send it with ``send``, and publish the outcome as a signal."""
    try:
        receipt = send(prepare(message, state, envelope_from))
    except Exception as error:
        _publish(app, message, error)
        raise
    _publish(app, message, receipt)
    return receipt


def deliver_many(
    app: Flask, state: SenderState, messages: Iterable[Any]
) -> Iterator[Receipt | Exception]:
    """Yield one outcome for each message, in order, reading messages as outcomes are asked for."""
    # Messages that were read and have no outcome yet, in order. The error is that of a
    # message which could not be prepared.
    pending: deque[tuple[Any, Exception | None]] = deque()

    def prepared() -> Iterator[Posting]:
        for message in messages:
            try:
                posting = prepare(message, state)
            except Exception as error:
                pending.append((message, error))
            else:
                pending.append((message, None))
                yield posting

    def unprepared() -> Iterator[Exception]:
        while pending and (error := pending[0][1]) is not None:
            _publish(app, pending.popleft()[0], error)
            yield error

    with state.lease_backend() as backend:
        outcomes = backend.send_many(prepared()) if backend else map(suppressed, prepared())
        try:
            for outcome in outcomes:
                yield from unprepared()
                _publish(app, pending.popleft()[0], outcome)
                yield outcome
        except Exception:  # of ``messages``: first, the outcomes of those before it
            yield from unprepared()
            raise
        yield from unprepared()


def _publish(app: Flask, message: Any, outcome: Receipt | Exception) -> None:
    if isinstance(outcome, Exception):
        _call_receivers(email_failed, app, message=message, error=outcome)
    else:
        _call_receivers(email_dispatched, app, message=message)
        _call_receivers(email_sent, app, message=message, receipt=outcome)


def _call_receivers(signal: Signal, app: Flask, **values: Any) -> None:
    """Call each receiver. One that raises is logged, and the others are called, too.

    The outcome is final by now: if an exception of a receiver replaced it, an accepted
    message would look failed, and be sent again.
    """
    if not signal.receivers or getattr(signal, "is_muted", False):
        return
    for receiver in list(signal.receivers_for(app)):
        try:
            if iscoroutinefunction(receiver):
                raise TypeError("it is a coroutine function: connect an ordinary function")
            receiver(app, **values)
        except Exception:
            app.logger.exception(
                "Receiver %r of the signal %r raised; the outcome of the message is not affected.",
                receiver,
                signal.name if hasattr(signal, "name") else signal,
            )


def suppressed(posting: Posting) -> Receipt:
    """Return the receipt of a message that is not sent because sending is suppressed."""
    return local_receipt(posting, "not sent: sending is suppressed")
