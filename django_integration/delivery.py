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


class Delivery:
    """Sends messages and settles each: attributes, log, signals."""

    def __init__(self, backend: EmailBackend) -> None:
        self.backend = backend
        self.sent = 0
        self._messages: list[EmailMessage] = []
        self._results: dict[int, Receipt | Exception] = {}
        self._fast = False  # another connection than the pool's takes the message as Django's

    @property
    def outcomes(self) -> list[tuple[EmailMessage, Receipt | Exception]]:
        """What became of each message, in their order."""
        return [(self._messages[index], self._results[index]) for index in sorted(self._results)]

    def by_mailer(self, mailer: Mailer, messages: Iterable[EmailMessage]) -> None:
        """Send all through the pool; a failure of one does not stop the others."""
        self._fast = mailer.options.fast_paths
        rest = iter(messages)
        waiting: deque[int] = deque()
        for result in mailer.send_messages(self._submissions(rest, waiting)):
            self._settle(waiting.popleft(), result)
            if isinstance(result, SMTPException) and result.no_connection:
                self._give_up(rest, result)
                break

    def one_by_one(self, send: SendOne, messages: Iterable[EmailMessage]) -> None:
        """Send each with ``send``, which raises."""
        waiting: deque[int] = deque()
        for submission in self._submissions(messages, waiting):
            try:
                result: Receipt | Exception = send(submission)
            except Exception as error:
                result = error
            self._settle(waiting.popleft(), result)

    def _give_up(self, rest: Iterator[EmailMessage], error: SMTPException) -> None:
        """The server cannot be reached: do not wait for that with each message anew."""
        for message in rest:
            self._messages.append(message)
            self._settle(len(self._messages) - 1, error)

    def finish(self) -> int:
        """How many messages were sent.

        Where the backend fails silently, what the network and the server did (``OSError``,
        as with Django's own) is kept silent, and not what the application did wrong.

        Raises:
            BatchError: one of several messages failed.
            Exception: the one message failed, or all of them from the same cause, such as
                a server that cannot be reached.
        """
        outcomes = self.outcomes
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
        self, messages: Iterable[EmailMessage], waiting: deque[int]
    ) -> Iterator[Submission]:
        for message in messages:
            index = len(self._messages)
            self._messages.append(message)
            prepared = self._prepare(message)
            if isinstance(prepared, Exception):
                self._settle(index, prepared)
            else:
                waiting.append(index)
                yield prepared

    def _prepare(self, message: EmailMessage) -> Submission | Exception:
        try:
            self._announce(pre_send, message, robust=False)
            if not message.recipients():
                return SendCancelled("it has no recipients")
            return as_submission(message, self.backend.staging, fast=self._fast)
        except Exception as error:
            return error

    def _settle(self, index: int, result: Receipt | Exception) -> None:
        message = self._messages[index]
        if isinstance(result, Receipt):
            self.sent += 1
            _note(message, receipt=result)
            logger.debug("Sent: %s", result)
            self._announce(post_send, message, receipt=result)
            if result.refused:
                result = self._partially_refused(message, result)
        elif isinstance(result, SendCancelled):
            _note(message, error=result)
            logger.info("Not sent, as told: %s", result)
        else:
            _note(message, error=result)
            logger.warning("Not sent (%s): %s", type(result).__name__, result)
            self._announce(send_failed, message, error=result)
        self._results[index] = result

    def _partially_refused(self, message: EmailMessage, receipt: Receipt) -> Receipt | Exception:
        # The Mailer has logged it as a warning.
        if self.backend.on_partial_refusal != "raise":
            return receipt
        error = PartialRefusal(receipt)
        _note(message, receipt=receipt, error=error)
        return error

    def _announce(
        self, signal: Signal, message: EmailMessage, *, robust: bool = True, **more: Any
    ) -> None:
        if not signal.receivers:
            return
        send = signal.send_robust if robust else signal.send
        backend = self.backend
        send(type(backend), message=message, alias=backend.alias, backend=backend, **more)


def _note(
    message: EmailMessage, *, receipt: Receipt | None = None, error: Exception | None = None
) -> None:
    message.receipt = receipt  # type: ignore[attr-defined]
    message.send_error = error  # type: ignore[attr-defined]
