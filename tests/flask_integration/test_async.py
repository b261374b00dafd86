"""`Mail.asend`: sending from coroutines without blocking the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from flask import Flask

import mailbackends
from flask_integration import Mail, Message
from flask_integration.backends import MemoryBackend
from support.server import MailServer

from .conftest import MakeApp


def test_a_coroutine_sends_in_the_current_application(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail()
    app = make_app(**settings)
    mail.init_app(app)

    async def send() -> list[mailbackends.Receipt]:
        messages = [Message(f"Hello {n}", ["ada@example.com"], body="Hi") for n in range(3)]
        return await asyncio.gather(*map(mail.asend, messages))

    with app.app_context():
        receipts = asyncio.run(send())
    assert len(receipts) == len(mail_server.messages) == 3


def test_the_event_loop_continues_while_a_message_is_sent(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_send = threading.Event()
    original = MemoryBackend.send

    def send(self: MemoryBackend, posting: Any) -> Any:
        assert may_send.wait(10), "the loop stood still"
        return original(self, posting)

    monkeypatch.setattr(MemoryBackend, "send", send)
    mail = Mail(make_app(MAIL_BACKEND="memory"))

    async def main() -> None:
        task = asyncio.create_task(mail.asend(Message("Hello", ["ada@example.com"], body="Hi")))
        await asyncio.sleep(0.01)
        assert not task.done()
        may_send.set()
        await task

    asyncio.run(main())
    assert len(mail.outbox) == 1


def test_asend_raises_what_send_raises(app: Flask) -> None:
    with pytest.raises(mailbackends.InvalidMessageError):
        asyncio.run(Mail(app).asend(Message("Hello", [], body="Hi")))


def test_an_async_view_sends(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    pytest.importorskip("asgiref", reason="Flask's async views need asgiref")
    mail = Mail()
    mail.init_app(app := make_app(**settings))

    @app.get("/")
    async def view() -> str:
        return str((await mail.asend(Message("Hello", ["ada@example.com"], body="Hi"))).reply)

    client = app.test_client()
    assert all(client.get("/").text.startswith("250") for _ in range(3))
    assert mail_server.connections == 1
