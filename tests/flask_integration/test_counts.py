"""What a message costs in function calls: a count, never a time."""

from __future__ import annotations

from flask import Flask

import flask_integration
import mailbackends
from flask_integration import Mail, Message
from support.calls import calls_of
from support.sink import Sink


def message() -> Message:
    return Message("subject", sender="a@example.com", recipients=["b@example.com"], body="A line.")


def test_a_message_calls_few_functions() -> None:
    with Sink() as sink:
        app = Flask(__name__)
        app.config.update(MAIL_SERVER=sink.host, MAIL_PORT=sink.port)
        mail = Mail(app)
        with app.app_context():
            mail.send(message())
            mail.send(message())
            seen = calls_of(lambda: mail.send(message()), flask_integration, mailbackends)
    assert seen <= 285
