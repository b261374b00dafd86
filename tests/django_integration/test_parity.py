"""The rows of docs/parity.md, in Django."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_integration import (
    SendCancelled,
    as_django_message,
    asend,
    post_send,
    pre_send,
    send_failed,
    warm_up,
)
from mailbackends import Email, SMTPException, feedback_id
from support.server import MailServer

Use = Callable[..., None]

HTML = "<style>p { color: red }</style><p>Hello <a href='https://example.com/'>you</a></p>"


@pytest.fixture
def use(server: MailServer, use_mail: Use) -> Use:
    """Call it with options beside the server."""
    return lambda **options: use_mail(host=server.host, port=server.port, **options)


def message(*to: str, **more: Any) -> EmailMessage:
    return EmailMessage("s", "b", to=list(to or ("a@example.com",)), **more)


def with_html(text: str = "") -> EmailMultiAlternatives:
    made = EmailMultiAlternatives("s", text, to=["a@example.com"])
    made.attach_alternative(HTML, "text/html")
    return made


def part(server: MailServer, kind: str) -> str:
    body = server.message.message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_receipt(use: Use, server: MailServer) -> None:
    use()
    server.refuse("b@example.com")
    sent = message("a@example.com", "b@example.com")
    assert sent.send() == 1
    receipt = sent.receipt  # type: ignore[attr-defined]
    assert receipt.accepted == ("a@example.com",)
    assert list(receipt.refused) == ["b@example.com"]


def test_redirect(use: Use, server: MailServer) -> None:
    use(redirect_all_to=["tester@example.com"])
    message("a@example.com", cc=["c@example.com"], bcc=["hidden@example.com"]).send()
    assert server.message.rcpt_tos == ("tester@example.com",)
    assert server.message.message["X-Original-Recipients"] == "a@example.com, c@example.com"
    assert b"hidden" not in server.message.content


def test_allow_list(use: Use, server: MailServer) -> None:
    use(allowed_recipients=["a@example.com", "@shop.example"])
    message("a@example.com", "b@shop.example", "c@example.com").send()
    assert server.message.rcpt_tos == ("a@example.com", "b@shop.example")


def test_nobody_left(use: Use, server: MailServer) -> None:
    use(allowed_recipients=["@shop.example"])
    assert message().send() == 0
    assert server.connections == 0


def test_veto(use: Use, server: MailServer) -> None:
    use()

    def stop(message: EmailMessage, **kwargs: Any) -> None:
        raise SendCancelled("drafts are not sent")

    pre_send.connect(stop)
    try:
        stopped = message()
        assert stopped.send() == 0
        assert str(stopped.send_error) == "drafts are not sent"  # type: ignore[attr-defined]
    finally:
        pre_send.disconnect(stop)
    assert server.connections == 0


def test_change(use: Use, server: MailServer) -> None:
    use()

    def change(message: EmailMessage, **kwargs: Any) -> None:
        message.to = ["b@example.com"]

    pre_send.connect(change)
    try:
        message().send()
    finally:
        pre_send.disconnect(change)
    assert server.message.rcpt_tos == ("b@example.com",)


def test_sent(use: Use) -> None:
    use()
    seen: list[Any] = []

    def note(receipt: Any, **kwargs: Any) -> None:
        seen.append(receipt.accepted)

    post_send.connect(note)
    try:
        message().send()
    finally:
        post_send.disconnect(note)
    assert seen == [("a@example.com",)]


def test_failed(use: Use, server: MailServer) -> None:
    use()
    server.refuse("a@example.com")
    seen: list[Any] = []

    def note(error: Any, **kwargs: Any) -> None:
        seen.append(error.outcome)

    send_failed.connect(note)
    try:
        with pytest.raises(SMTPException):
            message().send()
    finally:
        send_failed.disconnect(note)
    assert seen == ["refused"]


def test_inline_css(use: Use, server: MailServer) -> None:
    pytest.importorskip("css_inline")
    use(inline_css=True)
    given = with_html("Hello")
    assert given.send() == 1
    assert '<p style="color: red;">Hello' in part(server, "html")
    assert part(server, "plain").strip() == "Hello"
    # The message itself did not change.
    assert given.alternatives[0][0] == HTML
    html_only = message()
    html_only.content_subtype, html_only.body = "html", HTML
    html_only.send()
    assert b"color: red;" in server.messages[1].content


def test_text_from_html(use: Use, server: MailServer) -> None:
    pytest.importorskip("inscriptis")
    use(text_from_html=True)
    assert with_html().send() == 1
    assert "Hello [you](https://example.com/)" in part(server, "plain")
    html_only = message()
    html_only.content_subtype, html_only.body = "html", HTML
    assert html_only.send() == 1
    assert html_only.receipt.accepted == ("a@example.com",)  # type: ignore[attr-defined]
    found = server.messages[1].message
    assert found.get_content_type() == "multipart/alternative"
    assert "Hello [you]" in found.get_body(("plain",)).get_content()


def test_auto_submitted(use: Use, server: MailServer) -> None:
    use(auto_submitted="auto-generated")
    message().send()
    assert server.message.message["Auto-Submitted"] == "auto-generated"
    assert server.message.message["X-Auto-Response-Suppress"] == "All"


def test_feedback_id(use: Use, server: MailServer) -> None:
    use()
    message(headers={"Feedback-ID": feedback_id("shop-news", "spring")}).send()
    assert server.message.message["Feedback-ID"] == "spring:shop-news"


def test_dkim(use: Use, server: MailServer) -> None:
    pytest.importorskip("cryptography")
    from mailbackends.dkim.keys import generate

    use(dkim={"domain": "example.com", "selector": "s1", "key": generate().reveal()})
    message(from_email="shop@example.com").send()
    assert "d=example.com" in server.message.message["DKIM-Signature"]


def test_unsubscribe(use: Use, server: MailServer, use_settings: Use) -> None:
    use()
    use_settings(
        ROOT_URLCONF="django_integration.unsubscribe.urls",
        MAILBACKENDS_UNSUBSCRIBE_URL="https://shop.example/",
    )
    sent = message()
    sent.unsubscribe = "news"  # type: ignore[attr-defined]
    sent.send()
    fields = server.message.message
    assert fields["List-Unsubscribe"].strip().startswith("<https://shop.example/")
    assert fields["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_several_servers(server: MailServer, use_mail: Use) -> None:
    with MailServer() as other:
        urls = [f"smtp://{each.host}:{each.port}" for each in (other, server)]
        use_mail(url=urls)
        other.answer("MAIL", "451 4.3.0 later", times=None)
        assert message().send() == 1
    assert len(server.messages) == 1


def test_upkeep(use: Use, server: MailServer) -> None:
    use(min_idle=2)
    assert warm_up(10) == 2
    message().send()
    assert server.connections == 2


def test_one_message(use: Use, server: MailServer) -> None:
    use()
    made = Email(subject="s", sender="shop@example.com", to=["a@example.com"], text="b")
    as_django_message(made).send()
    assert server.message.rcpt_tos == ("a@example.com",)


def test_in_a_loop(use: Use, server: MailServer) -> None:
    use()
    asyncio.run(asend(message()))
    assert len(server.messages) == 1
