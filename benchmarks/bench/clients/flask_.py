"""Flask, with Flask-Mail or with flask_integration; only the import differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flask
import flask_mail

import flask_integration
from bench.clients.base import Client, Work
from bench.samples import SENDER, SENDER_NAME, WARM_UP, Sample

__all__ = ["make"]


def make(manner: str) -> Client:
    """``own each``, ``own connect``, ``ours each`` or ``ours connect``."""
    return _Flask(manner)


class _Flask(Client):
    def __init__(self, manner: str) -> None:
        super().__init__(manner)
        whose, self.use = manner.split()
        self.is_ours = whose == "ours"
        self.library: Any = flask_integration if self.is_ours else flask_mail

    def prepare(self, work: Work) -> int:
        app = flask.Flask("bench")
        app.config.update(
            MAIL_SERVER=work.host,
            MAIL_PORT=work.port,
            MAIL_USE_TLS=work.security == "starttls",
            MAIL_DEFAULT_SENDER=(SENDER_NAME, SENDER),
        )
        if work.login:
            app.config.update(MAIL_USERNAME=work.login[0], MAIL_PASSWORD=work.login[1])
        if self.is_ours:
            app.config.update(MAIL_LOCAL_HOSTNAME=work.local_hostname)
        self.mail = self.library.Mail(app)
        self.context = app.app_context()
        self.context.push()
        if self.is_ours:
            self.mail.send(self._message(WARM_UP))
        return int(self.is_ours)

    def make(self, work: Work, count: int) -> Sequence[Any]:
        return [self._message(work.sample) for _ in range(count)]

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        if self.use == "each":
            for message in messages:
                self.mail.send(message)
            return
        with self.mail.connect() as connection:
            for message in messages:
                connection.send(message)

    def finish(self) -> None:
        if self.is_ours:
            self.mail.close()
        self.context.pop()

    def _message(self, sample: Sample) -> Any:
        message = self.library.Message(
            sample.subject, recipients=list(sample.recipients), body=sample.text
        )
        if sample.has_html:
            message.html = sample.html
        if sample.attachment_size:
            message.attach(sample.file_name, sample.file_type, sample.attachment)
        return message
