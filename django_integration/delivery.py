"""One call of ``send_messages()``: each message sent, and what became of it noted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage
from django.dispatch import Signal

from django_integration.errors import BatchError, PartialRefusal, SendCancelled
from django_integration.logs import logger
from django_integration.messages import as_submission
from django_integration.signals import post_send, pre_send, send_failed
from mailbackends import Mailer, Receipt, SMTPException, Submission

if TYPE_CHECKING:
    from django_integration.backend import EmailBackend

__all__ = ["Delivery", "receipt_of"]

SendOne = Callable[[Submission], Receipt]


def receipt_of(message: EmailMessage) -> Receipt | None:
    """The receipt of a message that this backend has sent, else None.

    Under a backend that knows no receipts, such as the one that fills ``mail.outbox`` in
    tests, the message has no attribute ``receipt``: this asks without failing.
    """
    receipt: Receipt | None = getattr(message, "receipt", None)
    return receipt


class _Noted:
    """A message, and what became of it."""

    __slots__ = ("message", "result")

    def __init__(self, message: EmailMessage) -> None:
        self.message = message
        self.result: Receipt | Exception


class Delivery:
    """Sends messages and settles each: attributes, log, signals."""

    def __init__(self, backend: EmailBackend) -> None:
        self.backend = backend
        self.sent = 0
        self._noted: list[_Noted] = []
        self._is_fast = False  # another connection than the pool's takes a message as Django's
        self._unreachable: SMTPException | None = None

    def by_mailer(self, mailer: Mailer, messages: Iterable[EmailMessage]) -> None:
        """Send all through the pool; a failure of one does not stop the others.

        But where the server cannot be reached, none of those behind waits for that anew.
        """
        self._is_fast = mailer.options.fast_paths
        waiting: deque[_Noted] = deque()
        for result in mailer.stream_messages(self._submissions(messages, waiting)):
            self._settle(waiting.popleft(), result)
            if isinstance(result, SMTPException) and result.no_connection:
                self._unreachable = result

    def one_by_one(self, send: SendOne, messages: Iterable[EmailMessage]) -> None:
        """Send each with ``send``, which raises."""
        waiting: deque[_Noted] = deque()
        for submission in self._submissions(messages, waiting):
            try:
                result: Receipt | Exception = send(submission)
            except Exception as error:
                result = error
            self._settle(waiting.popleft(), result)

    def finish(self) -> int:
        """How many messages were sent.

        Where the backend fails silently, what the network and the server did (``OSError``,
        as with Django's own) is kept silent, and not what the application did wrong.

        Raises:
            BatchError: one of several messages failed.
            Exception: the one message failed, or all of them from the same cause, such as
                a server that cannot be reached.
        """
        if self.sent == len(self._noted) and self.backend.on_partial_refusal != "raise":
            return self.sent
        outcomes = [(noted.message, noted.result) for noted in self._noted]
        failures = [
            result
            for _, result in outcomes
            if isinstance(result, Exception)
            and not isinstance(result, SendCancelled)
            and not (self.backend.fail_silently and isinstance(result, OSError))
        ]
        if not failures:
            return self.sent
        if len(outcomes) == 1 or len(failures) == len(outcomes) == failures.count(failures[0]):
            raise failures[0]
        raise BatchError(outcomes) from failures[0]

    def _submissions(
        self, messages: Iterable[EmailMessage], waiting: deque[_Noted]
    ) -> Iterator[Submission]:
        for message in messages:
            noted = _Noted(message)
            self._noted.append(noted)
            prepared = self._unreachable or self._prepare(message)
            if isinstance(prepared, Exception):
                self._settle(noted, prepared)
            else:
                waiting.append(noted)
                yield prepared

    def _prepare(self, message: EmailMessage) -> Submission | Exception:
        try:
            if pre_send.receivers:
                self._announce(pre_send, message, robust=False)
            return as_submission(message, self.backend.staging, fast=self._is_fast)
        except Exception as error:
            return error

    def _settle(self, noted: _Noted, result: Receipt | Exception) -> None:
        message: Any = noted.message
        noted.result = result
        is_receipt = isinstance(result, Receipt)
        message.receipt = result if is_receipt else None
        message.send_error = None if is_receipt else result
        if isinstance(result, Receipt):
            self.sent += 1
            logger.debug("Sent: %s", result)
            if post_send.receivers:
                self._announce(post_send, message, receipt=result)
            if result.refused and self.backend.on_partial_refusal == "raise":
                # The Mailer has logged it as a warning.
                noted.result = message.send_error = PartialRefusal(result)
        elif isinstance(result, SendCancelled):
            logger.info("Not sent, as told: %s", result)
        else:
            logger.warning("Not sent (%s): %s", type(result).__name__, result)
            self._announce(send_failed, message, error=result)

    def _announce(
        self, signal: Signal, message: EmailMessage, *, robust: bool = True, **more: Any
    ) -> None:
        send = signal.send_robust if robust else signal.send
        backend = self.backend
        send(type(backend), message=message, alias=backend.alias, backend=backend, **more)
