"""Closing mail, or changing its settings, while other threads send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_integration import Mail, Message, SmtpBackend
from mailbackends import Receipt
from support.server import MailServer

from .conftest import MakeApp


def message(subject: str = "Hello") -> Message:
    return Message(subject, ["ada@example.com"], body="Hi")


def wait_for_waiters(backend: Any, wanted: int) -> None:
    """Return once so many threads wait for a connection of the backend's pool."""
    deadline = time.monotonic() + 20
    while backend.mailer.stats().pool.waiters < wanted:
        assert time.monotonic() < deadline, "the threads do not wait"
        time.sleep(0.005)


def close(mail: Mail) -> None:
    mail.close()


def change_the_timeout(mail: Mail) -> None:
    assert mail.state is not None
    mail.state.timeout = 20


@pytest.mark.parametrize("interrupt", [close, change_the_timeout])
def test_threads_that_wait_for_a_connection_still_send(
    make_app: MakeApp,
    mail_server: MailServer,
    settings: dict[str, Any],
    interrupt: Callable[[Mail], None],
) -> None:
    mail = Mail(make_app(**settings, MAIL_POOL_SIZE=1))
    assert mail.state is not None
    with ThreadPoolExecutor(3) as threads:
        with mail.connect() as connection:
            old = mail.state.backend
            waiting = [threads.submit(mail.send, message()) for _ in range(3)]
            wait_for_waiters(old, 3)
            interrupt(mail)
            connection.send(message())
        receipts = [future.result(timeout=20) for future in waiting]
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    assert len(mail_server.messages) == 4
    assert isinstance(old, SmtpBackend)
    assert old.mailer.stats().pool.open == 0  # closed with the last of them
    assert mail.state.backend is not old


def test_a_batch_continues_over_the_connections_it_began_with(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    assert mail.state is not None
    outcomes = mail.stream(message(str(n)) for n in range(4))
    first = next(outcomes)
    old = mail.state.backend
    mail.close()
    mail.send(message("meanwhile"))
    assert all(isinstance(each, Receipt) for each in [first, *outcomes])
    assert [m.connection for m in mail_server.messages] == [0, 1, 0, 0, 0]
    assert isinstance(old, SmtpBackend)
    assert old.mailer.stats().pool.open == 0


def test_closing_again_and_again_while_threads_send_loses_no_message(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_POOL_SIZE=2))
    is_done = threading.Event()

    def keep_closing() -> None:
        while not is_done.wait(0.001):
            mail.close()

    with ThreadPoolExecutor(5) as threads:
        closing = threads.submit(keep_closing)
        sent = [threads.submit(mail.send, message(str(n))) for n in range(60)]
        receipts = [future.result(timeout=30) for future in sent]
        is_done.set()
        closing.result(timeout=30)
    assert len(receipts) == len(mail_server.messages) == 60
