"""The Flask shop, with Flask-Mail instead of `flask_integration`: for comparison only."""

from __future__ import annotations

import os
from typing import Any

import flask_mail
from flask import Flask
from flask_shop import create_app, views

from flask_integration import Message
from mailbackends import Receipt, Reply

_other = Flask("flask_mail")
_other.config.update(
    MAIL_SERVER=os.environ["MAIL_DEMO_HOST"],
    MAIL_PORT=int(os.environ["MAIL_DEMO_PORT"]),
    MAIL_USERNAME=os.environ["MAIL_DEMO_USER"],
    MAIL_PASSWORD=os.environ["MAIL_DEMO_PASSWORD"],
    MAIL_USE_TLS=True,
    MAIL_DEFAULT_SENDER=("Leaf & Cup", "shop@leafandcup.example"),
)
_mail = flask_mail.Mail(_other)


class _FlaskMail:
    def send(self, message: Message) -> Receipt:
        """Send the same content by Flask-Mail, which knows no receipts."""
        with _other.app_context():
            sent: Any = flask_mail.Message(
                message.subject, message.recipients, message.body, message.html
            )
            files: list[Any] = [*message.attachments]
            for file in files:
                data = file.data.encode() if isinstance(file.data, str) else file.data
                sent.attach(file.filename, file.content_type, data, file.disposition)
            _mail.send(sent)
        return Receipt(tuple(map(str, message.send_to)), Reply(250), {})


app = create_app()
setattr(views, "mail", _FlaskMail())  # noqa: B010 - it is not of the same class
