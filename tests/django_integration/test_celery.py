"""Mail from Celery's prefork workers, over real sockets: broker, worker, tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from django_integration.errors import InvalidHeaderError, PartialRefusal, SettingsError
from mailbackends import (
    InvalidAddressError,
    PoolTimeout,
    RateLimited,
    Receipt,
    Reply,
    SMTPAuthenticationError,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from support.server import MailServer

pytest.importorskip("celery")

PROJECT = """
import os
import django
from celery import Celery
from django.conf import settings

mail = {"host": os.environ["HOST"], "port": int(os.environ["PORT"])}
if django.VERSION >= (6, 1):
    settings.configure(
        MAILERS={"default": {"BACKEND": "django_integration.EmailBackend", "OPTIONS": mail}},
    )
else:
    settings.configure(
        EMAIL_BACKEND="django_integration.EmailBackend",
        EMAIL_HOST=mail["host"], EMAIL_PORT=mail["port"],
    )
django.setup()
from django.core.mail import send_mail

app = Celery("project", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control",
}

@app.task(name="send")
def send():
    send_mail("s", str(os.getpid()), "shop@example.com", ["a@example.com"])

if os.environ.get("WORKER"):
    send()  # in the parent, before it forks
else:
    for _ in range(12):
        send.delay()
"""
WORKER = (
    *("-m", "celery", "-A", "project", "worker", "--pool=prefork", "--concurrency=2"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


def test_under_celery_prefork_each_worker_has_its_own_connection(
    server: MailServer, tmp_path: Path
) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "queue").mkdir()
    (tmp_path / "control").mkdir()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    env |= {"HOST": server.host, "PORT": str(server.port)}
    subprocess.run([sys.executable, "project.py"], cwd=tmp_path, env=env, check=True, timeout=60)
    worker = subprocess.Popen(  # noqa: S603 - written above
        [sys.executable, *WORKER],
        cwd=tmp_path,
        env=env | {"WORKER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        end = time.monotonic() + 60
        while len(server.messages) < 13 and worker.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        worker.terminate()
        written = worker.communicate(timeout=30)[0]
        print(written)

    assert len(server.messages) == 13  # the parent's, and one for each task
    parent = server.messages[0].message.get_content().strip()
    by_connection: dict[int, set[str]] = {}
    for received in server.messages:
        pids = by_connection.setdefault(received.connection, set())
        pids.add(received.message.get_content().strip())
    # The parent's connection was left to it; each worker has made one, and kept it.
    assert by_connection[server.messages[0].connection] == {parent}
    assert all(len(pids) == 1 for pids in by_connection.values())
    assert server.connections == len(set.union(*by_connection.values()))
    assert "Traceback" not in written


ERRORS: list[SMTPException] = [
    SMTPConnectionError("cannot connect"),
    SMTPServerDisconnected("gone"),
    SMTPDeliveryUnknown("gone"),
    SMTPDataError(451, b"4.3.0 later \xff"),
    SMTPDataError(554, b"5.6.0 no"),
    SMTPSenderRefused(550, b"no", "shop@example.com"),
    SMTPRecipientsRefused({"a@example.com": (450, b"later"), "b@example.com": (451, b"later")}),
    SMTPAuthenticationError(535, b"wrong"),
    RateLimited("too many"),
    PoolTimeout("busy"),
    InvalidAddressError("no address"),
    SettingsError("wrong"),
    InvalidHeaderError("line break"),
    PartialRefusal(
        Receipt(("a@example.com",), Reply(250), {"b@example.com": Reply(550, (b"no",))})
    ),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_outcome_in_celerys_json_results(error: SMTPException) -> None:
    from celery import Celery
    from celery.backends.base import KeyValueStoreBackend

    backend = KeyValueStoreBackend(Celery(set_as_current=False), serializer="json")
    stored = backend.decode(backend.encode(backend.prepare_exception(error)))
    again = backend.exception_to_python(stored)
    assert type(again) is type(error)
    assert (again.outcome, again.is_transient) == (error.outcome, error.is_transient)
