"""One call of ``send_messages()``: send each message and record its outcome."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, cast

from django.core.mail import EmailMessage
from django.dispatch import Signal

from django_integration.attachments import as_django_message
from django_integration.configuration import Configuration, InvalidConfiguration
from django_integration.errors import BatchError, PartialRefusal, SendCancelled
from django_integration.logs import logger
from django_integration.messages import as_submission
from django_integration.rendering import Rendering, rendered
from django_integration.signals import post_send, pre_send, send_failed
from django_integration.staging import Staging
from django_integration.suppression.lists import checked, list_for, recipients_of
from mailbackends import (
    ConfigurationError,
    Email,
    InvalidAddressError,
    InvalidMessageError,
    Mailer,
    Options,
    PoolTimeout,
    Receipt,
    RecipientsSuppressed,
    SMTPException,
    Submission,
)
from mailbackends.errors import SuppressionError
from mailbackends.suppression import SuppressionList, SuppressionLookup

__all__ = ["Delivery", "receipt_of"]

SendOne = Callable[[Submission], Receipt]
Result = Receipt | BaseException
"""A `BaseException` is the ``CancelledError`` of an asynchronous caller that has left."""
_SIGNAL_FAILED = "The signal for a message could not be sent"


def receipt_of(message: EmailMessage) -> Receipt | None:
    """The receipt of a message that this backend has sent, else None.

    Other backends, such as the one that fills ``mail.outbox`` in tests, do not set the
    attribute ``receipt``; this function works after those too.
    """
    receipt: Receipt | None = getattr(message, "receipt", None)
    return receipt


def _is_from_outside(error: Exception) -> bool:
    """True for errors of network and server, False for mistakes of the application."""
    is_invalid = isinstance(error, ConfigurationError | InvalidAddressError | InvalidMessageError)
    return isinstance(error, OSError) and not is_invalid


class _Backend(Protocol):
    alias: str | None
    fail_silently: bool
    staging: Staging
    rendering: Rendering
    on_partial_refusal: str
    on_suppressed: str

    _configuration: Configuration | InvalidConfiguration


class _Entry:
    """A message and its result."""

    __slots__ = ("message", "result")

    def __init__(self, message: EmailMessage) -> None:
        self.message = message
        self.result: Result


class Delivery:
    """Sends messages, and for each one sets its attributes, logs it and sends its signals."""

    def __init__(self, backend: _Backend) -> None:
        self.backend = backend
        self.accepted: int = 0
        self._entries: list[_Entry] = []
        self._options: Options | None = None  # of the Mailer, if that is what sends
        self._lookup: SuppressionLookup | None = None
        self._unreachable: SMTPException | None = None
        self._unreachable_since = 0.0

    def send_by_mailer(self, mailer: Mailer, messages: Iterable[EmailMessage | Email]) -> None:
        """Send all messages through the pool; a failed message does not stop the others.

        Once the server could not be reached, further messages fail without waiting for it
        again, until ``circuit_pause`` has passed.
        """
        self._options = mailer.options
        if self._options.suppression is not None:
            self._ask(self._options.suppression, messages)
        waiting: deque[_Entry] = deque()
        for result in mailer.stream_messages(self._submissions(messages, waiting)):
            entry = waiting.popleft()
            if to_send := self._record(entry, result):
                self._publish(entry, *to_send)

    def send_one_by_one(self, send: SendOne, messages: Iterable[EmailMessage | Email]) -> None:
        """Send each message with ``send``, which raises on failure."""
        if (listed := list_for(self.backend)) is not None:
            self._ask(listed, messages)
        waiting: deque[_Entry] = deque()
        for submission in self._submissions(messages, waiting):
            try:
                result: Receipt | Exception = send(submission)
            except Exception as error:
                result = error
            entry = waiting.popleft()
            if to_send := self._record(entry, result):
                self._publish(entry, *to_send)

    def finish(self) -> int:
        """The number of accepted messages.

        With ``fail_silently``, errors of the network and the server (``OSError``) are not
        raised, as in Django's own backend. Errors of the application are.

        Raises:
            BatchError: one of several messages failed.
            Exception: the only message failed, or all failed with the same exception, such
                as a server that cannot be reached.
        """
        if self.accepted == len(self._entries) and self.backend.on_partial_refusal != "raise":
            return self.accepted
        outcomes: Any = [(entry.message, entry.result) for entry in self._entries]
        failures = [
            result
            for _, result in outcomes
            if isinstance(result, Exception)
            and not isinstance(result, SendCancelled)
            and not (
                isinstance(result, RecipientsSuppressed) and self.backend.on_suppressed != "raise"
            )
            and not (self.backend.fail_silently and _is_from_outside(result))
        ]
        if not failures:
            return self.accepted
        if len(outcomes) == 1 or len(failures) == len(outcomes) == failures.count(failures[0]):
            raise failures[0]
        raise BatchError(outcomes) from failures[0]

    # What follows decides, and waits for nothing: `AsyncDelivery` uses it too.

    def _ask(self, listed: SuppressionList, messages: Iterable[EmailMessage | Email]) -> None:
        """Ask the suppression list about the recipients of all messages, if they are a list."""
        self._lookup = SuppressionLookup(listed)
        if isinstance(messages, list | tuple):
            # If it cannot be asked, each message asks by itself, and gets the error.
            with suppress(SuppressionError):
                self._lookup.prefetch(map(recipients_of, messages))

    def _still_unreachable(self) -> SMTPException | None:
        """The error for further messages, until ``circuit_pause`` has passed."""
        pause = self._options.circuit_pause if self._options else 0.0
        if time.monotonic() - self._unreachable_since >= pause:
            self._unreachable = None
        return self._unreachable

    def _build(self, message: EmailMessage) -> Submission | Exception:
        # Only the Mailer takes written messages.
        is_fast = self._options is not None and self._options.fast_paths
        try:
            if (rendering := self.backend.rendering).is_active:
                message = rendered(message, rendering)
            submission = as_submission(message, self.backend.staging, fast=is_fast)
            if self._lookup is None:
                return submission
            return checked(message, submission, self._lookup)
        except Exception as error:
            return error

    def _record(self, entry: _Entry, result: Result) -> tuple[Signal, dict[str, Any]] | None:
        """Set the message's attributes, and log the result.

        Returns the signal and its arguments for `_publish`; None if there is nothing to do.
        """
        message: Any = entry.message
        if isinstance(result, SMTPException):
            result.wording = self.backend._configuration.wording
            if self._options and result is not self._unreachable and _is_unreachable(result):
                self._unreachable, self._unreachable_since = result, time.monotonic()
        entry.result = result
        is_receipt = isinstance(result, Receipt)
        message.receipt = result if is_receipt else None
        message.send_error = None if is_receipt else result
        if isinstance(result, Receipt):
            self.accepted += 1
            logger.debug("Sent: %s", result)
            is_error = result.refused and self.backend.on_partial_refusal == "raise"
            return (post_send, {"receipt": result}) if post_send.receivers or is_error else None
        if isinstance(result, SendCancelled):
            logger.info("Cancelled: %s", result)
            return None
        is_suppressed = isinstance(result, RecipientsSuppressed)
        level = logging.INFO if is_suppressed else logging.WARNING
        logger.log(level, "Not sent (%s): %s", type(result).__name__, result)
        return (send_failed, {"error": result}) if send_failed.receivers else None

    def _leave(self, entry: _Entry, error: BaseException) -> None:
        """Set the attributes of a message whose caller has left before its result was known."""
        message: Any = entry.message
        entry.result = error
        message.receipt, message.send_error = None, error

    def _apply_policy(self, entry: _Entry) -> None:
        """Make an error of a partial refusal, for ``on_partial_refusal``; after the signal."""
        result = entry.result
        is_partial = isinstance(result, Receipt) and result.refused
        if is_partial and self.backend.on_partial_refusal == "raise":
            # The Mailer has already logged a warning.
            message: Any = entry.message
            entry.result = message.send_error = PartialRefusal(cast(Receipt, result))

    def _arguments(self, message: EmailMessage) -> dict[str, Any]:
        """What each signal has."""
        backend = self.backend
        return {
            "sender": type(backend),
            "message": message,
            "alias": backend.alias,
            "backend": backend,
        }

    # What follows waits.

    def _submissions(
        self, messages: Iterable[EmailMessage | Email], waiting: deque[_Entry]
    ) -> Iterator[Submission]:
        for given in messages:
            message = as_django_message(given) if isinstance(given, Email) else given
            entry = _Entry(message)
            self._entries.append(entry)
            prepare = self._prepare if pre_send.receivers else self._build
            prepared = (self._unreachable and self._still_unreachable()) or prepare(message)
            if isinstance(prepared, Exception):
                if to_send := self._record(entry, prepared):
                    self._publish(entry, *to_send)
            else:
                waiting.append(entry)
                yield prepared

    def _prepare(self, message: EmailMessage) -> Submission | Exception:
        try:
            pre_send.send(**self._arguments(message))
        except Exception as error:
            return error
        return self._build(message)

    def _publish(self, entry: _Entry, signal: Signal, more: dict[str, Any]) -> None:
        try:
            signal.send_robust(**self._arguments(entry.message), **more)
        except Exception:
            # The message is settled. Django itself raises here if a receiver is a coroutine
            # function and this thread is running an event loop.
            logger.exception(_SIGNAL_FAILED)
        self._apply_policy(entry)


def _is_unreachable(error: SMTPException) -> bool:
    """True if the next message could not be sent either; the pool may be free again by then."""
    return error.no_connection and not isinstance(error, PoolTimeout)
