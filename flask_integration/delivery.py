"""Delivery: messages through a backend, with their outcomes published as signals.

The sender of a signal is always the application.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Protocol

from blinker import NamedSignal, Namespace, Signal
from flask import Flask

from flask_integration.addresses import Address
from flask_integration.backends import Backend, local_receipt
from flask_integration.posting import Defaults, Posting, prepare
from flask_integration.staging import Withheld, redirected
from flask_integration.suppression import for_backend, note_refusals, with_answers
from mailbackends import Receipt
from mailbackends.integration import SendCancelled, Staging, settle_when_known
from mailbackends.suppression import SuppressionList, SuppressionLookup

__all__ = [
    "SendCancelled",
    "SenderState",
    "adeliver",
    "adeliver_many",
    "deliver",
    "deliver_many",
    "email_dispatched",
    "email_failed",
    "email_sending",
    "email_sent",
    "prepared",
    "signals",
    "suppressed",
]

signals: Namespace = Namespace()

email_sending: NamedSignal = signals.signal(
    "email-sending",
    doc="""A message is about to be prepared; receivers get ``message``, as it was passed to
    `Mail.send`. They may change it, or raise `SendCancelled` to stop it. Any other exception
    fails the message.""",
)
email_dispatched: NamedSignal = signals.signal(
    "email-dispatched",
    doc="""A message was sent, or would have been if sending were not suppressed.
    Receivers get ``message``, as it was passed to `Mail.send`.""",
)
email_sent: NamedSignal = signals.signal(
    "email-sent",
    doc="""As `email_dispatched`; receivers get ``message`` and ``receipt``.
    Look at ``receipt.refused``: some recipients may have been refused.""",
)
email_failed: NamedSignal = signals.signal(
    "email-failed",
    doc="""A message was not accepted; receivers get ``message`` and ``error``.
    ``error.outcome`` says whether it may have been delivered anyway.""",
)


class SenderState(Defaults, Protocol):
    """The settings that sending uses; a `MailState` has all of them."""

    def lease_backend(self) -> AbstractContextManager[Backend | None]:
        """Return a context manager for where messages go; None if sending is suppressed."""

    @property
    def suppression(self) -> SuppressionList | None:
        """The suppression list that mail is checked against."""

    @property
    def staging(self) -> Staging:
        """MAIL_REDIRECT_ALL_TO and MAIL_ALLOWED_RECIPIENTS."""

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
        receipt = send(prepared(app, message, state, envelope_from))
    except Exception as error:
        return _without_posting(app, message, error)
    _publish(app, message, receipt)
    return receipt


def prepared(
    app: Flask, message: Any, state: SenderState, envelope_from: Address | None = None
) -> Posting:
    """Call the receivers of `email_sending`, and return what `prepare` does, `redirected`.

    Raises:
        SendCancelled: a receiver has stopped the message. Withheld: nobody gets it.
    """
    if email_sending.receivers:
        for receiver in list(email_sending.receivers_for(app)):
            if iscoroutinefunction(receiver):
                raise TypeError(
                    f"{receiver!r} is a coroutine function: connect an ordinary function to "
                    "email_sending"
                )
            receiver(app, message=message)
    return redirected(prepare(message, state, envelope_from), state.staging)


def _without_posting(app: Flask, message: Any, error: Exception) -> Receipt:
    """Publish and raise what became of a message that was not sent."""
    outcome = _outcome(app, message, error)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _outcome(app: Flask, message: Any, error: Exception) -> Receipt | Exception:
    """Publish a failure. A message that was stopped on purpose has none."""
    if isinstance(error, Withheld):
        app.logger.info("Not sent: %s", error)
        return replace(local_receipt(error.posting, f"not sent: {error}"), accepted=())
    if isinstance(error, SendCancelled):
        app.logger.info("Cancelled: %s", error)
    else:
        _publish(app, message, error)
    return error


async def adeliver(
    app: Flask, message: Any, posting: Awaitable[Posting], backend: Backend | None
) -> Receipt:
    """As `deliver`, awaited. ``backend`` is None if sending is suppressed."""
    try:
        prepared = await posting
        receipt = await backend.asend(prepared) if backend else suppressed(prepared)
    except Exception as error:
        return _without_posting(app, message, error)
    except CancelledError as error:
        _publish_later(app, [message], error)
        raise
    _publish(app, message, receipt)
    return receipt


class _Batch:
    """Messages that were read and have no outcome yet, in order."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        # The error is that of a message which could not be prepared.
        self._pending: deque[tuple[Any, Exception | None]] = deque()

    def add(self, message: Any, prepared: Posting | Exception) -> bool:
        """Add a message; True if it is to be sent."""
        error = prepared if isinstance(prepared, Exception) else None
        self._pending.append((message, error))
        return error is None

    def unprepared(self) -> Iterator[Receipt | Exception]:
        """Publish and yield what became of those before the next message that is sent."""
        while self._pending and (error := self._pending[0][1]) is not None:
            yield _outcome(self._app, self._pending.popleft()[0], error)

    def left(self) -> Iterator[Any]:
        """Yield the messages without an outcome, and publish the errors among them."""
        while self._pending:
            for _ in self.unprepared():
                pass
            if self._pending:
                yield self._pending.popleft()[0]

    def publish(self, outcome: Receipt | BaseException) -> None:
        """Publish the outcome of the next message."""
        if self._pending:
            _publish(self._app, self._pending.popleft()[0], outcome)


def deliver_many(
    app: Flask,
    state: SenderState,
    messages: Iterable[Any],
    lookup: SuppressionLookup | None = None,
) -> Iterator[Receipt | Exception]:
    """Yield one outcome for each message, in order, reading messages as outcomes are asked for.

    ``lookup`` has what the suppression list has answered for all of them.
    """
    batch = _Batch(app)

    def postings(backend: Backend | None) -> Iterator[Posting]:
        for message in messages:
            posting: Posting | Exception
            try:
                posting = prepared(app, message, state)
                if backend:
                    posting = with_answers(posting, lookup)
                    posting = for_backend(posting, backend, state.suppression)
            except Exception as error:
                posting = error
            if batch.add(message, posting) and isinstance(posting, Posting):
                yield posting

    with state.lease_backend() as backend:
        given = postings(backend)
        outcomes = backend.send_many(given) if backend else map(suppressed, given)
        try:
            for outcome in outcomes:
                yield from batch.unprepared()
                batch.publish(outcome)
                yield outcome
        except Exception:  # of ``messages``: first, the outcomes of those before it
            yield from batch.unprepared()
            raise
        yield from batch.unprepared()


async def adeliver_many(
    app: Flask,
    backend: Backend | None,
    messages: Iterable[Any],
    prepare_one: Callable[[Any], Awaitable[Posting | Exception]],
    lookup: SuppressionLookup | None = None,
) -> list[Receipt | Exception]:
    """As `deliver_many`, awaited, with a list of all outcomes.

    ``prepare_one`` has asked the suppression list where the backend does not; ``lookup`` is for a
    backend that does.
    """
    batch = _Batch(app)
    found: list[Receipt | Exception] = []

    async def prepared() -> AsyncGenerator[Posting, None]:
        for message in messages:
            posting = await prepare_one(message)
            if batch.add(message, posting) and isinstance(posting, Posting):
                yield with_answers(posting, lookup)

    async def withheld() -> AsyncGenerator[Receipt | Exception, None]:
        async for posting in prepared():
            yield suppressed(posting)

    try:
        outcomes = backend.asend_many(prepared()) if backend else withheld()
        async with aclosing(outcomes):
            async for outcome in outcomes:
                found += batch.unprepared()
                batch.publish(outcome)
                found.append(outcome)
    except CancelledError as error:
        _publish_later(app, batch.left(), error)
        raise
    found += batch.unprepared()
    return found


def _publish_later(app: Flask, messages: Iterable[Any], error: CancelledError) -> None:
    """Publish what becomes of the messages that the Mailer had when its caller left."""

    async def publish(message: Any, outcome: Receipt | BaseException) -> None:
        _publish(app, message, outcome)

    for message, result in zip(messages, getattr(error, "results", ()), strict=False):
        if result.done():
            _publish(app, message, result.result())
        else:
            settle_when_known(result, partial(publish, message), error)


def _publish(app: Flask, message: Any, outcome: Receipt | BaseException) -> None:
    note_refusals(app, outcome)
    if isinstance(outcome, BaseException):
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
