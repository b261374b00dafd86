"""`min_idle` in Django's settings, and the samples in docs/upkeep.md."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
from django.apps import apps
from django.core.mail import send_mail

from django_integration import warm_up
from django_integration.health import mail_stats
from support.background import until
from support.server import MailServer

from .test_servers import GUNICORN, get, running

Use = Callable[..., None]

PAGE = Path(__file__).parents[2] / "docs" / "upkeep.md"


def sample(file: str) -> str:
    if not PAGE.is_file():
        pytest.skip("the documentation is not here")
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    [code] = [code for code in found if code.startswith(f"# {file}\n")]
    return str(code)


def test_warm_up_opens_the_connections_that_mail_then_uses(
    server: MailServer, use_mail: Use
) -> None:
    use_mail(host=server.host, port=server.port, min_idle=2)
    assert warm_up(10) == 2
    for _ in range(3):
        send_mail("s", "b", None, ["a@example.com"])
    assert server.connections == 2
    [stats] = mail_stats()
    assert (stats.pool.opened_ahead, stats.pool.made, stats.pool.reused) == (2, 2, 3)


def test_warm_up_leaves_mailers_without_the_option_alone(server: MailServer, use_mail: Use) -> None:
    use_mail(host=server.host, port=server.port)
    assert warm_up(10) == 0
    assert server.connections == 0


def test_warm_up_leaves_other_backends_alone(use_mail: Use) -> None:
    use_mail(backend="django.core.mail.backends.locmem.EmailBackend")
    assert warm_up(10) == 0


def test_a_server_that_is_down_stops_no_worker(use_mail: Use) -> None:
    use_mail(host="127.0.0.1", port=1, min_idle=1)
    assert warm_up(10) == 0


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
def test_warm_up_is_for_all_mailers(server: MailServer, use_settings: Use) -> None:
    here = {"host": server.host, "port": server.port}
    backend = "django_integration.EmailBackend"
    use_settings(
        MAILERS={
            "default": {"BACKEND": backend, "OPTIONS": {**here, "min_idle": 1}},
            "bulk": {"BACKEND": backend, "OPTIONS": {**here, "min_idle": 2, "timeout": 5}},
            "other": {"BACKEND": backend, "OPTIONS": here},
            "tests": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"},
        }
    )
    assert warm_up(10) == 3


def test_the_sample_with_ready(server: MailServer, use_mail: Use) -> None:
    use_mail(host=server.host, port=server.port, min_idle=1)
    names: dict[str, Any] = {"__name__": "shop.apps"}
    exec(compile(sample("shop_apps.py"), str(PAGE), "exec"), names)  # noqa: S102
    shop = ModuleType("shop")
    shop.__path__ = [str(Path(__file__).parent)]
    names["ShopConfig"]("shop", shop).ready()
    assert apps.ready
    until(lambda: server.connections == 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("hook", ["post_fork", "post_worker_init"])
def test_the_sample_for_gunicorn(tmp_path: Path, server: MailServer, hook: str) -> None:
    if importlib.util.find_spec("gunicorn") is None:
        pytest.skip("gunicorn is not installed")
    code = sample("gunicorn_conf.py")
    command = [part for part in GUNICORN if part != "--preload"]
    if hook == "post_worker_init":
        code = code.replace("preload_app = True", "").replace(
            "post_fork(server, worker)", "post_worker_init(worker)"
        )
    # So that no request comes before the connection is ready.
    (tmp_path / "gunicorn_conf.py").write_text(code.replace("warm_up()", "warm_up(timeout=10)"))
    with running(tmp_path, server, *command, "--config=gunicorn_conf.py", min_idle=1) as base:
        # Each of the two workers has its connection before any request.
        until(lambda: server.connections == 2)
        workers = {get(f"{base}/sync/") for _ in range(12)}
        assert len(server.messages) == 12
    assert server.connections == 2
    pids = {received.message.get_content().strip() for received in server.messages}
    assert pids == workers
    by_connection = {
        (received.connection, received.message.get_content().strip())
        for received in server.messages
    }
    assert len(by_connection) == len(workers)


def test_the_sample_of_the_mailer_and_for_asyncio(server: MailServer) -> None:
    url = f"smtp://{server.host}:{server.port}"
    given = "smtp+starttls://shop:secret@smtp.example.com"
    names: dict[str, Any] = {}
    exec(compile(sample("anywhere.py").replace(given, url), str(PAGE), "exec"), names)  # noqa: S102
    until(lambda: server.connections == 2)
    names["mailer"].close()
    exec(compile(sample("asyncio_app.py").replace(given, url), str(PAGE), "exec"), names)  # noqa: S102

    async def main() -> None:
        await names["start"]()
        assert await names["mailer"].warm_up(10) == 2
        await names["mailer"].close()

    asyncio.run(main())
    assert server.connections == 4
    assert "mailbackends" in sys.modules
