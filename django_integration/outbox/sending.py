"""Attempts: messages of one mailer through its backend, with the outcome of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_integration.backend import EmailBackend
from django_integration.outbox.blobs import blob_store
from django_integration.outbox.delivering import delivering_aliases, delivering_backend
from django_integration.outbox.rendering import render_django_message
from django_integration.outbox.stored import StoredEmailMessage
from django_integration.registry import registry
from django_integration.suppression.lists import list_for
from mailbackends import (
    ConfigurationError,
    Outcome,
    Receipt,
    Reply,
    SMTPException,
)
from mailbackends.outbox import (
    MailerDelivery,
    OutboxMessage,
)
from mailbackends.outbox.delivery import Hooks, Result
from mailbackends.outbox.other_backends import send_by
from mailbackends.outbox.rendering import deliver_rendered
from mailbackends.suppression import SuppressionList

__all__ = ["DjangoDelivery"]


class DjangoDelivery:
    """Sends by the mailers in the settings: a `mailbackends.outbox.Deliver`."""

    @property
    def aliases(self) -> Sequence[str]:
        """The mailers that do not queue."""
        return delivering_aliases()

    def suppression(self, alias: str) -> SuppressionList | None:
        """The suppression list of that mailer; see `mailbackends.outbox.Deliver`."""
        try:
            return list_for(delivering_backend(alias))
        except (ImproperlyConfigured, ConfigurationError, ImportError):
            return None  # `deliver` says what is wrong.

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        """See `mailbackends.outbox.Deliver`."""
        yield from deliver_rendered(
            messages,
            hooks,
            partial(render_django_message, alias=alias),
            lambda some, hooks: self._deliver(alias, some, hooks),
        )

    def _deliver(
        self, alias: str, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        try:
            backend = delivering_backend(alias)
            is_ours = isinstance(backend, EmailBackend) and not backend._is_extended()
            key = backend.mailer_key if is_ours else None
        except (ImproperlyConfigured, ConfigurationError, ImportError) as error:
            # All of them wait until the settings are right again.
            yield from (((message, _no_mailer(error)),) for message in messages)
            return
        if key is None:
            yield from _by_backend(backend, messages, hooks)
            return
        with registry.mailer(key) as mailer:
            delivery = MailerDelivery({alias: mailer}, blob_store())
            yield from delivery.deliver(alias, messages, hooks)


def _no_mailer(error: Exception) -> SMTPException:
    failure = SMTPException(f"the mailer cannot be used: {error}")
    failure.outcome, failure.no_connection = Outcome.NOT_SENT, True
    failure.__cause__ = error
    return failure


def _by_backend(
    backend: Any, messages: Iterator[OutboxMessage], hooks: Hooks
) -> Iterator[Sequence[Result]]:
    """Send through a backend that cannot say when the end of a message leaves.

    See `send_by`. A failure to open the backend is certain, too.
    """
    try:
        backend.open()
    except Exception as error:
        backend.close()
        yield from (((message, _no_mailer(error)),) for message in messages)
        return

    def prepare(message: OutboxMessage, content: bytes) -> StoredEmailMessage:
        return StoredEmailMessage(content, message.sender, message.pending)

    def send(message: OutboxMessage, made: StoredEmailMessage) -> Receipt | Exception:
        return _sent(backend, made, message)

    try:
        yield from send_by(send, messages, hooks, prepare=prepare, blobs=blob_store())
    finally:
        backend.close()


def _sent(backend: Any, made: StoredEmailMessage, message: OutboxMessage) -> Receipt | Exception:
    count = backend.send_messages([made])
    # Backends by third parties often return nothing.
    if count is None or count:
        receipt: Any = getattr(made, "receipt", None)
        if isinstance(receipt, Receipt):
            return receipt
        return Receipt(message.pending, Reply(250), message_id=message.message_id)
    failure = SMTPException("the backend returned 0: it has sent nothing")
    failure.outcome = Outcome.NOT_SENT
    return failure
