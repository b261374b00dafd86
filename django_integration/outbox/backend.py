"""`EmailBackend` queues all mail of an application, `enqueue` one message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from django_integration.attachments import as_django_message
from django_integration.compat import HAS_MAILERS, configuration_error, resolve_lazy
from django_integration.errors import BatchError, SendCancelled
from django_integration.logs import logger
from django_integration.outbox.delivering import default_via
from django_integration.outbox.health import check_outbox
from django_integration.outbox.queueing import Moment, insert, prepare
from django_integration.signals import pre_send
from mailbackends import ConfigurationError, Email
from mailbackends.outbox import OnUnknown, OutboxMessage, Priority, Queued

__all__ = ["EmailBackend", "aenqueue", "enqueue"]


class EmailBackend(BaseEmailBackend):
    """Queues messages in the outbox, in the caller's transaction, instead of sending them.

    After that each message has ``receipt``, a `mailbackends.outbox.Queued`, and ``send_error``,
    one of which is None. What cannot be sent is refused with the error of the mailer that
    delivers.

    Args:
        via: the alias of that mailer.
        priority, on_unknown: for all messages of this backend; see `enqueue`.

    Raises:
        InvalidMailer, SettingsError: an argument is unknown or unusable.
    """

    queues_mail = True
    """True for a backend that queues: it cannot deliver what the outbox has."""

    def __init__(
        self,
        fail_silently: bool = False,
        *,
        via: str | None = None,
        priority: Any = None,
        on_unknown: Any = None,
        username: Any = None,
        password: Any = None,
        **kwargs: Any,
    ) -> None:
        self.fail_silently = fail_silently
        self.alias: str | None = kwargs.get("alias")
        if not apps.is_installed("django_integration.outbox"):
            raise configuration_error(
                "The outbox has no tables: add 'django_integration.outbox' to INSTALLED_APPS, and "
                "run manage.py migrate.",
                self.alias,
            )
        if username or password:
            raise configuration_error(
                "The outbox sends with the login of the mailer that delivers: leave auth_user and "
                "auth_password out, or send this message with another mailer.",
                self.alias,
            )
        if HAS_MAILERS:
            super().__init__(**kwargs)
        elif kwargs:
            names = ", ".join(map(repr, kwargs))
            raise configuration_error(
                f"Unknown options {names}. Use via, priority and on_unknown.", None
            )
        else:
            super().__init__()
        self._via = via
        try:
            self.priority: Priority | None = (
                None if priority is None else Priority.of(resolve_lazy(priority))
            )
            self.on_unknown: OnUnknown | None = (
                None if on_unknown is None else OnUnknown.of(on_unknown)
            )
        except ConfigurationError as error:
            raise configuration_error(str(error), self.alias) from error

    @property
    def via(self) -> str:
        """The alias of the mailer that delivers.

        Raises:
            ImproperlyConfigured: none is given.
        """
        return self._via or default_via()

    def check_health(self) -> str | None:
        """What keeps queued mail from getting out, for `check_mail`; None if nothing does.

        Raises:
            DatabaseError: the outbox cannot be read.
        """
        return check_outbox().error

    def send_messages(self, email_messages: Iterable[EmailMessage | Email]) -> int:
        """Queue all messages; return how many were queued.

        A message that cannot be sent does not stop the others.

        Raises:
            SMTPException, ValueError: the only message cannot be sent.
            BatchError: one of several messages cannot be sent.
            DatabaseError: they cannot be stored.
        """
        results: list[tuple[EmailMessage, Any]] = []
        made: list[OutboxMessage] = []
        for given in email_messages or ():
            message = as_django_message(given) if isinstance(given, Email) else given
            result = self._prepared(message)
            results.append((message, result))
            if isinstance(result, OutboxMessage):
                made.append(result)
        if not results:
            return 0
        receipts = iter(insert(made) if made else ())
        outcomes: list[tuple[EmailMessage, Any]] = [
            (message, next(receipts) if isinstance(result, OutboxMessage) else result)
            for message, result in results
        ]
        for message, outcome in outcomes:
            self._mark(message, outcome)
        return self._finish(outcomes, len(made))

    def _prepared(self, message: EmailMessage) -> OutboxMessage | Exception:
        try:
            if pre_send.receivers:
                pre_send.send(sender=type(self), message=message, alias=self.alias, backend=self)
            return prepare(message, self.via, priority=self.priority, on_unknown=self.on_unknown)
        except ImproperlyConfigured:
            raise
        except Exception as error:
            return error

    def _mark(self, message: Any, result: Queued | Exception) -> None:
        is_queued = isinstance(result, Queued)
        message.receipt = result if is_queued else None
        message.send_error = None if is_queued else result
        if is_queued:
            logger.debug("Queued: %s", result)
        elif isinstance(result, SendCancelled):
            logger.info("Cancelled: %s", result)
        else:
            logger.warning("Not queued (%s): %s", type(result).__name__, result)

    def _finish(self, outcomes: list[tuple[EmailMessage, Any]], queued: int) -> int:
        failures = [
            result
            for _, result in outcomes
            if isinstance(result, Exception) and not isinstance(result, SendCancelled)
        ]
        if not failures:
            return queued
        if len(outcomes) == 1:
            raise failures[0]
        raise BatchError(outcomes) from failures[0]


def enqueue(
    message: EmailMessage | Email,
    *,
    key: str | None = None,
    at: Moment = None,
    expires: Moment = None,
    priority: Priority | int | str | None = None,
    on_unknown: OnUnknown | str | None = None,
    via: str | None = None,
    render: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> Queued:
    """Queue a message in the caller's transaction: with a rollback it is not sent.

    It is sent once, after the commit, by a worker (``manage.py outbox work``). ``message.receipt``
    is the `Queued` that is returned; a `mailbackends.Email` has no such attribute.

    Args:
        key: a second message with the same key is not queued: the first one's receipt is
            returned, with ``is_new`` False.
        at: the earliest time to send it, ``expires`` the latest: aware datetimes, or timedeltas
            from now. Without ``expires`` it is tried for three days (``retry["lifetime"]``).
        priority: ``"low"``, ``"normal"``, ``"high"`` or ``"urgent"``.
        on_unknown: ``"hold"``, ``"resend"`` or ``"ask"``: see `mailbackends.outbox.OnUnknown`.
        via: the alias of the mailer that delivers.
        render: the path of a function that makes the content just before it is sent. It is called
            with the message, which has addresses, subject and headers, and sets its body; or it
            returns another one. If it fails, the message is parked with the reason; if a database
            or another service cannot be reached, it is called again later.
        context: its keyword arguments, as JSON: the id of an order, and not the order.

    Raises:
        InvalidAddressError, InvalidMessageError, SendCancelled: as when it is sent.
        ConfigurationError: an argument is unusable.
        KeyReusedError: another message has this key.
    """
    if isinstance(message, Email):
        message = as_django_message(message)
    alias = via or default_via()
    pre_send.send(sender=EmailBackend, message=message, alias=alias, backend=None)
    made = prepare(
        message,
        alias,
        key=key,
        at=at,
        expires=expires,
        priority=priority,
        on_unknown=on_unknown,
        render=render,
        context=context,
    )
    [receipt] = insert([made])
    marked: Any = message
    marked.receipt, marked.send_error = receipt, None
    return receipt


async def aenqueue(message: EmailMessage | Email, **options: Any) -> Queued:
    """As `enqueue`, in the thread that Django uses for synchronous code.

    Raises: as `enqueue`.
    """
    return await sync_to_async(enqueue)(message, **options)
