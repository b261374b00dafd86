"""The blocks of docs/email.md run as they are, against a server on this machine."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.server import MailServer

ROOT = Path(__file__).parents[2]
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/email.md").read_text(), re.M | re.S)
_SERVER = "smtp+starttls://shop:secret@smtp.example.com:587"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A server, and the module and the files that the page has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "static").mkdir()
    (tmp_path / "static/logo.png").write_bytes(b"PNG")
    (tmp_path / "static/terms.pdf").write_bytes(b"%PDF")
    mails = types.ModuleType("mails")
    exec(_BLOCKS[0], vars(mails))  # noqa: S102
    monkeypatch.setitem(sys.modules, "mails", mails)
    with MailServer() as server:
        yield server


def run(marker: str, server: MailServer) -> dict[str, Any]:
    [code] = [block for block in _BLOCKS if marker in block]
    names: dict[str, Any] = {"__name__": "page"}
    code = code.replace(_SERVER, f"smtp://{server.host}:{server.port}")
    exec(compile(code, "docs/email.md", "exec"), names)  # noqa: S102
    return names


def check(server: MailServer, count: int = 1) -> None:
    assert len(server.messages) == count
    for received in server.messages:
        assert (received.mail_from, received.rcpt_tos) == ("shop@example.com", ("ada@example.com",))
        assert received.message["Subject"] == "Your order 4711"
        types = [part.get_content_type() for part in received.message.walk()]
        assert types == [
            *("multipart/mixed", "multipart/alternative", "text/plain", "multipart/related"),
            *("text/html", "image/png", "application/pdf", "application/pdf"),
        ]


def test_mistakes_are_errors_where_they_are_made(server: MailServer) -> None:
    run("pytest.raises", server)


def test_both_mailers_send_it(server: MailServer) -> None:
    asyncio.run(run("AsyncMailer", server)["send"]())
    check(server, 2)


def test_the_outbox_queues_it(server: MailServer) -> None:
    pytest.importorskip("sqlalchemy")
    from mailbackends import Mailer

    names = run("Outbox(", server)
    outbox = names["outbox"]
    with Mailer(f"smtp://{server.host}:{server.port}") as mailer:
        assert outbox.worker(mailer).run_once() == 1
    outbox.close()
    names["engine"].dispose()
    check(server)


def test_django_sends_it(server: MailServer) -> None:
    pytest.importorskip("django")
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="x")
    from django_integration.testing import mail_to

    with mail_to(server.host, server.port):
        run("as_django_message", server)
    [received] = server.messages
    assert received.message["Subject"] == "Your order 4711"
    assert "multipart/related" in [part.get_content_type() for part in received.message.walk()]


def test_flask_sends_it(server: MailServer) -> None:
    pytest.importorskip("flask")
    run("Flask(", server)
    check(server)


def test_it_is_shown_and_compared(server: MailServer) -> None:
    assert run("@preview", server)["sample"]().text.startswith("Dear Ada,")


def test_each_block_is_run() -> None:
    markers = ("pytest.raises", "AsyncMailer", "Outbox(", "as_django_message", "Flask(", "@preview")
    assert [sum(marker in block for block in _BLOCKS) for marker in markers] == [1] * 6
    assert len(_BLOCKS) == 7
