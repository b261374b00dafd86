"""docs/outbox.md: its settings are pasted into a new project, and its samples are run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import RequestFactory

from django_integration.outbox.configuration import OutboxSettings
from django_integration.outbox.models import Message
from support.new_project import new_project
from support.server import MailServer

Use = Callable[..., None]

PAGE = Path(__file__).parents[3] / "docs" / "outbox.md"
if not PAGE.is_file():
    pytest.skip("the documentation is not here", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```python\n# (\w+\.py)(.*?)\n(.*?)^```$", re.M | re.S)
_SEND = (
    "from django.core.mail import send_mail;"
    'send_mail("Your order", "It is on its way.", "shop@example.com", ["ada@example.com"])'
)


def blocks(file: str) -> list[tuple[str, str]]:
    return [(title, code) for name, title, code in _BLOCK.findall(TEXT) if name == file]


def test_the_settings_queue_and_deliver_mail_in_a_new_project(tmp_path: Path) -> None:
    version = "6.1" if django.VERSION >= (6, 1) else "5.2"
    [code] = [code for title, code in blocks("settings.py") if f"Django {version}" in title]
    with MailServer(tls="starttls", login=("shop", "secret"), require_login=True) as server:
        run = new_project(tmp_path, code, server)
        assert "no issues" in run("manage.py", "check")
        run("manage.py", "migrate")
        run("manage.py", "shell", "-c", _SEND)
        assert "W014" in run("manage.py", "check", "--database", "default")
        assert server.messages == []
        assert "accepted: ada@example.com" in run("manage.py", "outbox", "work", "--once")
        assert "resend ada@example.com" in run("manage.py", "outbox", "--help")
    assert server.message.rcpt_tos == ("ada@example.com",)
    assert server.message.user == "shop"


def test_the_view_queues_its_mail(database: str, use_settings: Use) -> None:
    use_settings(EMAIL_BACKEND="django_integration.EmailBackend", MAILBACKENDS={})
    [(_, code)] = blocks("views.py")
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the page's own sample
    for _ in range(2):
        assert names["order"](RequestFactory().get("/")).content == b"Thank you"
    row = Message.objects.get()
    assert (row.key, row.priority) == ("order-4711", 2)


def test_the_urls_can_be_imported() -> None:
    [(_, code)] = blocks("urls.py")
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102
    assert len(names["urlpatterns"]) == 2


def test_every_setting_check_and_command_is_documented() -> None:
    from django_integration.outbox import checks
    from django_integration.outbox.management.commands.outbox import Command

    for field in fields(OutboxSettings):
        assert f"`{field.name}`" in TEXT, field.name
    for identifier in set(re.findall(r"mailbackends\.[EW]\d{3}", checks.__doc__ or "")):
        assert f"`{identifier}`" in TEXT
    for name in vars(Command):
        if re.fullmatch(r"_(work|sweep|status|prune|resend|cancel|resolve)", name):
            assert f"outbox {name[1:]}" in TEXT, name
