"""The task in docs/django.md, run by Celery over a real Redis, with a worker that is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery")
pytest.importorskip("redis", reason="the client of Redis is not installed here")

from support.redis_server import redis_server
from support.sink import Sink

PAGE = Path(__file__).parents[2] / "docs" / "django.md"
SETTINGS = """
import os
import django
SECRET_KEY = "s"
USE_TZ = True
INSTALLED_APPS = ["django_integration"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
DEFAULT_FROM_EMAIL = "shop@example.com"
OPTIONS = {"host": "127.0.0.1", "port": os.environ["MAIL_PORT"]}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django_integration.EmailBackend", "OPTIONS": OPTIONS}}
else:
    EMAIL_BACKEND = "django_integration.EmailBackend"
    EMAIL_HOST, EMAIL_PORT = OPTIONS["host"], OPTIONS["port"]
"""
CELERY = """
import os
from celery import Celery
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.broker_transport_options = {"visibility_timeout": 1}
app.conf.broker_connection_retry_on_startup = True
app.set_default()
import django
django.setup()
import tasks
"""
ENQUEUE = """
import celery_app
from confirming import confirm_later
from tasks import confirm
confirm_later(confirm, "ada@example.com")
"""


def samples(folder: Path) -> None:
    """The files of the page, and those around them."""
    text = PAGE.read_text("utf-8")
    files: dict[str, str] = {"settings": SETTINGS, "celery_app": CELERY, "enqueue": ENQUEUE}
    for name in ("tasks", "confirming"):
        [files[name]] = re.findall(rf"^```python\n# {name}\.py\n(.*?)^```", text, re.M | re.S)
    for name, code in files.items():
        (folder / f"{name}.py").write_text(code)


def start(folder: Path, environment: dict[str, str], log: Any) -> subprocess.Popen[bytes]:
    command = "-m celery -A celery_app worker --pool=solo --without-mingle --without-gossip"
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-W", "ignore", *command.split()],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def wait(holds: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end, log.read_text("utf-8", "replace")
        time.sleep(0.05)


@pytest.mark.slow
def test_a_task_whose_worker_is_killed_runs_again_with_the_same_message_id(tmp_path: Path) -> None:
    samples(tmp_path)
    log = tmp_path / "worker.log"
    with redis_server() as url, Sink() as sink, log.open("wb") as output:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "REDIS_URL": url,
            "MAIL_PORT": str(sink.port),
        }
        environment.pop("PYTHONSAFEPATH", None)
        sink.stall("content", times=1)
        subprocess.run(
            [sys.executable, "-W", "ignore", "enqueue.py"],
            cwd=tmp_path,
            env=environment,
            check=True,
            timeout=60,
        )
        first = start(tmp_path, environment, output)
        try:
            # The content has arrived, and the server does not answer.
            wait(lambda: sink.connections == 1 and b"on its way" in sink.received(0), log)
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        sent = re.search(rb"(?im)^message-id: (\S+)", sink.received(0))
        assert sent is not None
        assert sink.messages == []
        time.sleep(1.5)  # the broker's visibility timeout
        second = start(tmp_path, environment, output)
        try:
            wait(lambda: len(sink.messages) == 1, log)
        finally:
            second.terminate()
            second.wait(30)
        assert sink.message.message["Message-ID"] == sent[1].decode()
