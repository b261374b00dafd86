"""`Mail.asend`: sending from coroutines without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

import mailbackends
from flask_integration import Mail, Message, email_sent
from flask_integration.backends import MemoryBackend
from support.server import MailServer

from .conftest import MakeApp


def message() -> Message:
    return Message("Hello", ["ada@example.com"], body="Hi")


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
        assert may_send.wait(10), "the event loop was blocked"
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


def test_stalled_messages_do_not_block_the_executor_of_the_loop(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_send = threading.Event()
    monkeypatch.setattr(MemoryBackend, "send", lambda self, posting: may_send.wait(20))
    mail = Mail(make_app(MAIL_BACKEND="memory"))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        stalled = [asyncio.create_task(mail.asend(message())) for _ in range(6)]
        await asyncio.sleep(0)
        try:
            # A name lookup uses the default executor.
            await asyncio.wait_for(loop.getaddrinfo("127.0.0.1", 25), 5)
            assert not any(task.done() for task in stalled)
        finally:
            may_send.set()
            await asyncio.gather(*stalled)

    asyncio.run(main())


def test_a_burst_of_messages_uses_as_many_threads_as_the_pool_has_connections(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_POOL_SIZE=3))
    names: set[str] = set()

    def name_thread(app: Flask, **values: Any) -> None:
        names.add(threading.current_thread().name)

    async def main() -> list[mailbackends.Receipt]:
        return await asyncio.gather(*(mail.asend(message()) for _ in range(100)))

    with email_sent.connected_to(name_thread):
        receipts = asyncio.run(main())
    assert len(receipts) == len(mail_server.messages) == 100
    assert len(names) <= 3
    assert mail_server.connections <= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_worker_has_its_own_threads(make_app: MakeApp) -> None:
    mail = Mail(make_app(MAIL_BACKEND="dummy"))
    asyncio.run(mail.asend(message()))
    if (child := os.fork()) == 0:
        status = 1
        try:
            asyncio.run(asyncio.wait_for(mail.asend(message()), 10))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
