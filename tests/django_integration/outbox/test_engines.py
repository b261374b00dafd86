"""Task queues as the bell of the outbox: real brokers, workers in processes of their own.

Each engine delivers what was queued; what it was told twice, or about what is gone, harms nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest

from support.postgres import postgres_server
from support.redis_server import redis_server
from support.server import MailServer

PAGE = Path(__file__).parents[3] / "docs" / "engines.md"

SETTINGS = """
import os
import django

SECRET_KEY = "s"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DEFAULT_FROM_EMAIL = "shop@example.com"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3",
                         "OPTIONS": {"timeout": 20}}}
if port := os.environ.get("PGPORT"):
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres",
                             "USER": "postgres", "HOST": "127.0.0.1", "PORT": port}}
INSTALLED_APPS = ["django_integration", "django_integration.outbox"]
INSTALLED_APPS += os.environ.get("APPS", "").split()
MAILBACKENDS = {"outbox": {"engine": "engine.ring", "notify": False}}
HOST, PORT = os.environ["MAIL_HOST"], os.environ["MAIL_PORT"]
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": "django_integration.outbox.EmailBackend",
                    "OPTIONS": {"via": "smtp"}},
        "smtp": {"BACKEND": "django_integration.EmailBackend",
                 "OPTIONS": {"host": HOST, "port": PORT}},
    }
else:
    EMAIL_BACKEND = "django_integration.outbox.EmailBackend"
    EMAIL_HOST, EMAIL_PORT = HOST, PORT
PROCRASTINATE_IMPORT_PATHS = ["engine"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
"""
CELERY = """
import os
import django
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
app = Celery("shop", broker=os.environ.get("REDIS_URL"))
app.conf.broker_connection_retry_on_startup = True
django.setup()
import engine
"""
QUEUE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
import django
if os.environ.get("ENGINE") == "celery":
    import celery_app
else:
    django.setup()
from django.core.mail import send_mail
from django.db import transaction
try:
    with transaction.atomic():
        send_mail("Rolled back", "x", None, ["nobody@example.com"])
        raise LookupError
except LookupError:
    pass
for name in sys.argv[1:]:
    with transaction.atomic():
        send_mail("Your order", "x", None, [name])
import engine
engine.ring(["01970000-0000-7000-8000-000000000000"])  # about a row that is gone
"""

# The command of a worker, the applications that it needs, and the module to look for.
ENGINES: dict[str, tuple[list[str], str, str]] = {
    "celery": (["-m", "celery", "-A", "celery_app", "worker", "--pool=solo", "-l", "warning"], "",
               "celery"),
    "rq": (["-m", "rq.cli", "worker", "--url", "{redis}", "--worker-class",
            "rq.worker.SimpleWorker", "mail"], "", "rq"),
    "huey": (["-m", "huey.bin.huey_consumer", "engine.huey", "-w", "1"], "", "huey"),
    "procrastinate": (["-m", "django", "procrastinate", "worker"],
                      "procrastinate.contrib.django", "procrastinate"),
    "django_tasks": (["-m", "django", "db_worker", "--interval", "0.2"], "django_tasks_db",
                     "django_tasks_db"),
}  # fmt: skip


@contextlib.contextmanager
def worker(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "ignore", *command],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def run(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_delivers_what_was_queued_once(
    engine: str, mail_server: MailServer, tmp_path: Path
) -> None:
    command, installed, module = ENGINES[engine]
    pytest.importorskip(module)
    if engine in ("celery", "rq"):
        pytest.importorskip("redis", reason="the client of Redis is not installed here")
    code = re.findall(
        rf"^```python\n# engine_{engine}\.py\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S
    )[0]
    if engine == "django_tasks" and django.VERSION < (6, 0):
        code = code.replace("from django.tasks import", "from django_tasks import")
        installed += " django_tasks"
    files: dict[str, Any] = {"engine": code, "settings": SETTINGS, "queue_mail": QUEUE}
    files["celery_app"] = CELERY
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    with contextlib.ExitStack() as stack:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "DJANGO_SETTINGS_MODULE": "settings",
            "ENGINE": engine,
            "APPS": installed,
            "MAIL_HOST": mail_server.host,
            "MAIL_PORT": str(mail_server.port),
        }
        environment.pop("PYTHONSAFEPATH", None)
        if engine in ("celery", "rq"):
            environment["REDIS_URL"] = stack.enter_context(redis_server())
        if engine == "procrastinate":
            environment["PGPORT"] = str(stack.enter_context(postgres_server()).port)
        run(tmp_path, environment, "-m", "django", "migrate", "--verbosity", "0")
        run(tmp_path, environment, "queue_mail.py", "ada@example.com", "bob@example.com")
        assert mail_server.messages == []
        if engine == "rq":  # its worker imports the function: Django has to be set up
            (tmp_path / "sitecustomize.py").write_text("import django\ndjango.setup()\n")
        command = [part.format(redis=environment.get("REDIS_URL")) for part in command]
        with worker(command, tmp_path, environment):
            ends = time.monotonic() + 60
            while len(mail_server.messages) < 2 and time.monotonic() < ends:
                time.sleep(0.1)
            time.sleep(1)  # for a second delivery, which must not come
        status = run(tmp_path, environment, "-m", "django", "outbox", "status")
    log = (tmp_path / "worker.log").read_text("utf-8", "replace")
    recipients = sorted(address for each in mail_server.messages for address in each.rcpt_tos)
    assert recipients == ["ada@example.com", "bob@example.com"], log
    assert re.search(r"accepted +2", status), status
