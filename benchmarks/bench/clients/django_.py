"""Django, with its own SMTP backend or that of mailbackends; only one setting differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.utils import DNS_NAME

from bench.clients.base import Client, Work
from bench.samples import SENDER, SENDER_NAME, WARM_UP, Sample

__all__ = ["make"]

_OWN = "django.core.mail.backends.smtp.EmailBackend"
_OURS = "django_integration.EmailBackend"
_HAS_MAILERS = django.VERSION >= (6, 1)


def make(manner: str) -> Client:
    """``own view``, ``own batch``, ``ours view``, ``ours batch``, ``ours view upkeep``, or ``ours
    cold``, of which each message is the first of its Mailer."""
    return _Django(manner)


class _Django(Client):
    def __init__(self, manner: str) -> None:
        super().__init__(manner)
        whose, self.use, *more = manner.split()
        self.is_ours = whose == "ours"
        self.min_idle = int("upkeep" in more)
        if not settings.configured:
            settings.configure(USE_TZ=True)
            django.setup()

    def prepare(self, work: Work) -> int:
        DNS_NAME._fqdn = work.local_hostname
        options: dict[str, Any] = {
            "host": work.host,
            "port": work.port,
            "use_tls": work.security == "starttls",
        }
        if work.login:
            options["username"], options["password"] = work.login
        if self.is_ours:
            options["local_hostname"] = work.local_hostname
            options["min_idle"] = self.min_idle
            if work.max_idle:
                options["max_idle"] = work.max_idle
        _configure(_OURS if self.is_ours else _OWN, options)
        if self.use == "cold":
            return 0
        # The pool outlives a view: the cost of the first message is not measured here.
        return _backend().send_messages([_message(WARM_UP)]) if self.is_ours else 0

    def make(self, work: Work, count: int) -> Sequence[Any]:
        # A view creates its message itself, within the measured time.
        if self.use == "view":
            return [work.sample] * count
        return [_message(work.sample) for _ in range(count)]

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        if self.use == "cold":
            for message in messages:
                message.send()
                self.finish()
        elif self.use == "view":
            for sample in messages:
                _message(sample).send()
        else:
            _backend().send_messages(messages)

    def finish(self) -> None:
        if self.is_ours:
            from django_integration.registry import registry

            registry.close()


def _configure(backend: str, options: dict[str, Any]) -> None:
    if _HAS_MAILERS:
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
        return
    settings.EMAIL_BACKEND = backend
    settings.EMAIL_HOST, settings.EMAIL_PORT = options["host"], options["port"]
    settings.EMAIL_USE_TLS = options["use_tls"]
    settings.EMAIL_HOST_USER = options.get("username", "")
    settings.EMAIL_HOST_PASSWORD = options.get("password", "")
    names = ("local_hostname", "min_idle", "max_idle")
    settings.MAILBACKENDS = {n: v for n, v in options.items() if n in names}


def _backend() -> Any:
    return mail.mailers.default if _HAS_MAILERS else mail.get_connection()


def _message(sample: Sample) -> EmailMessage:
    message = EmailMultiAlternatives(
        sample.subject, sample.text, f"{SENDER_NAME} <{SENDER}>", list(sample.recipients)
    )
    if sample.has_html:
        message.attach_alternative(sample.html, "text/html")
    if sample.attachment_size:
        message.attach(sample.file_name, sample.attachment, sample.file_type)
    return message
