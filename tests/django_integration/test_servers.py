"""A project under gunicorn (preload, sync, gthread), uWSGI and ASGI, over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.core.mail import EmailMessage

from support.ports import free_port
from support.server import MailServer

Use = Callable[..., None]

PROJECT = """
import os
import django
from django.conf import settings

mail = {"host": os.environ["HOST"], "port": int(os.environ["PORT"])}
min_idle = int(os.environ["MIN_IDLE"])
if django.VERSION >= (6, 1):
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x",
        MAILERS={
            "default": {
                "BACKEND": "django_integration.EmailBackend",
                "OPTIONS": {**mail, "min_idle": min_idle},
            }
        },
    )
else:
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x",
        EMAIL_BACKEND="django_integration.EmailBackend",
        EMAIL_HOST=mail["host"], EMAIL_PORT=mail["port"],
        MAILBACKENDS={"min_idle": min_idle},
    )

from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.core.mail import send_mail
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

def send(request=None):
    send_mail("s", str(os.getpid()), "shop@example.com", ["a@example.com"])
    return HttpResponse(str(os.getpid()))

async def send_async(request):
    await sync_to_async(send)(request)
    return HttpResponse(str(os.getpid()))

async def send_in_the_loop(request):
    from django_integration import asend_mail
    await asend_mail("s", str(os.getpid()), "shop@example.com", ["a@example.com"])
    return HttpResponse(str(os.getpid()))

urlpatterns = [
    path("sync/", send), path("async/", send_async), path("loop/", send_in_the_loop)
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
if os.environ.get("AT_IMPORT"):
    send()
"""


@contextmanager
def running(
    tmp_path: Path, mail: MailServer, *command: str, at_import: bool = False, min_idle: int = 0
) -> Iterator[str]:
    (tmp_path / "project.py").write_text(PROJECT)
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    process = subprocess.Popen(  # noqa: S603 - the command is written below
        [part.format(port=port) for part in command],
        cwd=tmp_path,
        env={
            **kept,
            "HOST": mail.host,
            "PORT": str(mail.port),
            "MIN_IDLE": str(min_idle),
            "AT_IMPORT": "1" if at_import else "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(process.communicate()[0]) from None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        written = process.communicate(timeout=20)[0]
        print(written)
    assert "Traceback" not in written


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
        text: str = answer.read().decode()
        return text


PYTHON = (sys.executable, "-m")
GUNICORN = (
    *PYTHON,
    "gunicorn",
    "project:wsgi",
    "--bind=127.0.0.1:{port}",
    "--workers=2",
    "--preload",
)


def check_prefork(tmp_path: Path, server: MailServer, command: tuple[str, ...]) -> None:
    """The parent and each worker have their own connection."""
    with running(tmp_path, server, *command, at_import=True) as base:
        workers = {get(f"{base}/sync/") for _ in range(12)}

    assert len(server.messages) == 13  # one was sent while the master process was loading
    parent = server.messages[0]
    pids = {received.message.get_content().strip() for received in server.messages[1:]}
    assert pids == workers
    # The parent's connection was left to it; no worker has touched it.
    by_connection: dict[int, set[str]] = {}
    for received in server.messages:
        by_connection.setdefault(received.connection, set()).add(
            received.message.get_content().strip()
        )
    assert by_connection[parent.connection] == {parent.message.get_content().strip()}
    assert all(len(pids) == 1 for pids in by_connection.values())
    # A worker serves one request after the other here, so it needs one connection.
    assert server.connections == 1 + len(workers)


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_under_gunicorn_with_preload_each_worker_has_its_own_connection(
    worker: str, server: MailServer, tmp_path: Path
) -> None:
    pytest.importorskip("gunicorn")
    command = (
        *GUNICORN,
        f"--worker-class={worker}",
        "--threads=1" if worker == "sync" else "--threads=4",
    )
    check_prefork(tmp_path, server, command)


def test_under_uwsgi_each_worker_has_its_own_connection(server: MailServer, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("uwsgi")
    if not program.exists():
        pytest.skip("uWSGI is not installed")
    command = (
        *(str(program), "--module=project:wsgi", "--http-socket=127.0.0.1:{port}", "--master"),
        *("--processes=2", "--need-app", "--die-on-term", f"--virtualenv={sys.prefix}"),
    )
    check_prefork(tmp_path, server, command)


def test_under_asgi_async_and_sync_views_share_the_pool(server: MailServer, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    command = (
        *PYTHON,
        "uvicorn",
        "project:asgi",
        "--host=127.0.0.1",
        "--port={port}",
        "--log-level=warning",
    )
    with running(tmp_path, server, *command) as base:
        for _ in range(3):
            get(f"{base}/async/")
            get(f"{base}/sync/")
    assert len(server.messages) == 6
    assert server.connections == 1


def test_under_asgi_async_views_share_the_connections_of_the_loop(
    server: MailServer, tmp_path: Path
) -> None:
    pytest.importorskip("uvicorn")
    command = (
        *(*PYTHON, "uvicorn", "project:asgi", "--host=127.0.0.1"),
        *("--port={port}", "--log-level=warning"),
    )
    with running(tmp_path, server, *command) as base:
        for _ in range(3):
            get(f"{base}/loop/")
    assert len(server.messages) == 3
    assert server.connections == 1
    server.wait(lambda: server.open_connections == 0)


def test_many_mails_at_once_from_one_event_loop(mail: MailServer) -> None:
    def send() -> int:
        return int(EmailMessage("s", "b", to=["a@example.com"]).send())

    async def many() -> list[int]:
        sending = sync_to_async(send, thread_sensitive=False)
        return await asyncio.gather(*(sending() for _ in range(20)))

    assert asyncio.run(many()) == [1] * 20
    assert len(mail.messages) == 20
    assert mail.connections <= 4
