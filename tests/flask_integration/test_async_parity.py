"""The same messages through `send` and `asend`, `send_many` and `asend_many`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from flask_integration import Mail, Message, SmtpBackend, email_dispatched, email_failed, email_sent
from mailbackends import Mailer, Outcome, Receipt
from support.ports import free_port
from support.server import MailServer
from support.sink import Sink

from .conftest import MakeApp

Seen = list[tuple[str, str, str]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """The signals that were sent: name, subject, and the class of the receipt or error."""
    found: Seen = []

    def receiver(name: str) -> Callable[..., None]:
        def receive(app: Flask, message: Message, **more: Any) -> None:
            result = more.get("receipt", more.get("error"))
            found.append((name, message.subject, type(result).__name__))

        return receive

    with ExitStack() as stack:
        for signal in (email_dispatched, email_sent, email_failed):
            stack.enter_context(signal.connected_to(receiver(str(signal.name))))
        yield found


def described(outcome: Receipt | Exception) -> Any:
    if isinstance(outcome, Receipt):
        return outcome.accepted, {to: reply.code for to, reply in outcome.refused.items()}
    return type(outcome), getattr(outcome, "outcome", None)


SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pipelined": {"MAIL_BATCH_PIPELINE": 4},
    "side by side": {"MAIL_BATCH_CONNECTIONS": 2},
    "suppressed": {"MAIL_SUPPRESS_SEND": True},
    "no server": {"MAIL_PORT": None},
    "another backend": {"MAIL_BACKEND": "memory"},
}


def messages() -> list[Message]:
    large = Message("large", ["a@example.com"], body="b")
    large.attach("a.bin", "application/octet-stream", b"x" * 200_000)
    return [
        Message("accepted", ["a@example.com"], body="b"),
        Message("refused", ["gone@example.com"], body="b"),
        Message("partly", ["a@example.com", "gone@example.com"], body="b"),
        Message("nobody", [], body="b"),
        Message("line break\nBcc: x@example.com", ["a@example.com"], body="b"),
        large,
    ]


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_ways_of_sending_give_the_same_outcomes_and_signals(
    name: str, make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any], seen: Seen
) -> None:
    config = {**settings, **SCENARIOS[name]}
    config["MAIL_PORT"] = config["MAIL_PORT"] or free_port()
    mail = Mail(make_app(**config))
    mail_server.refuse("gone@example.com")

    def one_by_one() -> list[Receipt | Exception]:
        found: list[Receipt | Exception] = []
        for each in messages():
            try:
                found.append(mail.send(each))
            except Exception as error:
                found.append(error)
        return found

    async def awaited() -> list[Receipt | Exception]:
        return await asyncio.gather(*map(mail.asend, messages()), return_exceptions=True)  # type: ignore[return-value]

    runs = []
    for send in (
        one_by_one,
        lambda: asyncio.run(awaited()),
        lambda: mail.send_many(messages()),
        lambda: asyncio.run(mail.asend_many(messages())),
    ):
        outcomes = [described(outcome) for outcome in send()]
        received = sorted(each.rcpt_tos for each in mail_server.messages)
        runs.append((outcomes, sorted(seen), received))
        seen.clear()
        mail_server.messages.clear()
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert len(runs[0][0]) == 6


def test_a_burst_in_one_loop_is_sent_by_no_thread(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_POOL_SIZE=3))

    async def main() -> set[threading.Thread]:
        before = set(threading.enumerate())
        await asyncio.gather(
            *(mail.asend(Message("s", ["a@example.com"], body="b")) for _ in range(50))
        )
        return set(threading.enumerate()) - before

    assert asyncio.run(main()) == set()
    assert len(mail_server.messages) == 50
    assert mail_server.connections <= 3
    mail_server.wait(lambda: mail_server.open_connections == 0)


def test_a_changed_server_gets_the_next_message_of_the_same_loop(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    app = make_app(**settings)
    mail = Mail(app)

    async def main(other: MailServer) -> None:
        await mail.asend(Message("first", ["a@example.com"], body="b"))
        app.extensions["mail"].port = other.port
        await mail.asend(Message("second", ["a@example.com"], body="b"))

    with MailServer() as other:
        asyncio.run(main(other))
        assert [len(mail_server.messages), len(other.messages)] == [1, 1]
    mail_server.wait(lambda: mail_server.open_connections == 0)


class Tagging(SmtpBackend):
    """A backend of an application that knows of the blocking method only."""

    def send(self, posting: Any) -> Receipt:
        assert threading.current_thread().name.startswith("flask-mail")
        return super().send(posting)


def test_a_backend_that_extends_send_is_used_in_a_thread(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings, MAIL_BACKEND=Tagging))
    asyncio.run(mail.asend(Message("s", ["a@example.com"], body="b")))
    assert len(mail_server.messages) == 1


def test_a_subclass_with_another_mailer_sends_there_in_a_loop_too(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    with MailServer() as other:

        class Elsewhere(SmtpBackend):
            def __init__(self, state: Any) -> None:
                self.mailer = Mailer(f"smtp://{other.host}:{other.port}")

        mail = Mail(make_app(**settings, MAIL_BACKEND=Elsewhere))
        asyncio.run(mail.asend(Message("s", ["a@example.com"], body="b")))
        assert [len(mail_server.messages), len(other.messages)] == [0, 1]


def test_the_outcome_of_a_message_whose_caller_left_is_published_when_it_is_known(
    make_app: MakeApp, settings: dict[str, Any], seen: Seen
) -> None:
    def message() -> Message:
        return Message("s", ["a@example.com"], body="b")

    async def main(sink: Sink) -> None:
        mail = Mail(make_app(**{**settings, "MAIL_PORT": sink.port}))
        await mail.asend(message())
        seen.clear()
        for sending in (mail.asend(message()), mail.asend_many([message(), message()])):
            task = asyncio.create_task(sending)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.outcome is Outcome.UNKNOWN  # type: ignore[attr-defined]
            assert seen == []
            await caught.value.results[0]  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            assert [(name, kind) for name, _, kind in seen] == [
                ("email-dispatched", "NoneType"),
                ("email-sent", "Receipt"),
            ]
            seen.clear()
        threads, loop = mail.state.backend.stats()
        assert (threads.pool.open, loop.pool.open) == (0, 1)

    with Sink(quiet=0.5) as sink:
        asyncio.run(main(sink))
    assert len(sink.messages) == 3
