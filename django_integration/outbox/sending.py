"""Attempts: messages of one mailer through its backend, with the outcome of each."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_integration.backend import EmailBackend
from django_integration.outbox.blobs import blob_store
from django_integration.outbox.delivering import delivering_aliases, delivering_backend
from django_integration.outbox.stored import StoredEmailMessage
from django_integration.registry import registry
from mailbackends import (
    BeforeEndError,
    ConfigurationError,
    InvalidMessageError,
    Outcome,
    Receipt,
    Reply,
    SMTPException,
    SMTPRecipientsRefused,
)
from mailbackends.outbox import (
    BlobStore,
    MailerDelivery,
    OutboxMessage,
    whole_content,
)
from mailbackends.outbox.delivery import BeforeEndOfMessages, Result

__all__ = ["DjangoDelivery"]


class DjangoDelivery:
    """Sends by the mailers in the settings: a `mailbackends.outbox.Deliver`."""

    @property
    def aliases(self) -> Sequence[str]:
        """The mailers that do not queue."""
        return delivering_aliases()

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], before_end: BeforeEndOfMessages
    ) -> Iterator[Result]:
        """See `mailbackends.outbox.Deliver`."""
        try:
            backend = delivering_backend(alias)
            is_ours = isinstance(backend, EmailBackend) and not backend._is_extended()
            key = backend.mailer_key if is_ours else None
        except (ImproperlyConfigured, ConfigurationError, ImportError) as error:
            # All of them wait until the settings are right again.
            yield from ((message, _no_mailer(error)) for message in messages)
            return
        if key is None:
            yield from _by_backend(backend, messages, before_end)
            return
        with registry.mailer(key) as mailer:
            delivery = MailerDelivery({alias: mailer}, blob_store())
            yield from delivery.deliver(alias, messages, before_end)


def _no_mailer(error: Exception) -> SMTPException:
    failure = SMTPException(f"the mailer cannot be used: {error}")
    failure.outcome, failure.no_connection = Outcome.NOT_SENT, True
    failure.__cause__ = error
    return failure


def _by_backend(
    backend: Any, messages: Iterator[OutboxMessage], before_end: BeforeEndOfMessages
) -> Iterator[Result]:
    """Send through a backend that cannot say when the end of a message leaves.

    So each has begun before the backend gets it. Only a failure to open the backend, and a
    reply of the server, are certain; any other exception leaves the outcome unknown.
    """
    blobs = blob_store()
    try:
        backend.open()
    except Exception as error:
        backend.close()
        yield from ((message, _no_mailer(error)) for message in messages)
        return
    try:
        for message in messages:
            yield message, _attempt(backend, message, blobs, before_end)
    finally:
        backend.close()


def _attempt(
    backend: Any,
    message: OutboxMessage,
    blobs: BlobStore | None,
    before_end: BeforeEndOfMessages,
) -> Receipt | Exception:
    try:
        content = whole_content(message, blobs)
        made = StoredEmailMessage(content, message.sender, message.pending)
    except SMTPException as error:
        return error
    except Exception as error:
        text = f"the message cannot be prepared: {type(error).__name__}: {error}"
        return InvalidMessageError(text)
    try:
        before_end([message])
    except Exception as error:
        failure = BeforeEndError(f"before_end failed: {error}")
        failure.__cause__ = error
        return failure
    return _sent(backend, made, message)


def _sent(backend: Any, made: StoredEmailMessage, message: OutboxMessage) -> Receipt | Exception:
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
