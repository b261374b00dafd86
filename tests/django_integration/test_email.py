"""A `mailbackends.Email` in Django: the same message, with Django's methods."""

from __future__ import annotations

import asyncio
import email.policy
from pathlib import Path

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from django_integration import as_django_message, asend, receipt_of
from django_integration.compat import backend_for
from django_integration.messages import as_submission
from django_integration.staging import Staging
from django_integration.testing import mail_to
from mailbackends import Email
from mailbackends.integration import WrittenMessage
from support.server import MailServer

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("text", ["It is on its way.", None])
def test_it_is_sent_with_all_that_it_has(
    mail_server: MailServer, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("Terms\n")
    message = Email(
        subject="Your order",
        sender=("Leaf & Cup", "shop@example.com"),
        to="ada@example.com",
        bcc="log@example.com",
        reply_to="help@example.com",
        text=text,
        html='<img src="cid:logo">',
        inline={"logo": ("logo.png", PNG)},
        attachments=[("invoice.pdf", b"%PDF"), path],
        headers={"X-Order": "4711"},
    )
    with mail_to(mail_server.host, mail_server.port):
        sent = as_django_message(message)
        assert sent.send() == 1
    receipt = receipt_of(sent)
    assert receipt is not None
    assert receipt.accepted == ("ada@example.com", "log@example.com")
    received = email.message_from_bytes(mail_server.message.content, policy=email.policy.default)
    expected = message.as_email_message()
    for name in ("Subject", "From", "To", "Reply-To", "Date", "Message-ID", "X-Order"):
        assert str(received[name]) == str(expected[name])
    assert received["Bcc"] is None
    parts = {part.get_content_type(): part for part in received.walk()}
    assert parts["image/png"]["Content-ID"] == "<logo>"
    assert parts["image/png"].get_content() == PNG
    assert parts["application/pdf"].get_content() == b"%PDF"
    assert "cid:logo" in parts["text/html"].get_content()
    assert "multipart/related" in parts
    names = [part.get_filename() for part in received.walk() if part.get_filename()]
    assert names == ["logo.png", "invoice.pdf", "terms.txt"]


def test_other_backends_take_it_too() -> None:
    message = Email(subject="x", sender="a@example.com", to="b@example.com", html="<p>x</p>")
    mail.outbox = []
    EmailBackend().send_messages([as_django_message(message)])
    assert mail.outbox[0].body == "<p>x</p>"
    assert mail.outbox[0].message()["Message-ID"] == message.message_id


def plain() -> Email:
    return Email(
        subject="Ihre Bestellung für 3 €",
        sender=("Leaf & Cup", "shop@example.com"),
        to=["ada@example.com", ("Zoë", "zoe@example.com")],
        bcc="log@example.com",
        text="Hallo",
        html="<p>Hallo</p>",
        attachments=[("invoice.pdf", b"%PDF"), ("orders.csv", "a;b\n")],
    )


def is_complete(server: MailServer, message: Email) -> bool:
    received = email.message_from_bytes(server.message.content, policy=email.policy.default)
    assert server.message.rcpt_tos == ("ada@example.com", "zoe@example.com", "log@example.com")
    assert [part.get_content_type() for part in received.walk()] == [
        *("multipart/mixed", "multipart/alternative", "text/plain", "text/html"),
        *("application/pdf", "text/csv"),
    ]
    return bool(received["Message-ID"] == message.message_id)


def test_the_backend_takes_it_as_it_is(mail_server: MailServer) -> None:
    message = plain()
    with mail_to(mail_server.host, mail_server.port):
        assert backend_for().send_messages([message]) == 1
    assert is_complete(mail_server, message)


def test_it_is_sent_in_an_event_loop(mail_server: MailServer) -> None:
    message = plain()
    with mail_to(mail_server.host, mail_server.port):
        assert asyncio.run(asend(message)) == 1
    assert is_complete(mail_server, message)


def test_it_is_written_without_building_it() -> None:
    message = as_django_message(plain())
    made = as_submission(message, Staging(), fast=True)
    assert isinstance(made.message, WrittenMessage)
    assert made.message.message_id == message.extra_headers["Message-ID"]
