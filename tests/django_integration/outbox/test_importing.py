"""Moving over from django-post_office and django-mailer: what waits there is queued here, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """
import sys
from datetime import timedelta
import django
from django.conf import settings
package = sys.argv[1]
mail = (
    {"MAILERS": {"default": {"BACKEND": "django_integration.EmailBackend",
                             "OPTIONS": {"host": "localhost"}}}}
    if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": "django_integration.EmailBackend"}
)
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", package,
                    "django_integration", "django_integration.outbox"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "queue.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", USE_TZ=True, SECRET_KEY="s",
    DEFAULT_FROM_EMAIL="shop@example.com",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}], **mail,
)
django.setup()
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_integration.outbox.models import Message
call_command("migrate", verbosity=0)

def move():
    try:
        call_command("outbox", "import", "django_mailer" if package == "mailer" else package)
    except CommandError as error:
        print("CommandError:", error)

def show():
    for row in Message.objects.order_by("key"):
        print(row.key, row.state, row.priority, row.subject,
              *row.recipients.values_list("address", flat=True),
              "later" if row.not_before and row.not_before > timezone.now() else "now")
"""
POST_OFFICE = """
from post_office import mail as post
from post_office.models import Email, STATUS
tomorrow = timezone.now() + timedelta(days=1)
post.send("ada@example.com", "shop@example.com", subject="One", message="x", priority="high")
post.send(["bob@example.com"], "shop@example.com", subject="Two", html_message="<p>x",
          scheduled_time=tomorrow, bcc=["log@example.com"])
post.send("eve@example.com", "shop@example.com", subject="Three", message="x",
          headers={"X Bad": "1"})
move(); show(); move(); show()
print([(e.pk, e.status == STATUS.failed, [log.message[:19] for log in e.logs.all()])
       for e in Email.objects.order_by("pk")])
"""
MAILER = """
from django.core.mail import EmailMessage
from mailer.models import Message as Theirs
for to, priority in (("ada@example.com", 1), ("bob@example.com", 4), ("a:b@example.com", 2)):
    row = Theirs(priority=priority)
    row.email = EmailMessage("Your order", "x", "shop@example.com", [to])
    row.save()
move(); show(); move(); show()
print(sorted(row.email.to for row in Theirs.objects.all()))
"""


def run(package: str, code: str, folder: Path) -> list[str]:
    path = folder / "project.py"
    path.write_text(PROJECT + code)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", str(path), package],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_waits_in_post_office_is_moved_once_with_its_time_and_priority(tmp_path: Path) -> None:
    pytest.importorskip("post_office")
    lines = run("post_office", POST_OFFICE, tmp_path)
    rows = [
        "post_office:1 queued 2 One ada@example.com now",
        "post_office:2 queued 1 Two bob@example.com log@example.com later",
    ]
    assert lines[0].startswith("post_office:3 was left: ")
    assert "X Bad" in lines[0]
    assert lines[1:3] == [
        "2 messages were moved.",
        "CommandError: 1 message was left in the other queue.",
    ]
    assert lines[3:5] == rows
    assert lines[6:8] == ["0 messages were moved.", lines[2]]
    assert lines[8:10] == rows
    assert lines[10] == (
        "[(1, True, ['Moved to the outbox']), (2, True, ['Moved to the outbox']), (3, False, [])]"
    )


def test_what_waits_in_django_mailer_is_moved_once_and_what_fails_stays(tmp_path: Path) -> None:
    pytest.importorskip("mailer")
    lines = run("mailer", MAILER, tmp_path)
    rows = [
        "mailer:1 queued 2 Your order ada@example.com now",
        "mailer:2 queued 0 Your order bob@example.com now",
    ]
    assert lines[0].startswith("mailer:3 was left: ")
    assert lines[1] == "2 messages were moved."
    assert lines[3:5] == rows
    assert lines[8:10] == rows
    assert lines[10] == "[['a:b@example.com']]"
