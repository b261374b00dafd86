# pyright: strict
"""Every public name of the integration of Flask, as in `core`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import assert_type

from blinker import Namespace
from flask import Flask

from flask_integration import (
    Attachment,
    Backend,
    BadHeaderError,
    ConfigurationWarning,
    Connection,
    ConsoleBackend,
    DummyBackend,
    FileBackend,
    IncompleteMessageError,
    Mail,
    MailConnection,
    MailState,
    MemoryBackend,
    Message,
    NamedMail,
    Posting,
    SendCancelled,
    SmtpBackend,
    email_dispatched,
    email_failed,
    email_sending,
    email_sent,
    force_text,
    local_receipt,
    sanitize_address,
    sanitize_addresses,
    sanitize_subject,
    signals,
)
from mailbackends import MailerStats, Receipt, SMTPException

mail = Mail()


def create_app() -> Flask:
    app = Flask(__name__)
    warnings.simplefilter("error", ConfigurationWarning)
    assert_type(mail.init_app(app), MailState)
    assert_type(mail.warm_up(), int)
    return app


def send() -> Receipt:
    message = Message("Your order", ["ada@example.com"], body="It is on its way.")
    message.attach("note.txt", "text/plain", "Thank you.")
    message.attachments.append(Attachment("logo.gif", "image/gif", b"GIF89a"))
    assert_type(message.as_bytes(), bytes)
    try:
        receipt = mail.send(message)
    except (IncompleteMessageError, BadHeaderError, SendCancelled, SMTPException) as error:
        print(error)
        raise
    assert_type(receipt.accepted, tuple[str, ...])
    return receipt


def send_several(messages: list[Message]) -> list[Receipt | Exception]:
    newsletter = mail.using("newsletter")
    assert_type(newsletter, NamedMail)
    assert_type(newsletter.stream(messages), Iterator[Receipt | Exception])
    with mail.connect() as connection:
        assert_type(connection, MailConnection)
        other: Connection = connection
        assert_type(other.send(messages[0]), Receipt)
    return mail.send_many(messages)


async def send_in_a_loop(messages: list[Message]) -> list[Receipt | Exception]:
    assert_type(await mail.asend(messages[0]), Receipt)
    return await mail.asend_many(messages)


class Archive(Backend):
    """A backend of an application."""

    delivers = False

    def send(self, posting: Posting) -> Receipt:
        assert_type(posting.to_addrs, tuple[str, ...])
        assert_type(posting.as_bytes(), bytes)
        return local_receipt(posting, "archived")


backends: list[type[Backend]] = [
    Archive,
    ConsoleBackend,
    DummyBackend,
    FileBackend,
    MemoryBackend,
    SmtpBackend,
]


def stats(backend: SmtpBackend) -> list[MailerStats]:
    return backend.stats()


def listen() -> Namespace:
    for signal in (email_sending, email_dispatched, email_sent, email_failed):
        signal.connect(print)
    return signals


def helpers() -> list[str]:
    text = force_text(b"Ada")
    return [
        sanitize_address((text, "ada@example.com")),
        *sanitize_addresses(["ada@example.com"]),
        sanitize_subject("Your order"),
    ]
