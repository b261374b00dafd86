"""`Mail`: applications, factories, contexts, signals; Flask-Mail's names for all of it."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

import flask_integration
import mailbackends
from flask_integration import (
    Mail,
    MailState,
    Message,
    email_dispatched,
    email_failed,
    email_sent,
)
from support.server import MailServer

from .conftest import MakeApp


def test_the_core_does_not_import_flask() -> None:
    script = "import sys, mailbackends; sys.exit('flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0  # noqa: S603


def test_the_public_names_of_flask_mail_are_here() -> None:
    names = {
        "Attachment",
        "BadHeaderError",
        "Connection",
        "Mail",
        "Message",
        "email_dispatched",
        "force_text",
        "sanitize_address",
        "sanitize_addresses",
        "sanitize_subject",
        "signals",
    }
    assert names <= set(flask_integration.__all__)
    assert all(hasattr(flask_integration, name) for name in flask_integration.__all__)


def test_the_state_is_the_applications_extension(app: Flask) -> None:
    mail = Mail(app)
    assert mail.app is app
    assert isinstance(mail.state, MailState)
    assert app.extensions["mail"] is mail.state
    assert mail.init_app(app) is mail.state  # again, with a configuration that changed


def test_an_extension_for_a_factory_has_the_current_applications_state(make_app: MakeApp) -> None:
    mail = Mail()
    assert mail.state is None
    assert mail.suppress is None
    apps = [make_app(MAIL_SERVER=f"{name}.example.com") for name in "ab"]
    states = [mail.init_app(app) for app in apps]
    assert mail.state is None
    for app, state in zip(apps, states, strict=True):
        with app.app_context():
            assert mail.state is state
            assert mail.server == state.server


def test_an_extension_of_one_application_sends_for_it_everywhere(
    make_app: MakeApp,
) -> None:
    one, two = make_app(MAIL_BACKEND="memory"), make_app(MAIL_BACKEND="memory")
    mail = Mail(one)
    mail.init_app(two)
    mail.send_message("Hello", ["ada@example.com"], body="Hi")
    with two.app_context():
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert len(mail.outbox) == 2
    assert two.extensions["mail"].outbox == []


def test_the_state_can_be_replaced_as_in_flask_mail(make_app: MakeApp) -> None:
    app = make_app(MAIL_SERVER="a.example.com")
    mail = Mail(app)
    app.config["MAIL_SERVER"] = "b.example.com"
    mail.state = mail.init_mail(app.config)
    assert mail.server == "b.example.com"
    assert app.extensions["mail"] is mail.state


def test_other_extensions_can_send_through_the_state(app: Flask) -> None:
    Mail(app)
    with app.app_context():
        state = app.extensions["mail"]
        with state.record_messages() as outbox:
            state.send(Message("One", ["ada@example.com"], body="Hi"))
            state.send_message("Two", ["ada@example.com"], body="Hi")
            with state.connect() as connection:
                connection.send_message("Three", ["ada@example.com"], body="Hi")
    assert [message.subject for message in outbox] == ["One", "Two", "Three"]


def test_without_an_application_the_error_says_what_to_do(app: Flask) -> None:
    mail = Mail()
    message = Message("Hello", ["ada@example.com"], sender="a@x.com", body="Hi")
    for attempt in (
        lambda: mail.send(message),
        lambda: mail.using("bulk").send(message),
        lambda: mail.connect(),
        lambda: mail.send_many([message]),
        lambda: mail.close(),
        lambda: Mail().init_mail({}).send(message),
    ):
        with pytest.raises(RuntimeError, match=r"app\.app_context\(\)"):
            attempt()
    with app.app_context(), pytest.raises(RuntimeError, match=r"call mail\.init_app\(app\)"):
        mail.send(message)


def test_an_attribute_that_does_not_exist_is_an_error(app: Flask) -> None:
    with pytest.raises(AttributeError, match="did you mean 'connect'"):
        Mail(app).conect  # noqa: B018
    assert not hasattr(Mail(app), "__html__")


def test_a_command_mail_of_the_application_is_not_replaced(app: Flask) -> None:
    @app.cli.command("mail")
    def own() -> None:
        """Deliver the post."""

    Mail(app)
    assert app.cli.commands["mail"] is own


def test_connections_close_when_the_application_is_garbage_collected(
    mail_server: MailServer, settings: dict[str, Any]
) -> None:
    app = Flask("short-lived", root_path="/nowhere")
    app.config.update(settings, MAIL_DEFAULT_SENDER="shop@example.com")
    Mail(app).send_message("Hello", ["ada@example.com"], body="Hi")
    assert mail_server.open_connections == 1
    del app
    gc.collect()
    mail_server.wait(lambda: mail_server.open_connections == 0)


def test_close_closes_connections_and_the_next_message_opens_one(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    mail.send_message("One", ["ada@example.com"], body="Hi")
    mail.close()
    mail_server.wait(lambda: mail_server.open_connections == 0)
    mail.send_message("Two", ["ada@example.com"], body="Hi")
    assert mail_server.connections == 2


def test_a_server_set_on_the_state_gets_the_next_message(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    mail.send_message("One", ["ada@example.com"], body="Hi")
    with MailServer() as other:
        assert mail.state is not None
        mail.state.server, mail.state.port = other.host, other.port
        mail.send_message("Two", ["ada@example.com"], body="Hi")
        mail.close()
    assert [m.message["Subject"] for m in mail_server.messages] == ["One"]
    assert [m.message["Subject"] for m in other.messages] == ["Two"]


# --- suppressed sending, recording, signals ---------------------------------------


@contextmanager
def heard(app: Flask) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The signals sent by ``app``."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def hear(name: str) -> Any:
        return lambda sender, **values: calls.append((name, values))

    listeners = {
        signal: hear(signal.name) for signal in (email_dispatched, email_sent, email_failed)
    }
    for signal, listener in listeners.items():
        signal.connect(listener, app)
    yield calls
    for signal, listener in listeners.items():
        signal.disconnect(listener, app)


def test_suppressed_messages_are_recorded_and_have_a_receipt(app: Flask) -> None:
    mail = Mail(app)
    message = Message("Hello", [("Ada", "ada@example.com")], bcc=["b@example.com"], body="Hi")
    with mail.record_messages() as outbox:
        receipt = mail.send(message)
    assert outbox == [message]
    assert receipt.accepted == ("ada@example.com", "b@example.com")
    assert receipt.message_id == message.msgId
    assert b"suppressed" in receipt.reply.message
    mail.send(message)
    assert outbox == [message]


def test_messages_that_are_sent_are_recorded_too(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    with mail.record_messages() as outbox:
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert len(outbox) == len(mail_server.messages) == 1


def test_signals_report_a_sent_message_and_its_receipt(app: Flask) -> None:
    mail = Mail(app)
    message = Message("Hello", ["ada@example.com"], body="Hi")
    with heard(app) as calls:
        receipt = mail.send(message)
    assert calls == [
        ("email-dispatched", {"message": message}),
        ("email-sent", {"message": message, "receipt": receipt}),
    ]


def test_signals_report_a_message_that_was_refused(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("ada@example.com")
    mail = Mail(app := make_app(**settings))
    with heard(app) as calls, pytest.raises(mailbackends.SMTPRecipientsRefused) as caught:
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert [name for name, _ in calls] == ["email-failed"]
    assert calls[0][1]["error"] is caught.value


def test_signals_report_a_message_that_cannot_be_sent(app: Flask) -> None:
    mail = Mail(app)
    with heard(app) as calls, pytest.raises(AssertionError):
        mail.send_message("Hello", [], body="Hi")
    assert [name for name, _ in calls] == ["email-failed"]


def test_signals_come_from_the_application_that_sends(make_app: MakeApp) -> None:
    one, two = make_app(TESTING=True), make_app(TESTING=True)
    mail = Mail()
    mail.init_app(one)
    mail.init_app(two)
    with heard(one) as calls, two.app_context():
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert calls == []


# --- incomplete messages ---------------------------------------------------------------


def test_a_missing_recipient_or_sender_is_reported_with_a_suggestion(app: Flask) -> None:
    mail = Mail(app)
    with pytest.raises(mailbackends.InvalidMessageError, match="no recipients: pass a list"):
        mail.send(Message("Hello", body="Hi"))
    app.extensions["mail"].default_sender = None
    with pytest.raises(mailbackends.InvalidMessageError, match="MAIL_DEFAULT_SENDER"):
        mail.send(Message("Hello", ["ada@example.com"], body="Hi"))
    with pytest.raises(AssertionError):  # what Flask-Mail raises
        mail.send(Message("Hello", ["ada@example.com"], body="Hi"))


def test_a_string_instead_of_a_list_is_reported_with_a_suggestion(app: Flask) -> None:
    mail = Mail(app)
    for field in ("recipients", "cc", "bcc"):
        with pytest.raises(mailbackends.InvalidMessageError, match=rf"{field} .*\['a@x\.com'\]"):
            mail.send(Message("Hello", body="Hi", **{field: "a@x.com"}))  # type: ignore[arg-type]


def test_an_invalid_address_is_reported_before_anything_is_sent(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    with pytest.raises(mailbackends.InvalidAddressError, match=r"'Doe, Jo <jo@x\.com>'"):
        mail.send_message("Hello", ["ada@x.com", "Doe, Jo <jo@x.com>"], body="Hi")
    assert mail_server.connections == 0


def test_a_message_made_without_a_context_gets_the_sending_applications_sender(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    message = Message("Hello", ["ada@example.com"], body="Hi")
    mail.send(message)
    assert mail_server.message.mail_from == "shop@example.com"
    assert message.sender == "Shop <shop@example.com>"


def test_a_named_mailer_sends_over_its_own_server_with_its_own_sender(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    with MailServer() as other:
        bulk_settings = {"URL": other.url, "DEFAULT_SENDER": "news@example.com"}
        mail = Mail(app := make_app(**settings, MAIL_MAILERS={"bulk": bulk_settings}))
        bulk = mail.using("bulk")
        with app.app_context():
            bulk.send(Message("News", ["ada@example.com"], body="Hi"))
            bulk.send(Message("Mine", ["ada@example.com"], body="Hi", sender="me@example.com"))
            mail.send(Message("Order", ["ada@example.com"], body="Hi"))
        mail.close()
    assert [m.mail_from for m in other.messages] == ["news@example.com", "me@example.com"]
    assert [m.mail_from for m in mail_server.messages] == ["shop@example.com"]
    assert "From: news@example.com" in other.messages[0].content.decode()


def test_a_named_mailer_does_not_replace_a_sender_that_was_set_later(make_app: MakeApp) -> None:
    mailers = {"bulk": {"DEFAULT_SENDER": "news@example.com"}}
    mail = Mail(app := make_app(MAIL_BACKEND="memory", MAIL_MAILERS=mailers))
    with app.app_context():
        message = Message("Hello", ["ada@example.com"], body="Hi")
    message.sender = "me@example.com"
    mail.using("bulk").send(message)
    assert message.sender == "me@example.com"


def test_parameters_of_mail_come_from_the_message_or_the_configuration(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_SEND_OPTIONS=["BODY=8BITMIME"]))
    mail.send_message("Hello", ["ada@example.com"], body="Hi")
    mail.send_message("Hello", ["ada@example.com"], body="Hi", mail_options=["BODY=7BIT"])
    bodies = [
        [option for option in received.mail_options if option.startswith("BODY=")]
        for received in mail_server.messages
    ]
    assert bodies == [["BODY=8BITMIME"], ["BODY=7BIT"]]


def test_the_envelope_sender_may_differ(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    message = Message("Hello", ["ada@example.com"], body="Hi")
    mail.send(message, envelope_from=("Bounces", "bounces@example.com"))
    mail.send(message, envelope_from="<>")
    assert [m.mail_from for m in mail_server.messages] == ["bounces@example.com", ""]
