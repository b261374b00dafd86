"""`Mail.send_many` and `Mail.stream`: an outcome for each message, whatever the others do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

import mailbackends
from flask_integration import BadHeaderError, Mail, Message, email_failed, email_sent
from mailbackends import Receipt
from support.server import MailServer

from .conftest import MakeApp


def message(to: str, subject: str = "Hello") -> Message:
    return Message(subject, [to], body="Hi")


def test_each_message_has_an_outcome_in_order(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("bob@example.com")
    mail = Mail(app := make_app(**settings))
    batch = [
        message("ada@example.com"),
        message("eve@example.com", "a\r\nb"),
        message("bob@example.com"),
        Message("Hello", [], body="Hi"),
        message("no address"),
        message("ada@example.com"),
        "no message",
    ]
    reported: list[object] = []

    def sent(app: Flask, message: object, receipt: Receipt) -> None:
        reported.append(message)

    def failed(app: Flask, message: object, error: Exception) -> None:
        reported.append(message)

    with email_sent.connected_to(sent, app), email_failed.connected_to(failed, app):
        outcomes = mail.send_many(batch)
    assert [type(outcome) for outcome in outcomes] == [
        Receipt,
        BadHeaderError,
        mailbackends.SMTPRecipientsRefused,
        *[type(outcomes[3])],
        mailbackends.InvalidAddressError,
        Receipt,
        TypeError,
    ]
    assert isinstance(outcomes[3], mailbackends.InvalidMessageError)
    assert reported == batch
    assert (len(mail_server.messages), mail_server.connections) == (2, 1)


def test_send_many_sends_when_it_is_called(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    Mail(make_app(**settings)).send_many(message("ada@example.com") for _ in range(3))
    assert (len(mail_server.messages), mail_server.connections) == (3, 1)


def test_stream_reads_and_sends_each_message_when_its_outcome_is_asked_for(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    read = 0

    def endless() -> Iterator[Message]:
        nonlocal read
        while True:
            read += 1
            yield message("ada@example.com", f"Hello {read}")

    mail = Mail(make_app(**settings))
    outcomes = mail.stream(endless())
    assert read == 0
    for _ in range(3):
        next(outcomes)
    assert read <= 4
    assert len(mail_server.messages) == 3


def test_an_iterable_that_raises_sends_nothing_with_send_many(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    def broken() -> Iterator[Message]:
        yield message("ada@example.com")
        raise LookupError("no more addresses")

    with pytest.raises(LookupError):
        Mail(make_app(**settings)).send_many(broken())
    assert mail_server.messages == []


@pytest.mark.parametrize("connections", [1, 2])
def test_an_iterable_that_raises_loses_no_outcome_of_stream(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any], connections: int
) -> None:
    def broken() -> Iterator[Message]:
        yield message("ada@example.com")
        yield message("no address")
        raise LookupError("no more addresses")

    outcomes = Mail(make_app(**settings, MAIL_BATCH_CONNECTIONS=connections)).stream(broken())
    assert isinstance(next(outcomes), Receipt)
    assert isinstance(next(outcomes), mailbackends.InvalidAddressError)
    with pytest.raises(LookupError):
        next(outcomes)
    assert len(mail_server.messages) == 1


def test_suppressed_messages_have_outcomes_too(app: Flask) -> None:
    mail = Mail(app)
    with mail.record_messages() as outbox:
        outcomes = mail.send_many([message("ada@example.com"), message("no address")])
    assert isinstance(outcomes[0], Receipt)
    assert isinstance(outcomes[1], mailbackends.InvalidAddressError)
    assert len(outbox) == 1


@pytest.mark.parametrize("backend", ["memory", "dummy"])
def test_other_backends_have_send_many_too(make_app: MakeApp, backend: str) -> None:
    mail = Mail(make_app(MAIL_BACKEND=backend))
    batch = [message("ada@example.com"), message("b@x.com", "a\nb"), message("c@x.com")]
    kinds = [isinstance(outcome, Receipt) for outcome in mail.send_many(batch)]
    assert kinds == [True, False, True]


def test_an_empty_batch_opens_no_connection(make_app: MakeApp, mail_server: MailServer) -> None:
    mail = Mail(make_app(MAIL_URL=mail_server.url))
    assert mail.send_many([]) == []
    assert mail_server.connections == 0
