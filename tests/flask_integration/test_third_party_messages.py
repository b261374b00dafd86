"""Messages of Flask-Mail, of the standard library, and like those of Django."""

from __future__ import annotations

import email.policy
from email.message import EmailMessage
from email.message import Message as Compat32
from email.mime.text import MIMEText
from typing import Any

import pytest
from flask import Flask

import mailbackends
from flask_integration import BadHeaderError, IncompleteMessageError, Mail, Message
from mailbackends import InvalidAddressError, Receipt, Submission
from support.server import MailServer

from .conftest import MakeApp


@pytest.fixture
def mail(make_app: MakeApp, settings: dict[str, Any]) -> Mail:
    return Mail(make_app(**settings))


# --- the standard library's --------------------------------------------------------


def standard(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"To": "Ada <ada@example.com>", "Subject": "Grüße", **headers}.items():
        message[name.replace("_", "-")] = value
    message.set_content("Hällo\n")
    return message


def test_a_standard_message_gets_the_fields_it_lacks(mail: Mail, mail_server: MailServer) -> None:
    message = standard(Cc="c@example.com", Bcc="b@example.com")
    receipt = mail.send(message)
    received = mail_server.message
    assert received.mail_from == "shop@example.com"
    assert received.rcpt_tos == ("ada@example.com", "c@example.com", "b@example.com")
    assert received.message["From"] == "Shop <shop@example.com>"
    assert received.message["Date"].datetime.tzinfo is not None
    assert received.message["Message-ID"] == receipt.message_id
    assert str(receipt.message_id).endswith("@example.com>")
    assert received.message["Bcc"] is None
    assert received.message.get_content().strip() == "Hällo"


def test_a_standard_message_keeps_the_fields_it_has(mail: Mail, mail_server: MailServer) -> None:
    mail.send(standard(From="me@example.com", Sender="you@example.com", Message_ID="<1@x.com>"))
    received = mail_server.message
    assert received.mail_from == "you@example.com"
    assert received.message["From"] == "me@example.com"
    assert received.message["Message-ID"] == "<1@x.com>"


def test_a_resent_message_goes_to_its_resent_recipients(
    mail: Mail, mail_server: MailServer
) -> None:
    mail.send(
        standard(
            From="me@example.com",
            Resent_Date="Mon, 04 May 2026 03:02:01 +0000",
            Resent_From="you@example.com",
            Resent_To="z@example.com",
        )
    )
    assert (mail_server.message.mail_from, mail_server.message.rcpt_tos) == (
        "you@example.com",
        ("z@example.com",),
    )


def test_messages_with_the_compat32_policy_are_accepted(
    mail: Mail, mail_server: MailServer
) -> None:
    message = MIMEText("Hällo", "plain", "utf-8")
    message["To"] = "ada@example.com"
    mail.send(message)
    assert mail_server.message.message["From"] == "Shop <shop@example.com>"


def test_a_standard_message_without_recipients_or_sender_is_refused(app: Flask) -> None:
    mail = Mail(app)
    with pytest.raises(mailbackends.InvalidMessageError, match="no recipients"):
        mail.send(EmailMessage())
    app.extensions["mail"].default_sender = None
    with pytest.raises(mailbackends.InvalidMessageError, match="no sender"):
        mail.send(standard())


def test_a_standard_message_with_a_line_break_in_an_address_is_refused(app: Flask) -> None:
    message = Compat32()
    message["To"] = "ada@example.com\r\nBcc: eve@example.com"
    with pytest.raises(mailbackends.InvalidAddressError, match="line break"):
        Mail(app).send(message)


# --- Flask-Mail's -------------------------------------------------------------------


def test_a_flask_mail_message_is_sent_with_its_recipients_in_order(
    mail: Mail, mail_server: MailServer
) -> None:
    flask_mail = pytest.importorskip("flask_mail")
    to = [f"{name}@example.com" for name in "zyxwvu"]
    assert mail.app is not None
    with mail.app.app_context():
        message = flask_mail.Message(
            "Grüße",
            to,
            body="Hällo",
            html="<p>Hällo</p>",
            cc=["Cää <c@example.com>"],
            bcc=["b@example.com"],
            reply_to="r@example.com",
            extra_headers={"X-Kind": "order"},
            mail_options=["BODY=8BITMIME"],
        )
    assert message.sender == "Shop <shop@example.com>"
    message.attach("a.txt", "text/plain", b"data")
    receipt = mail.send(message)  # without a context
    received = mail_server.message
    assert received.rcpt_tos == (*to, "c@example.com", "b@example.com")
    assert [a.addr_spec for a in received.message["To"].addresses] == to
    assert received.message["Subject"] == "Grüße"
    assert received.message["Message-ID"] == message.msgId == receipt.message_id
    assert received.message["X-Kind"] == "order"
    assert [part.get_content_type() for part in received.message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/plain",
    ]
    assert message.date is not None


def test_a_flask_mail_message_is_checked_more_strictly_than_in_flask_mail(app: Flask) -> None:
    flask_mail = pytest.importorskip("flask_mail")
    mail = Mail(app)
    with app.app_context():
        message = flask_mail.Message("Hello", ["a@x.com"], body="Hi", cc=["b@x.com\r\nX: y"])
    assert not message.has_bad_headers()
    with pytest.raises(BadHeaderError, match="cc"):
        mail.send(message)


def test_the_bytes_of_a_subclass_that_writes_itself_are_sent(
    mail: Mail, mail_server: MailServer
) -> None:
    class Signed(Message):
        def as_bytes(self) -> bytes:
            return b"Subject: signed\r\nFrom: shop@example.com\r\n\r\n..signature..\r\n"

    mail.send(Signed("Hello", ["ada@example.com"], sender="shop@example.com"))
    assert mail_server.message.content == (
        b"Subject: signed\r\nFrom: shop@example.com\r\n\r\n..signature..\r\n"
    )


# --- Django-like ----------------------------------------------------------------------


class DjangoLike:
    """The part of Django's `EmailMessage` that a backend uses."""

    def __init__(self, from_email: str | None, to: list[str], bcc: list[str]) -> None:
        self.from_email, self.to, self.bcc = from_email, to, bcc

    def recipients(self) -> list[str]:
        return [*self.to, *self.bcc]

    def message(self) -> EmailMessage:
        message = EmailMessage(policy=email.policy.SMTP)
        message["Subject"] = "Hello"
        if self.from_email:
            message["From"] = self.from_email
        message["To"] = ", ".join(self.to)
        message["Message-ID"] = "<django@example.com>"
        message.set_content("Hällo\n")
        return message


def test_a_django_like_message_is_accepted(mail: Mail, mail_server: MailServer) -> None:
    receipt = mail.send(DjangoLike("Me <me@example.com>", ["Z <z@x.com>", "a@x.com"], ["b@x.com"]))
    received = mail_server.message
    assert (received.mail_from, received.rcpt_tos) == (
        "me@example.com",
        ("z@x.com", "a@x.com", "b@x.com"),
    )
    assert receipt.message_id == "<django@example.com>"


@pytest.mark.parametrize("message_id", ["<django@example.com>", None])
def test_the_receipt_of_a_suppressed_django_like_message_has_its_id(
    app: Flask, message_id: str | None
) -> None:
    class Sample(DjangoLike):
        def message(self) -> EmailMessage:
            made = super().message()
            if message_id is None:
                del made["Message-ID"]
            return made

    assert Mail(app).send(Sample("me@x.com", ["a@x.com"], [])).message_id == message_id


def test_a_django_like_message_gets_the_default_sender(mail: Mail, mail_server: MailServer) -> None:
    mail.send(DjangoLike(None, ["a@x.com"], []))
    assert mail_server.message.message["From"] == "Shop <shop@example.com>"


def test_a_message_of_django_is_accepted(mail: Mail, mail_server: MailServer) -> None:
    pytest.importorskip("django")
    from django.conf import settings as django_settings

    if not django_settings.configured:
        django_settings.configure()
    from django.core.mail import EmailMultiAlternatives

    message = EmailMultiAlternatives(
        "Grüße", "Hällo", "me@example.com", ["a@x.com"], bcc=["b@x.com"], cc=["c@x.com"]
    )
    message.attach_alternative("<p>Hällo</p>", "text/html")
    mail.send(message)
    assert mail_server.message.rcpt_tos == ("a@x.com", "c@x.com", "b@x.com")
    assert mail_server.message.message["Subject"] == "Grüße"


class Bytes:
    def as_bytes(self) -> bytes:
        return b""


class Letter:
    def recipients(self) -> list[str]:
        return ["a@x.com"]


@pytest.mark.parametrize("message", [None, "Hello", object(), ["a@x.com"], Bytes(), Letter()])
def test_other_objects_are_refused_with_their_type(app: Flask, message: object) -> None:
    with pytest.raises(TypeError, match=rf"object of type {type(message).__name__}:"):
        Mail(app).send(message)


# --- beyond ASCII, over the wire ----------------------------------------------------


def test_non_ascii_addresses_arrive(mail: Mail, mail_server: MailServer) -> None:
    mail.send_message("Grüße", ["用户@例子.example", "ada@bücher.example"], body="Hällo")
    received = mail_server.message
    assert received.rcpt_tos == ("用户@xn--fsqu00a.example", "ada@xn--bcher-kva.example")
    assert "SMTPUTF8" in received.mail_options
    assert "用户@".encode() in received.content


# --- finished bytes ------------------------------------------------------------------

SIGNED = (
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com;  s=mail;\r\n\tb=QUJD\r\n"
    b"From: <shop@example.com>\r\nMessage-ID: <1@example.com>\r\n\r\n.Hello =  \r\n"
)


def test_finished_bytes_are_sent_as_they_are(mail: Mail, mail_server: MailServer) -> None:
    finished = Submission(SIGNED, "bounces@example.com", ["Ada <ada@example.com>", "b@x.com"])
    receipt = mail.send(finished)
    [outcome] = mail.send_many([finished])
    with mail.connect() as connection:
        connection.send(finished, envelope_from="<>")
    assert receipt.message_id == "<1@example.com>"
    assert isinstance(outcome, Receipt)
    assert [m.content for m in mail_server.messages] == [SIGNED] * 3
    assert {m.rcpt_tos for m in mail_server.messages} == {("ada@example.com", "b@x.com")}
    assert [m.mail_from for m in mail_server.messages] == ["bounces@example.com"] * 2 + [""]


@pytest.mark.parametrize("content", [bytearray(SIGNED), memoryview(SIGNED)])
def test_finished_bytes_take_the_default_sender_and_parameters(
    mail: Mail, mail_server: MailServer, content: Any
) -> None:
    mail.send(Submission(content, to_addrs="ada@example.com", mail_options=["BODY=8BITMIME"]))
    assert mail_server.message.mail_from == "shop@example.com"
    assert mail_server.message.content == SIGNED


def test_the_receipt_of_suppressed_bytes_has_their_id(app: Flask) -> None:
    receipt = Mail(app).send(Submission(SIGNED, None, ["ada@example.com"]))
    assert (receipt.message_id, receipt.accepted) == ("<1@example.com>", ("ada@example.com",))
    without = Mail(app).send(Submission(b"Subject: s\n\nMessage-ID: <no>\n", "", ["a@x.com"]))
    assert without.message_id is None


def test_a_message_object_may_have_another_envelope(mail: Mail, mail_server: MailServer) -> None:
    message = EmailMessage()
    message["To"] = "list@example.com"
    message.set_content("Hi")
    mail.send(Submission(message, "bounces@example.com", ["ada@example.com"]))
    mail.send(Submission(message))
    assert [(m.mail_from, m.rcpt_tos) for m in mail_server.messages] == [
        ("bounces@example.com", ("ada@example.com",)),
        ("shop@example.com", ("list@example.com",)),
    ]


def test_finished_bytes_need_an_envelope(app: Flask) -> None:
    with pytest.raises(TypeError, match=r"pass mailbackends\.Submission\("):
        Mail(app).send(SIGNED)
    with pytest.raises(IncompleteMessageError, match="pass to_addrs to Submission"):
        Mail(app).send(Submission(SIGNED, "shop@example.com"))
    with pytest.raises(InvalidAddressError, match="recipient 'no address'"):
        Mail(app).send(Submission(SIGNED, "shop@example.com", ["no address"]))


def test_a_message_of_flask_mailman_is_sent_while_its_extension_is_initialised(
    make_app: MakeApp, settings: dict[str, Any], mail_server: MailServer
) -> None:
    flask_mailman = pytest.importorskip("flask_mailman")
    app = make_app(**settings)
    flask_mailman.Mail(app)
    mail = Mail(app)
    with app.app_context():
        message = flask_mailman.EmailMultiAlternatives("Hello", "Text", to=["ada@example.com"])
        message.attach_alternative("<p>HTML</p>", "text/html")
        assert mail.send(message).accepted == ("ada@example.com",)
    assert [part.get_content_type() for part in mail_server.message.message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
