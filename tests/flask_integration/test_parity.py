"""The rows of docs/parity.md, in Flask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from flask_integration import (
    Mail,
    Message,
    SendCancelled,
    email_failed,
    email_sending,
    email_sent,
)
from mailbackends import Email, SMTPException, Submission, feedback_id
from support.server import MailServer

from .conftest import MakeApp, settings_for

Use = Callable[..., Mail]

HTML = "<style>p { color: red }</style><p>Hello <a href='https://example.com/'>you</a></p>"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def use(server: MailServer, make_app: MakeApp) -> Use:
    """Call it with settings beside the server."""
    return lambda **config: Mail(make_app(**{**settings_for(server), **config}))


def message(*to: str, **more: Any) -> Message:
    given = {"subject": "s", "body": "b", "recipients": list(to or ("a@example.com",))}
    return Message(**{**given, **more})


def part(server: MailServer, kind: str) -> str:
    body = server.message.message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_receipt(use: Use, server: MailServer) -> None:
    server.refuse("b@example.com")
    receipt = use().send(message("a@example.com", "b@example.com"))
    assert receipt.accepted == ("a@example.com",)
    assert list(receipt.refused) == ["b@example.com"]


def test_redirect(use: Use, server: MailServer) -> None:
    mail = use(MAIL_REDIRECT_ALL_TO=["Tester <tester@example.com>"])
    mail.send(message("a@example.com", cc=["c@example.com"], bcc=["hidden@example.com"]))
    assert server.message.rcpt_tos == ("tester@example.com",)
    assert server.message.message["X-Original-Recipients"] == "a@example.com, c@example.com"
    assert b"hidden" not in server.message.content


def test_allow_list(use: Use, server: MailServer) -> None:
    mail = use(MAIL_ALLOWED_RECIPIENTS="a@example.com, @shop.example")
    mail.send(message("a@example.com", "b@shop.example", "c@example.com"))
    assert server.message.rcpt_tos == ("a@example.com", "b@shop.example")


def test_nobody_left(use: Use, server: MailServer) -> None:
    mail = use(MAIL_ALLOWED_RECIPIENTS=["@shop.example"])
    seen: list[Any] = []

    def note(app: Flask, **kwargs: Any) -> None:
        seen.append(kwargs)

    with email_sent.connected_to(note), email_failed.connected_to(note):
        assert mail.send(message()).accepted == ()
        first, second = mail.send_many([message(), message("b@shop.example")])
    assert first.accepted == ()  # type: ignore[union-attr]
    assert second.accepted == ("b@shop.example",)  # type: ignore[union-attr]
    assert len(seen) == len(server.messages) == 1


def test_veto(use: Use, server: MailServer) -> None:
    mail = use()
    failed: list[Any] = []

    def stop(app: Flask, message: Message) -> None:
        if message.subject == "[draft]":
            raise SendCancelled("drafts are not sent")

    def note(app: Flask, **kwargs: Any) -> None:
        failed.append(kwargs)

    async def awaited() -> None:
        assert mail.app is not None
        with mail.app.app_context(), pytest.raises(SendCancelled):
            await mail.asend(message(subject="[draft]"))

    with email_sending.connected_to(stop), email_failed.connected_to(note):
        with pytest.raises(SendCancelled, match="drafts are not sent"):
            mail.send(message(subject="[draft]"))
        outcomes = mail.send_many([message(), message(subject="[draft]"), message()])
        asyncio.run(awaited())
    assert [type(each).__name__ for each in outcomes] == ["Receipt", "SendCancelled", "Receipt"]
    assert failed == []
    assert len(server.messages) == 2


def test_change(use: Use, server: MailServer) -> None:
    def change(app: Flask, message: Message) -> None:
        message.recipients = ["b@example.com"]

    mail = use()
    with email_sending.connected_to(change):
        mail.send(message())
    assert server.message.rcpt_tos == ("b@example.com",)


def test_sent(use: Use) -> None:
    seen: list[Any] = []

    def note(app: Flask, message: Message, receipt: Any) -> None:
        seen.append(receipt.accepted)

    mail = use()
    with email_sent.connected_to(note):
        mail.send(message())
    assert seen == [("a@example.com",)]


def test_failed(use: Use, server: MailServer) -> None:
    server.refuse("a@example.com")
    seen: list[Any] = []

    def note(app: Flask, message: Message, error: Any) -> None:
        seen.append(error.outcome)

    mail = use()
    with email_failed.connected_to(note), pytest.raises(SMTPException):
        mail.send(message())
    assert seen == ["refused"]


def test_inline_css(use: Use, server: MailServer) -> None:
    pytest.importorskip("css_inline")
    use(MAIL_INLINE_CSS=True).send(message(body="Hello", html=HTML))
    assert '<p style="color: red;">Hello' in part(server, "html")
    assert part(server, "plain").strip() == "Hello"


def test_text_from_html(use: Use, server: MailServer) -> None:
    pytest.importorskip("inscriptis")
    use(MAIL_TEXT_FROM_HTML=True).send(message(body=None, html=HTML))
    assert "Hello [you](https://example.com/)" in part(server, "plain")


def test_auto_submitted(use: Use, server: MailServer) -> None:
    use(MAIL_AUTO_SUBMITTED="auto-generated").send(message())
    assert server.message.message["Auto-Submitted"] == "auto-generated"
    assert server.message.message["X-Auto-Response-Suppress"] == "All"


def test_feedback_id(use: Use, server: MailServer) -> None:
    use().send(message(extra_headers={"Feedback-ID": feedback_id("shop-news", "spring")}))
    assert server.message.message["Feedback-ID"] == "spring:shop-news"


def test_dkim(use: Use, server: MailServer) -> None:
    pytest.importorskip("cryptography")
    from mailbackends.dkim.keys import generate

    key = generate().reveal()
    mail = use(MAIL_DKIM={"domain": "example.com", "selector": "s1", "key": key})
    mail.send(message(sender="shop@example.com"))
    assert "d=example.com" in server.message.message["DKIM-Signature"]


def test_unsubscribe(use: Use, server: MailServer) -> None:
    mail = use(SECRET_KEY="x" * 20, MAIL_UNSUBSCRIBE_URL="https://shop.example/unsubscribe/")
    mail.send(message(unsubscribe="news"))
    fields = server.message.message
    assert fields["List-Unsubscribe"].strip().startswith("<https://shop.example/")
    assert fields["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_several_servers(server: MailServer, make_app: MakeApp) -> None:
    with MailServer() as other:
        urls = [f"smtp://{each.host}:{each.port}" for each in (other, server)]
        other.answer("MAIL", "451 4.3.0 later", times=None)
        assert Mail(make_app(MAIL_URL=urls)).send(message()).accepted == ("a@example.com",)
    assert len(server.messages) == 1


def test_upkeep(use: Use, server: MailServer) -> None:
    mail = use(MAIL_MIN_IDLE=2)
    assert mail.warm_up(10) == 2
    mail.send(message())
    assert server.connections == 2


def test_one_message(use: Use, server: MailServer) -> None:
    made = Email(subject="s", sender="shop@example.com", to=["a@example.com"], text="b")
    use().send(made)
    assert server.message.rcpt_tos == ("a@example.com",)


def test_in_a_loop(use: Use, server: MailServer) -> None:
    mail = use()

    async def send() -> None:
        assert mail.app is not None
        with mail.app.app_context():
            await mail.asend(message())

    asyncio.run(send())
    assert len(server.messages) == 1


# Further kinds of messages on a staging system: nothing of them is changed but their recipients.


@pytest.mark.parametrize("nobody", [[], (), set()], ids=repr)
def test_without_any_allowed_recipient_nobody_gets_mail(
    use: Use, server: MailServer, nobody: Any
) -> None:
    assert use(MAIL_ALLOWED_RECIPIENTS=nobody).send(message()).accepted == ()
    assert server.messages == []


def test_messages_of_other_classes_are_redirected_too(use: Use, server: MailServer) -> None:
    mail = use(MAIL_REDIRECT_ALL_TO="tester@example.com")
    made = Email(subject="s", sender="shop@example.com", to=["a@example.com"], text="b")
    standard = made.as_email_message()
    before = standard.as_bytes()
    content = b"From: shop@example.com\r\nTo: a@example.com\r\n\r\nb\r\n"
    finished = Submission(content, "shop@example.com", ["a@example.com", "hidden@example.com"])
    for each in (made, standard, finished):
        mail.send(each)
    assert standard.as_bytes() == before
    for received in server.messages:
        assert received.rcpt_tos == ("tester@example.com",)
        assert received.message["X-Original-Recipients"] == "a@example.com"
    assert server.messages[2].content.endswith(content)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"MAIL_REDIRECT_ALL_TO": 7}, "MAIL_REDIRECT_ALL_TO must be a list of addresses, got 7"),
        ({"MAIL_ALLOWED_RECIPIENTS": False}, "must be a list of addresses, got False"),
        ({"MAIL_ALLOWED_RECIPIENTS": ["shop"]}, "MAIL_ALLOWED_RECIPIENTS contains 'shop'"),
        ({"MAIL_REDIRECT_ALL_TO": "a\n@example.com"}, "line break"),
    ],
)
def test_settings_that_are_not_addresses_are_refused(
    use: Use, config: dict[str, Any], words: str
) -> None:
    from mailbackends import ConfigurationError

    with pytest.raises((ConfigurationError, ValueError)) as caught:
        use(**config)
    assert words in str(caught.value)


def test_a_receiver_that_is_a_coroutine_function_fails_the_message(use: Use) -> None:
    async def receiver(app: Flask, message: Message) -> None:
        pass

    mail = use()
    with email_sending.connected_to(receiver), pytest.raises(TypeError, match="coroutine"):
        mail.send(message())
