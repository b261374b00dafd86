"""`Mail.connect`: one connection of the pool for the length of a block."""

from __future__ import annotations

import smtplib
from typing import Any
from unittest import mock

import pytest
from flask import Flask

import mailbackends
from flask_integration import BadHeaderError, Connection, Mail, Message
from support.server import MailServer

from .conftest import MakeApp


def message(to: str = "ada@example.com", **arguments: Any) -> Message:
    return Message("Hello", [to], body="Hi", **arguments)


def test_a_block_sends_over_one_connection_and_returns_it(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    with mail.connect() as connection:
        receipts = [connection.send(message()) for _ in range(5)]
        assert connection.num_emails == 5
    mail.send(message())
    assert all(receipt.accepted == ("ada@example.com",) for receipt in receipts)
    assert (len(mail_server.messages), mail_server.connections) == (6, 1)


def test_nested_blocks_use_different_connections(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    with mail.connect() as outer, mail.connect() as inner:
        for connection in (outer, inner, outer, inner):
            connection.send(message())
    assert [m.connection for m in mail_server.messages] == [0, 1, 0, 1]


def test_max_emails_limits_the_messages_of_one_connection(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_MAX_EMAILS=2))
    with mail.connect() as connection:
        for _ in range(5):
            connection.send(message())
        assert connection.num_emails == 1
    assert [m.connection for m in mail_server.messages] == [0, 0, 1, 1, 2]


def test_max_emails_also_applies_outside_of_blocks(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_MAX_EMAILS=2))
    for _ in range(5):
        mail.send(message())
    assert [m.connection for m in mail_server.messages] == [0, 0, 1, 1, 2]


def test_max_emails_can_be_set_while_the_application_runs(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    assert mail.state is not None
    mail.state.max_emails = 2
    with mail.connect() as connection:
        for _ in range(3):
            connection.send(message())
        assert connection.num_emails == 1
    assert [m.connection for m in mail_server.messages] == [0, 0, 1]


def test_max_emails_may_be_one(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    with Mail(make_app(**settings, MAIL_MAX_EMAILS=1)).connect() as connection:
        connection.send(message())
        connection.send(message())
    assert [m.connection for m in mail_server.messages] == [0, 1]


def test_a_refused_message_does_not_stop_the_next(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("bob@example.com")
    mail = Mail(make_app(**settings))
    with mail.connect() as connection:
        connection.send(message())
        with pytest.raises(mailbackends.SMTPRecipientsRefused):
            connection.send(message("bob@example.com"))
        connection.send(message())
    assert (len(mail_server.messages), mail_server.connections) == (2, 1)


def test_a_connection_that_breaks_in_the_block_is_replaced(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    with mail.connect() as connection:
        connection.send(message())
        mail_server.close_connections()
        connection.send(message())
    assert (len(mail_server.messages), mail_server.connections) == (2, 2)


def test_an_error_in_the_block_propagates_and_frees_the_connection(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_POOL_SIZE=1))
    with pytest.raises(ZeroDivisionError), mail.connect() as connection:
        connection.send(message(charset=str(1 / 0)))
    mail.send(message())
    assert (len(mail_server.messages), mail_server.connections) == (1, 1)


def test_an_unreachable_server_is_reported_when_the_block_begins(make_app: MakeApp) -> None:
    with MailServer() as server:
        port = server.port
    mail = Mail(make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=port))
    with pytest.raises(mailbackends.SMTPException), mail.connect():
        pytest.fail("the block was entered")


def test_suppressed_messages_go_nowhere(app: Flask) -> None:
    mail = Mail(app)
    with mail.record_messages() as outbox, mail.connect() as connection:
        assert connection.host is None
        for _ in range(100):
            connection.send_message("Hello", ["ada@example.com"], body="Hi")
    assert len(outbox) == 100


def test_invalid_messages_are_refused_as_outside_of_a_block(app: Flask) -> None:
    with Mail(app).connect() as connection:
        with pytest.raises(AssertionError):
            connection.send(Message("Hello", [], body="Hi"))
        with pytest.raises(BadHeaderError):
            connection.send(message(reply_to="a@x.com\r\n"))
        assert connection.num_emails == 0


def test_a_message_can_send_itself_on_a_connection(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    with Mail(make_app(**settings)).connect() as connection:
        assert message().send(connection).accepted == ("ada@example.com",)


def test_a_connection_outside_of_its_block_sends_too(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    connection = Mail(make_app(**settings)).connect()
    connection.send(message())
    assert len(mail_server.messages) == 1


def test_the_constructor_of_flask_mail_works(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(app := make_app(**settings))
    assert mail.state is not None
    with app.app_context(), Connection(mail.state) as connection:
        connection.send(message())
    assert len(mail_server.messages) == 1


def test_a_host_set_by_the_application_gets_the_messages(app: Flask) -> None:
    with Mail(app).connect() as connection, mock.patch.object(connection, "host") as host:
        sample = message(sender="shop@example.com", mail_options=["RET=HDRS"])
        host.sendmail.return_value = {}
        receipt = connection.send(sample)
        host.sendmail.assert_called_once_with(
            "shop@example.com", ["ada@example.com"], sample.as_bytes(), ["RET=HDRS"], []
        )
    assert receipt.accepted == ("ada@example.com",)


def test_the_host_may_be_a_smtplib_connection(app: Flask, mail_server: MailServer) -> None:
    mail_server.refuse("bob@example.com")
    with (
        Mail(app).connect() as connection,
        smtplib.SMTP(mail_server.host, mail_server.port, timeout=10) as host,
    ):
        connection.host = host
        receipt = connection.send(message(bcc=["bob@example.com"]))
    assert receipt.accepted == ("ada@example.com",)
    assert {to: reply.code for to, reply in receipt.refused.items()} == {"bob@example.com": 550}


def test_leaving_the_block_does_not_fail_if_the_server_is_gone(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.hang_up("QUIT", times=None)
    with Mail(make_app(**settings)).connect() as connection:
        connection.send(message())
        mail_server.close_connections()
    assert len(mail_server.messages) == 1
