"""A `mailbackends.Email` in Flask: sent by `Mail`, recorded, and with its own envelope."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_integration import Mail
from mailbackends import Email, Submission
from support.server import MailServer


def message() -> Email:
    return Email(
        subject="Your order",
        sender=("Leaf & Cup", "shop@example.com"),
        to="ada@example.com",
        bcc="log@example.com",
        text="It is on its way.",
        html="<p>It is on its way.</p>",
    )


@pytest.fixture
def mail(mail_server: MailServer) -> Mail:
    app = Flask(__name__)
    app.config.update(MAIL_SERVER=mail_server.host, MAIL_PORT=mail_server.port)
    return Mail(app)


def test_it_is_sent_with_the_bytes_that_the_mailer_sends(
    mail: Mail, mail_server: MailServer
) -> None:
    sent = message()
    receipt = mail.send(sent)
    assert receipt.accepted == ("ada@example.com", "log@example.com")
    assert receipt.message_id == sent.message_id
    received = mail_server.message
    assert received.mail_from == "shop@example.com"
    assert b"log@example.com" not in received.content
    assert b"From: Leaf & Cup <shop@example.com>\r\n" in received.content


def test_an_envelope_can_be_given(mail: Mail, mail_server: MailServer) -> None:
    mail.send(message(), envelope_from="bounces@example.com")
    mail.send(Submission(message(), "", ["eve@example.com"]))
    first, second = mail_server.messages
    assert (first.mail_from, first.rcpt_tos[0]) == ("bounces@example.com", "ada@example.com")
    assert (second.mail_from, second.rcpt_tos) == ("", ("eve@example.com",))


def test_a_subclass_of_a_backend_gets_an_object(mail: Mail) -> None:
    with mail.record_messages() as outbox:
        mail.send(message())
    assert outbox[0].subject == "Your order"
