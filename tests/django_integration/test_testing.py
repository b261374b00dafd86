"""The pytest fixture that sends an application's mail to a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = ("-p", "mailbackends.testing.plugin", "-p", "django_integration.pytest_plugin")

TESTS = """
import django
from django.conf import settings

mail = {"host": "mail.example.com", "use_tls": True}
if django.VERSION >= (6, 1):
    settings.configure(MAILERS={
        "default": {"BACKEND": "django_integration.EmailBackend",
                    "OPTIONS": {**mail, "on_partial_refusal": "raise"}},
        "bulk": {"BACKEND": "django_integration.EmailBackend", "OPTIONS": mail},
    })
else:
    settings.configure(
        EMAIL_BACKEND="django_integration.EmailBackend",
        EMAIL_HOST="mail.example.com", EMAIL_USE_TLS=True,
        MAILBACKENDS={"on_partial_refusal": "raise"},
    )
django.setup()

import pytest
from django.core import mail
from django.core.mail import EmailMessage

from django_integration import PartialRefusal
from mailbackends import Mailer, SMTPRecipientsRefused


def message(*to):
    return EmailMessage("Your order", "It is on its way.", "shop@example.com", list(to))


def test_the_outbox_is_filled_by_default(mailoutbox):
    message("ada@example.com").send()
    assert len(mailoutbox) == 1


def test_mail_reaches_the_server(django_smtp_server):
    sent = message("ada@example.com")
    sent.send()
    [received] = django_smtp_server.messages
    assert (received.sender, received.recipients) == ("shop@example.com", ("ada@example.com",))
    assert received.message["Subject"] == "Your order"
    assert received.message["Message-ID"] == sent.receipt.message_id
    message("ada@example.com").send()
    assert django_smtp_server.connections == 1
    if django.VERSION >= (6, 1):
        message("ada@example.com").send(using="bulk")
        assert len(django_smtp_server.messages) == 3


@pytest.mark.smtp_server(tls="starttls", login=("shop", "secret"))
def test_mail_reaches_a_server_with_tls_and_login(django_smtp_server):
    message("ada@example.com").send()
    received = django_smtp_server.assert_sent(
        to="ada@example.com", subject="Your order", text="It is on its way.", attachments=[]
    )
    assert (received.is_tls, received.user) == (True, "shop")


def test_mail_in_the_outbox_is_compared_too(mailoutbox):
    from mailbackends.testing.assertions import assert_sent

    message("ada@example.com").send()
    assert_sent(mailoutbox, to=["ada@example.com"], text_has="on its way")


def test_a_refusal(django_smtp_server):
    django_smtp_server.refuse("gone@example.com", "550 5.1.1 Gone")
    with pytest.raises(SMTPRecipientsRefused):
        message("gone@example.com").send()
    assert django_smtp_server.messages == []


def test_on_partial_refusal_applies_with_the_fixture(django_smtp_server):
    django_smtp_server.refuse("gone@example.com", "550 5.1.1 Gone")
    with pytest.raises(PartialRefusal):
        message("ada@example.com", "gone@example.com").send()


def test_the_outbox_again(mailoutbox):
    message("ada@example.com").send()
    assert len(mailoutbox) == 1


def test_without_django(smtp_server):
    with Mailer(smtp_server.url) as mailer:
        mailer.send_message(b"Subject: s\\r\\n\\r\\nb\\r\\n", "", ["ada@example.com"])
    [received] = smtp_server.messages
    assert (received.sender, received.content) == ("", b"Subject: s\\r\\n\\r\\nb\\r\\n")
    smtp_server.clear()
    assert smtp_server.messages == []
"""

UNUSED = """
import sys

def test_nothing_was_loaded():
    assert "aiosmtpd" not in sys.modules
    assert "django_integration.testing" not in sys.modules
    assert "django.core.mail" not in sys.modules
"""


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_application.py").write_text(text)
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", *PLUGINS, "-q", "-W", "error"],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_application_can_test_with_a_real_server(tmp_path: Path) -> None:
    pytest.importorskip("pytest_django")
    pytest.importorskip("trustme")
    done = run(tmp_path, TESTS)
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


def test_the_plugins_import_nothing_until_a_fixture_is_used(tmp_path: Path) -> None:
    done = run(tmp_path, UNUSED)
    assert done.returncode == 0, done.stdout
