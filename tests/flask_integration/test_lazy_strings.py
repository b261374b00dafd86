"""Lazy strings of Flask-Babel, in each place that takes text."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_integration import Attachment, Mail, Message
from support.server import MailServer

from .conftest import MakeApp

babel = pytest.importorskip("flask_babel")


def lazy(text: str) -> Any:
    """A string that is evaluated when it is used, in the language of the request."""
    return babel.LazyString(lambda: text)


@pytest.mark.parametrize("fast_paths", [True, False])
def test_every_text_of_a_message_may_be_lazy(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any], fast_paths: bool
) -> None:
    mail = Mail(make_app(**settings, MAIL_FAST_PATHS=fast_paths))
    message = Message(
        lazy("Grüße"),
        [lazy("ada@example.com"), (lazy("Bob, jr."), lazy("bob@example.com"))],
        lazy("Guten Tag"),
        lazy('<p>Guten Tag</p><img src="cid:logo">'),
        alts={"calendar": lazy("BEGIN:VCALENDAR")},
        sender=(lazy("Löwe"), lazy("shop@example.com")),
        cc=[lazy("cc@example.com")],
        bcc=[(lazy("Eve"), "bcc@example.com")],
        reply_to=(lazy("Hilfe"), "help@example.com"),
        charset=lazy("utf-8"),
        extra_headers={lazy("X-Wort"): lazy("Größe")},
        mail_options=[lazy("BODY=8BITMIME")],
    )
    message.msgId = lazy("<1@example.com>")
    message.attach(lazy("Grüße.txt"), lazy("text/plain"), lazy("Größe"), lazy("attachment"))
    message.attach_inline(lazy("logo.png"), b"\x89PNG", content_id=lazy("logo"))
    message.attachments[0].headers = {"X-Teil": lazy("Teil")}  # type: ignore[union-attr]
    receipt = mail.send(message)
    assert receipt.accepted == (
        *("ada@example.com", "bob@example.com", "cc@example.com", "bcc@example.com"),
    )
    received = mail_server.message.message
    assert {name: str(received[name]) for name in ("Subject", "From", "To", "Cc", "X-Wort")} == {
        "Subject": "Grüße",
        "From": "Löwe <shop@example.com>",
        "To": 'ada@example.com, "Bob, jr." <bob@example.com>',
        "Cc": "cc@example.com",
        "X-Wort": "Größe",
    }
    assert str(received["Reply-To"]) == "Hilfe <help@example.com>"
    assert str(received["Message-ID"]) == "<1@example.com>"
    texts = [
        part.get_content() for part in received.walk() if part.get_content_maintype() == "text"
    ]
    assert [text.strip() for text in texts[:1]] == ["Guten Tag"]
    [attachment] = [p for p in received.walk() if p.get_content_disposition() == "attachment"]
    assert (attachment.get_filename(), attachment.get_content()) == ("Grüße.txt", "Größe")
    assert attachment["X-Teil"] == "Teil"


def test_a_lazy_text_is_evaluated_when_the_message_is_sent(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    language = "de"
    subject = babel.LazyString(lambda: {"de": "Hallo", "fr": "Bonjour"}[language])
    mail = Mail(make_app(**settings))
    message = Message(subject, ["ada@example.com"], body="Hi")
    mail.send(message)
    language = "fr"
    mail.send(message)
    assert [m.message["Subject"] for m in mail_server.messages] == ["Hallo", "Bonjour"]


def test_every_setting_may_be_lazy() -> None:
    app = Flask("app")
    app.config.update(
        MAIL_SERVER=lazy("mail.example.com"),
        MAIL_PORT=lazy("2525"),
        MAIL_USE_TLS=lazy("yes"),
        MAIL_USERNAME=lazy("user"),
        MAIL_PASSWORD=lazy("secret"),
        MAIL_DEFAULT_SENDER=lazy("shop@example.com"),
        MAIL_SEND_OPTIONS=lazy("RET=HDRS"),
        MAIL_DEFAULT_CHARSET=lazy("iso-8859-1"),
        MAIL_MAILERS={"bulk": lazy("smtp://bulk.example.com")},
    )
    state = Mail(app).state
    assert state is not None
    assert state.options == state.options.replace(
        host="mail.example.com", port=2525, security="starttls", username="user", password="secret"
    )
    assert (state.mail_options, state.rendering.charset) == (("RET=HDRS",), "iso-8859-1")
    assert state.named("bulk").server == "bulk.example.com"
    with app.app_context():
        assert Message().sender == "shop@example.com"


def test_a_lazy_default_sender_is_evaluated_for_each_message() -> None:
    name = "Laden"
    app = Flask("app")
    app.config["MAIL_DEFAULT_SENDER"] = (babel.LazyString(lambda: name), "shop@example.com")
    Mail(app)
    with app.app_context():
        assert Message().sender == "Laden <shop@example.com>"
        name = "Boutique"
        assert Message().sender == "Boutique <shop@example.com>"


def test_an_attachment_evaluates_its_texts() -> None:
    attachment = Attachment(lazy("a.pdf"), None, lazy("data"))
    assert (attachment.content_type, attachment.data) == ("application/pdf", "data")
