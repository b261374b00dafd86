"""Django and Flask as clients. Django must be configured before its modules are imported."""

from __future__ import annotations

import email.policy
import warnings
from typing import Any

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="for the tests",
        INSTALLED_APPS=["django_integration"],
        ALLOWED_HOSTS=["*"],
        DEFAULT_FROM_EMAIL="shop@example.com",
        USE_TZ=True,
    )
    django.setup()

from django.core.mail import EmailMessage
from flask import Flask

import flask_integration
from django_integration import EmailBackend
from django_integration.registry import registry
from interop.clients import Access, Client
from interop.mails import DATE, Mail

__all__ = ["DjangoClient", "FlaskClient"]


class DjangoClient(Client):
    """Django's `EmailMessage` through our backend, a new one for each message as in Django."""

    name = "Django"

    def _send(self, mail: Mail) -> dict[str, int]:
        message = self._message(mail)
        with warnings.catch_warnings():
            # Django 6.1 takes backends from MAILERS only.
            warnings.simplefilter("ignore")
            backend = EmailBackend(**self.access.options())
        assert backend.send_messages([message]) == 1
        return {who: reply.code for who, reply in message.receipt.refused.items()}

    def content_of(self, mail: Mail) -> bytes:
        policy = email.policy.SMTPUTF8 if mail.needs_utf8 else email.policy.SMTP
        return bytes(self._message(mail).message().as_bytes(policy=policy))

    def _message(self, mail: Mail) -> Any:
        headers = {"Message-ID": mail.message_id, "Date": DATE}
        if mail.is_refused:
            headers["X-Refuse"] = "yes"
        message = EmailMessage(
            mail.subject, mail.text, mail.sender, bcc=mail.recipients, headers=headers
        )
        if mail.attachment is not None:
            message.attach("blob.bin", mail.attachment, "application/octet-stream")
        return message

    def close(self) -> None:
        registry.close()


class FlaskClient(Client):
    """Flask's `Mail`."""

    name = "Flask"

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._app = Flask("interop", root_path="/nowhere")
        self._app.config.update(
            {f"MAIL_{name.upper()}": value for name, value in access.options().items()}
        )
        self._mail = flask_integration.Mail(self._app)

    def _send(self, mail: Mail) -> dict[str, int]:
        with self._app.app_context():
            receipt = self._mail.send(self._message(mail))
        return {who: reply.code for who, reply in receipt.refused.items()}

    def content_of(self, mail: Mail) -> bytes:
        with self._app.app_context():
            message = self._message(mail)
            if mail.needs_utf8:
                return message.as_email().as_bytes(policy=email.policy.SMTPUTF8)
            return bytes(message.as_bytes())

    def _message(self, mail: Mail) -> flask_integration.Message:
        headers = {"X-Refuse": "yes"} if mail.is_refused else {}
        message = flask_integration.Message(
            mail.subject,
            body=mail.text,
            sender=mail.sender,
            bcc=list(mail.recipients),
            date=1793613600,
            extra_headers=headers,
        )
        message.msgId = mail.message_id
        if mail.attachment is not None:
            message.attach("blob.bin", "application/octet-stream", mail.attachment)
        return message

    def close(self) -> None:
        self._mail.close()
