"""Mail of Django is signed by the option ``dkim``, whichever way its messages are written."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.test import override_settings

from django_integration.compat import mailers_configured
from support.dkim import key_for, pem_of, records, verify
from support.sink import Sink

RSA = "rsa-sha256"
BACKEND = "django_integration.EmailBackend"


def settings_for(sink: Sink, dkim: Any) -> Any:
    import django

    if django.VERSION >= (6, 1):
        options = {"host": sink.host, "port": sink.port, "dkim": dkim}
        return override_settings(MAILERS={"default": {"BACKEND": BACKEND, "OPTIONS": options}})
    return override_settings(
        EMAIL_BACKEND=BACKEND,
        EMAIL_HOST=sink.host,
        EMAIL_PORT=sink.port,
        MAILBACKENDS={"dkim": dkim},
    )


def given() -> dict[str, str]:
    return {"domain": "example.com", "selector": "s1", "key": pem_of(RSA, 0).reveal()}


def send(message: EmailMessage) -> None:
    with mail.get_connection() if not mailers_configured() else mail.mailers["default"] as backend:
        assert backend.send_messages([message]) == 1


@pytest.mark.parametrize("extensions", [("8BITMIME", "PIPELINING", "CHUNKING"), ("PIPELINING",)])
@pytest.mark.parametrize("is_list", [True, False])
def test_a_message_is_signed(is_list: bool, extensions: tuple[str, ...]) -> None:
    dkim: Any = [given()] if is_list else given()
    with Sink(extensions=extensions) as sink, settings_for(sink, dkim):
        plain = EmailMessage("Grüße", "Hé\n.\n", "a@example.com", ["b@example.net"])
        rich = EmailMultiAlternatives("Both", "text\n", "A <a@example.com>", ["b@example.net"])
        rich.attach_alternative("<p>é</p>", "text/html")
        rich.attach("data.bin", b"\x00\x01" * 100_000, "application/octet-stream")
        for message in (plain, rich):
            send(message)
        published = records(key_for())
        assert [verify(each.content, published) for each in sink.messages] == [[True]] * 2
        assert sink.connections == 1


def test_the_key_is_read_once_for_many_messages() -> None:
    from mailbackends.dkim.keys import load_key

    with Sink() as sink, settings_for(sink, given()):
        before = load_key.cache_info().misses
        for _ in range(5):
            send(EmailMessage("s", "t", "a@example.com", ["b@example.net"]))
        assert load_key.cache_info().misses - before <= 1
        assert sink.connections == 1


def test_a_wrong_key_is_an_error_of_the_configuration_that_does_not_show_it() -> None:
    from django.core.exceptions import ImproperlyConfigured

    pem = pem_of(RSA, 0).reveal()
    with Sink() as sink, settings_for(sink, given() | {"key": pem[:500]}):
        with pytest.raises(ImproperlyConfigured, match=r"s1\._domainkey\.example\.com") as e:
            send(EmailMessage("s", "t", "a@example.com", ["b@example.net"]))
        assert pem[100:120] not in str(e.value)
