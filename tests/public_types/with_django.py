# pyright: strict
"""Every public name of the integration of Django, as in `core`."""

from __future__ import annotations

from typing import Any, assert_type
from uuid import UUID

from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_integration import (
    BatchError,
    EmailBackend,
    InvalidHeaderError,
    PartialRefusal,
    RawEmailMessage,
    SendCancelled,
    SettingsError,
    as_django_message,
    asend,
    asend_mail,
    asend_mass_mail,
    attach_inline_image,
    attach_path,
    post_send,
    pre_send,
    receipt_of,
    send_failed,
    warm_up,
)
from django_integration.outbox import aenqueue, enqueue, message_settled
from django_integration.outbox.models import Message as Queued
from mailbackends import Email, Options, Receipt, SMTPException


def send(backend: EmailBackend) -> Receipt | None:
    message = EmailMultiAlternatives("Your order", "It is on its way.", to=["ada@example.com"])
    assert_type(attach_inline_image(message, b"GIF89a", filename="logo.gif"), str)
    attach_path(message, "/srv/invoice.pdf")
    assert_type(backend.send_messages([message]), int)
    assert_type(backend.options, Options)
    assert_type(warm_up(timeout=5), int)
    return receipt_of(message)


def other_messages(raw: bytes) -> list[EmailMessage]:
    email = Email(subject="Hi", sender="shop@example.com", to="ada@example.com", text="Hi.")
    assert_type(as_django_message(email), EmailMultiAlternatives)
    return [
        as_django_message(email),
        RawEmailMessage(raw, from_email="shop@example.com", to=["ada@example.com"]),
    ]


async def send_in_a_loop(message: EmailMessage) -> int:
    sent = await asend(message)
    sent += await asend_mail("Hi", "Hi.", None, ["ada@example.com"])
    sent += await asend_mass_mail([("Hi", "Hi.", None, ["ada@example.com"])])
    assert_type(sent, int)
    return sent


def errors(backend: EmailBackend, messages: list[EmailMessage]) -> list[str]:
    try:
        backend.send_messages(messages)
    except PartialRefusal as error:
        assert_type(error.accepted, tuple[str, ...])
        return [reply.text for reply in error.refused.values()]
    except BatchError as error:
        assert_type(error.outcomes, tuple[tuple[EmailMessage, Receipt | Exception], ...])
        return [str(each) for _, each in error.failed]
    except (SettingsError, InvalidHeaderError) as error:
        return [str(error)]
    except SMTPException as error:
        return [str(error.outcome)]
    return []


def before(sender: type, message: EmailMessage, **kwargs: Any) -> None:
    if not message.subject:
        raise SendCancelled


def connect_signals() -> None:
    pre_send.connect(before)
    for signal in (post_send, send_failed, message_settled):
        signal.connect(before)


def outbox(message: EmailMessage) -> tuple[UUID, str, list[str]]:
    queued = enqueue(message, key="order-17")
    row = Queued.objects.get(pk=queued.id)
    assert_type(row.state, str)
    assert_type(row.attempts, int)
    assert_type(row.content, bytes)
    return row.id, row.subject, [row.sender, row.reason]


async def outbox_in_a_loop(message: EmailMessage) -> None:
    await aenqueue(message, key="order-17")
