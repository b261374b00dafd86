"""Checks, health and metrics of the outbox."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.test import RequestFactory

from django_integration.health import check_mail
from django_integration.outbox import enqueue
from django_integration.outbox.checks import check_configuration, check_database, check_workers
from django_integration.outbox.health import check_outbox, health, metrics
from django_integration.outbox.models import Message, Worker

Use = Callable[..., None]
BACKEND = "django_integration.outbox.EmailBackend"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def use_outbox(use_settings: Use) -> Use:
    def use(**outbox: Any) -> None:
        use_settings(
            EMAIL_BACKEND=BACKEND, EMAIL_HOST="smtp.example.com", MAILBACKENDS={"outbox": outbox}
        )

    use()
    return use


@pytest.fixture
def use_mailers(use_settings: Use) -> Use:
    if django.VERSION < (6, 1):
        pytest.skip("MAILERS came with Django 6.1")

    def use(**mailers: Any) -> None:
        use_settings(MAILERS=mailers, MAILBACKENDS={})
        if hasattr(settings, "EMAIL_BACKEND"):
            del settings.EMAIL_BACKEND

    return use


def queue(hours: float = 0.0) -> None:
    enqueue(EmailMessage("s", "b", to=["ada@example.com"]))
    Message.objects.update(due_at=datetime.now(UTC) - timedelta(hours=hours))


def errors() -> list[str]:
    return [str(each.msg) for each in check_configuration(None)]


def test_good_settings_pass(use_mailers: Use) -> None:
    assert errors() == []
    smtp = {"BACKEND": "django_integration.EmailBackend", "OPTIONS": {"host": "smtp.example.com"}}
    use_mailers(default={"BACKEND": BACKEND, "OPTIONS": {"via": "smtp"}}, smtp=smtp)
    assert errors() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"via": "smpt"}, "smpt"),
        ({"via": "default"}, "queues mail itself"),
        ({}, "add 'via'"),
        ({"via": "smtp", "priorty": "low"}, "priorty"),
        ({"via": "smtp", "priority": "soon"}, "'urgent'"),
    ],
)
def test_a_mailer_that_cannot_deliver_is_an_error(
    use_mailers: Use, options: dict[str, Any], words: str
) -> None:
    smtp = {"BACKEND": "django_integration.EmailBackend", "OPTIONS": {"host": "smtp.example.com"}}
    use_mailers(default={"BACKEND": BACKEND, "OPTIONS": options}, smtp=smtp)
    [found] = errors()
    assert words in found


def test_a_backend_that_queues_itself_is_an_error(use_outbox: Use) -> None:
    use_outbox(backend=BACKEND)
    assert any("queues mail" in each for each in errors())
    with pytest.raises(ImproperlyConfigured, match="queues mail"):
        enqueue(EmailMessage("s", "b", to=["ada@example.com"]))


def test_wrong_options_of_the_mailer_that_delivers_are_found(use_settings: Use) -> None:
    use_settings(EMAIL_BACKEND=BACKEND, MAILBACKENDS={"outbox": {}, "pool_size": 0}, EMAIL_HOST="x")
    [found] = errors()
    assert "pool_size" in found


def test_a_database_without_row_locks_is_reported_for_production(database: str) -> None:
    found = [each.id for each in check_database(None)]
    assert found == (["mailbackends.W013"] if database == "sqlite" else [])


def test_mail_without_a_worker_is_reported() -> None:
    assert check_workers(None, databases=["default"]) == []
    queue()
    [found] = check_workers(None, databases=["default"])
    assert found.id == "mailbackends.W014"
    assert check_workers(None) == []
    Worker.objects.create(name="w", started_at=datetime.now(UTC), seen_at=datetime.now(UTC))
    assert check_workers(None, databases=["default"]) == []


def test_health_is_bad_once_mail_waits_too_long(rf: RequestFactory) -> None:
    queue()
    assert check_outbox().is_ok
    assert check_mail().is_ok
    assert health(rf.get("/")).status_code == 200
    queue(hours=1)
    assert "no worker runs" in str(check_mail().error)
    answer = health(rf.get("/"))
    assert answer.status_code == 503
    assert json.loads(answer.content)["due"] == 2
    assert b"ada@" not in answer.content


def test_metrics_have_depth_age_and_rate(rf: RequestFactory) -> None:
    queue(hours=1)
    text = metrics(rf.get("/")).content.decode()
    assert 'mailbackends_outbox_messages{state="queued"} 1\n' in text
    assert 'mailbackends_outbox_messages{state="unknown"} 0\n' in text
    assert "mailbackends_outbox_due 1\n" in text
    assert "mailbackends_outbox_oldest_seconds 36" in text
    assert 'mailbackends_outbox_settled{state="queued"} 1\n' in text


def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "--check", "--dry-run", stdout=io.StringIO())


def test_without_the_app_the_error_says_what_to_do(use_settings: Use) -> None:
    use_settings(INSTALLED_APPS=["django_integration"])
    with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        EmailMessage("s", "b", to=["ada@example.com"]).send()
