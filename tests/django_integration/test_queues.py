"""Queues of mail that others have built on Django, over this backend and a real server.

One message that cannot be sent must not stop those after it: each queue goes on only after
the exceptions that it expects from a mail server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest

from support.server import MailServer

PROJECT = """
import json, os, sys
import django
from django.conf import settings

host, port = os.environ["HOST"], int(os.environ["PORT"])
more = {}
if os.environ["MAIL"] == "MAILERS":
    more["MAILERS"] = {"default": {"BACKEND": "django_integration.EmailBackend",
                                   "OPTIONS": {"host": host, "port": port}}}
else:
    more |= {"EMAIL_HOST": host, "EMAIL_PORT": port,
             "EMAIL_BACKEND": "django_integration.EmailBackend"}
if os.environ["QUEUE"] == "mailer":
    more |= {"EMAIL_BACKEND": "mailer.backend.DbBackend", "MAILER_USE_FILE_LOCK": False,
             "MAILER_EMAIL_BACKEND": "django_integration.EmailBackend"}
else:
    more |= {"POST_OFFICE": {"THREADS_PER_PROCESS": 1, "MAX_RETRIES": 0}}
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", os.environ["QUEUE"], "django_integration"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "queue.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DEFAULT_FROM_EMAIL="shop@example.com", USE_TZ=True, SECRET_KEY="s",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    **more,
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)

# What is queued: the addresses, and header fields.
QUEUED = [
    ("first@example.com", {}),
    ("a:b@example.com", {}),
    ("second@example.com", {"X Bad": "value"}),
    ("third@example.com", {"X-Bad": "one\\r\\nBcc: victim@example.com"}),
    ("refused@example.com", {}),
    ("x@@example.com", {}),
    ("last@example.com", {"X-Good": "value"}),
]
"""

DJANGO_MAILER = (
    PROJECT
    + """
from django.core.mail import EmailMessage
from mailer.engine import send_all
from mailer.models import Message, MessageLog

for to, headers in QUEUED:
    EmailMessage("Subject", "Body", to=[to], headers=headers).send()
assert Message.objects.count() == len(QUEUED)
send_all()
print(json.dumps({
    "failed": [m.to_addresses[0] for m in Message.objects.deferred()],
    "waiting": Message.objects.non_deferred().count(),
    "log": [[entry.to_addresses[0], entry.log_message] for entry in MessageLog.objects.all()],
}))
"""
)

POST_OFFICE = (
    PROJECT
    + """
import logging
from post_office.mail import send_queued
from post_office.models import Email, STATUS

logging.disable(logging.CRITICAL)
Email.objects.bulk_create(  # save() checks the address
    Email(from_email="shop@example.com", to=[to], subject="Subject", message="Body",
          headers=headers, status=STATUS.queued)
    for to, headers in QUEUED
)
send_queued(processes=1, log_level=2)
print(json.dumps({
    "failed": [e.to[0] for e in Email.objects.filter(status=STATUS.failed).order_by("id")],
    "waiting": Email.objects.filter(status=STATUS.queued).count(),
    "log": [[e.to[0], e.logs.first().message] for e in Email.objects.all() if e.logs.first()],
}))
"""
)

CASES = [
    ("mailer", DJANGO_MAILER, "EMAIL_*"),
    ("post_office", POST_OFFICE, "EMAIL_*"),
    *[("post_office", POST_OFFICE, "MAILERS")] * (django.VERSION >= (6, 1)),
]


@pytest.mark.parametrize(("app", "script", "mail"), CASES)
def test_a_message_that_cannot_be_sent_does_not_stop_a_queue(
    server: MailServer, tmp_path: Path, app: str, script: str, mail: str
) -> None:
    pytest.importorskip("mailer" if app == "mailer" else "post_office")
    server.refuse("refused@example.com")
    result = run(script, tmp_path, QUEUE=app, MAIL=mail, HOST=server.host, PORT=str(server.port))

    assert [received.rcpt_tos[0] for received in server.messages] == [
        "first@example.com",
        "last@example.com",
    ]
    assert result["failed"] == [
        "a:b@example.com",
        "second@example.com",
        "third@example.com",
        "refused@example.com",
        "x@@example.com",
    ]
    assert result["waiting"] == 0
    log = dict(result["log"])
    assert "Invalid address 'a:b@example.com'" in log["a:b@example.com"]
    assert "X Bad" in log["second@example.com"]
    assert "line break" in log["third@example.com"]
    assert "550" in log["refused@example.com"]


def run(script: str, folder: Path, **environment: str) -> Any:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
