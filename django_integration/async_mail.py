"""Django's functions for sending mail, for ``async def`` views: with any backend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_integration.attachments import as_django_message
from django_integration.compat import HAS_MAILERS, backend_for
from mailbackends import Email

__all__ = ["asend", "asend_mail", "asend_mass_mail"]


async def asend(message: EmailMessage | Email, *, using: str | None = None) -> int:
    """As ``message.send()``: 1 if the message was accepted for a recipient, else 0.

    A backend without ``asend_messages()``, and a message of a class with its own ``send()``,
    sends in the thread that Django uses for synchronous code. ``using`` is a key of
    ``MAILERS`` (Django 6.1).

    Raises:
        SMTPException, ValueError: the message was not sent; see ``outcome``.
        CancelledError: with ``outcome``, if the message was being sent.
        TypeError: ``using`` was given, and the message has a connection already.
    """
    if isinstance(message, Email):
        message = as_django_message(message)
    if type(message).send is not EmailMessage.send or "send" in vars(message):
        arguments: dict[str, Any] = {} if using is None else {"using": using}
        return int(await sync_to_async(message.send)(**arguments) or 0)
    # Django 6.1 warns of the attribute without the underscore.
    given = vars(message).get("_connection" if HAS_MAILERS else "connection")
    return await _asend(message, given, using)


async def asend_mail(
    subject: str,
    message: str,
    from_email: str | None,
    recipient_list: Sequence[str],
    *,
    html_message: str | None = None,
    connection: Any = None,
    using: str | None = None,
) -> int:
    """As Django's ``send_mail()``. ``fail_silently`` and a login belong to the backend: give
    them in the settings, or ``connection``.

    Raises: as `asend`.
    """
    mail = EmailMultiAlternatives(subject, message, from_email, recipient_list)
    if html_message:
        mail.attach_alternative(html_message, "text/html")
    return await _asend(mail, connection, using)


async def asend_mass_mail(
    datatuple: Iterable[tuple[str, str, str | None, Sequence[str]]],
    *,
    connection: Any = None,
    using: str | None = None,
) -> int:
    """As Django's ``send_mass_mail()``: the number of messages that were accepted.

    Raises:
        BatchError: one of several messages was not sent.
        Exception: otherwise as `asend`.
    """
    connection = await _chosen(connection, using)
    messages = [
        EmailMessage(subject, message, sender, recipients)
        for subject, message, sender, recipients in datatuple
    ]
    return await _asend_messages(connection, messages)


async def _asend(message: EmailMessage, connection: Any, using: str | None) -> int:
    connection = await _chosen(connection, using)
    return await _asend_messages(connection, [message]) if message.recipients() else 0


async def _chosen(connection: Any, using: str | None) -> Any:
    if connection is None:
        # Not in the loop: a backend may read files, such as those of a TLS context.
        return await sync_to_async(backend_for)(using)
    if using is not None:
        raise TypeError(
            f"'using' cannot be given with a connection, got {using!r}: leave one of them out"
        )
    return connection


async def _asend_messages(connection: Any, messages: list[EmailMessage]) -> int:
    send = getattr(connection, "asend_messages", None)
    if send is None:
        send = sync_to_async(connection.send_messages)
    return int(await send(messages) or 0)
