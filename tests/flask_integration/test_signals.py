"""Receivers of signals that raise, and what becomes of the message."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blinker import Signal
from flask import Flask

import mailbackends
from flask_integration import Mail, Message, email_dispatched, email_failed, email_sent
from mailbackends import Receipt
from support.server import MailServer

from .conftest import MakeApp


def message(to: str = "ada@example.com") -> Message:
    return Message("Hello", [to], body="Hi")


@contextmanager
def raising(app: Flask, *signals: Signal) -> Iterator[list[Any]]:
    """Connect a receiver to each signal that raises, and then one that records its message."""
    seen: list[Any] = []

    def fail(sender: Flask, **values: Any) -> None:
        raise ZeroDivisionError("the receiver is broken")

    def record(sender: Flask, message: Any, **values: Any) -> None:
        seen.append(message)

    for signal in signals:
        signal.connect(fail, app)
        signal.connect(record, app)
    yield seen
    for signal in signals:
        signal.disconnect(fail, app)
        signal.disconnect(record, app)


@pytest.mark.parametrize("signal", [email_sent, email_dispatched])
def test_a_receiver_that_raises_does_not_make_an_accepted_message_look_failed(
    make_app: MakeApp,
    mail_server: MailServer,
    settings: dict[str, Any],
    signal: Signal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mail = Mail(app := make_app(**settings))
    with raising(app, signal) as seen:
        receipt = mail.send(sent := message())
    assert receipt.accepted == ("ada@example.com",)
    assert (len(mail_server.messages), seen) == (1, [sent])
    [record] = caplog.records
    assert (record.name, record.levelno) == (app.name, logging.ERROR)
    assert "the outcome of the message is not affected" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_receiver_that_raises_does_not_replace_the_error_of_a_message(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("ada@example.com")
    mail = Mail(app := make_app(**settings))
    with raising(app, email_failed), pytest.raises(mailbackends.SMTPRecipientsRefused):
        mail.send(message())
    with (
        raising(app, email_failed),
        mail.connect() as connection,
        pytest.raises(mailbackends.SMTPRecipientsRefused),
    ):
        connection.send(message())


def test_receivers_that_raise_do_not_stop_a_batch(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("bob@example.com")
    mail = Mail(app := make_app(**settings))
    batch = [message(), message("bob@example.com"), message("no address"), message()]
    with raising(app, email_sent, email_dispatched, email_failed):
        outcomes = mail.send_many(batch)
    assert [type(outcome) for outcome in outcomes] == [
        Receipt,
        mailbackends.SMTPRecipientsRefused,
        mailbackends.InvalidAddressError,
        Receipt,
    ]
    assert len(mail_server.messages) == 2


def test_a_coroutine_function_cannot_receive_and_is_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    async def receive(sender: Flask, **values: Any) -> None: ...

    with email_sent.connected_to(receive, app):
        Mail(app).send(message())
    assert "connect an ordinary function" in caplog.text


def test_a_muted_signal_calls_no_receiver(app: Flask) -> None:
    with raising(app, email_sent) as seen, email_sent.muted():
        Mail(app).send(message())
    assert seen == []
