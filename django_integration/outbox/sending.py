"""Attempts: messages of one alias through its backend, with the outcome of each."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_integration.backend import EmailBackend
from django_integration.outbox.blobs import blob_store
from django_integration.outbox.delivering import delivering_backend
from django_integration.outbox.stored import StoredEmailMessage
from django_integration.registry import registry
from mailbackends import (
    ConfigurationError,
    Outcome,
    Receipt,
    Reply,
    SMTPException,
    SMTPRecipientsRefused,
    Submission,
)
from mailbackends.outbox import OutboxMessage, source_of, submission_of

__all__ = ["Begin", "Result", "attempts"]

Begin = Callable[[Sequence[OutboxMessage]], None]
"""Commits that the end of these messages may leave; raises if they must not be sent."""
Result = Receipt | Exception


def attempts(
    alias: str, messages: Sequence[OutboxMessage], begin: Begin
) -> Iterator[tuple[OutboxMessage, Result]]:
    """Send each message, and yield it with its receipt or error, in any order.

    A message that is not yielded before the iterator is closed was not tried.
    """
    try:
        backend = delivering_backend(alias)
    except (ImproperlyConfigured, ConfigurationError, ImportError) as error:
        # All of them wait until the settings are right again.
        yield messages[0], _no_mailer(error)
        return
    if isinstance(backend, EmailBackend) and not backend._is_extended():
        yield from _by_mailer(backend, messages, begin)
    else:
        yield from _by_backend(backend, messages, begin)


def _no_mailer(error: Exception) -> SMTPException:
    failure = SMTPException(f"the mailer cannot be used: {error}")
    failure.outcome, failure.no_connection = Outcome.NOT_SENT, True
    failure.__cause__ = error
    return failure


# --- Our own backend --------------------------------------------------------------------------


def _by_mailer(
    backend: EmailBackend, messages: Sequence[OutboxMessage], begin: Begin
) -> Iterator[tuple[OutboxMessage, Result]]:
    blobs = blob_store()
    waiting: list[OutboxMessage] = []
    broken: list[tuple[OutboxMessage, Exception]] = []

    def before_end(ending: list[Submission]) -> None:
        begin([each.reference for each in ending])

    def submissions() -> Iterator[Submission]:
        for message in messages:
            try:
                made = submission_of(message, blobs, before_end=before_end, reference=message)
            except Exception as error:
                broken.append((message, error))
            else:
                waiting.append(message)
                yield made

    with registry.mailer(backend.mailer_key) as mailer:
        for result in mailer.stream_messages(submissions()):
            yield waiting.pop(0), result
            while broken:
                yield broken.pop()
    yield from broken


# --- Any other backend ------------------------------------------------------------------------


def _by_backend(
    backend: Any, messages: Sequence[OutboxMessage], begin: Begin
) -> Iterator[tuple[OutboxMessage, Result]]:
    """Send through a backend that cannot say when the end of a message leaves.

    So each has begun before the backend gets it. Only a failure to open the backend, and a
    reply of the server, are certain; any other exception leaves the outcome unknown.
    """
    blobs = blob_store()
    try:
        backend.open()
    except Exception as error:
        backend.close()
        yield messages[0], _no_mailer(error)
        return
    try:
        for message in messages:
            try:
                content = b"".join(source_of(message, blobs))
                made = StoredEmailMessage(content, message.sender, message.pending)
                begin([message])
            except Exception as error:
                yield message, error
                continue
            yield message, _sent(backend, made, message)
    finally:
        backend.close()


def _sent(backend: Any, made: StoredEmailMessage, message: OutboxMessage) -> Result:
    try:
        count = backend.send_messages([made])
    except Exception as error:
        return _explained(error)
    # Backends by third parties often return nothing.
    if count is None or count:
        receipt: Any = getattr(made, "receipt", None)
        if isinstance(receipt, Receipt):
            return receipt
        return Receipt(message.pending, Reply(250), message_id=message.message_id)
    failure = SMTPException("the backend returned 0: it has sent nothing")
    failure.outcome = Outcome.NOT_SENT
    return failure


def _explained(error: Exception) -> Exception:
    """The error with the outcome that it shows for certain, or as it is."""
    if getattr(error, "outcome", None) is not None:
        return error
    failure: SMTPException
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        failure = SMTPRecipientsRefused(error.recipients)
        failure.refused = {
            address: Reply.of(code, text) for address, (code, text) in error.recipients.items()
        }
    elif isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError):
        failure = SMTPException(f"{type(error).__name__}: {error}")
        failure.reply = Reply.of(error.smtp_code, error.smtp_error)
    else:
        return error
    failure.outcome = Outcome.REFUSED
    failure.__cause__ = error
    return failure
