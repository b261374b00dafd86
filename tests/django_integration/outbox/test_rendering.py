"""Contents that a function of the application makes just before they are sent."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.db import OperationalError, connections

from django_integration.outbox import deliver, enqueue
from django_integration.outbox.models import Message
from django_integration.outbox.operations import read_content
from mailbackends import ConfigurationError, InvalidMessageError
from mailbackends.outbox import KeyReusedError
from support.server import MailServer

Use = Callable[..., None]

pytestmark = pytest.mark.usefixtures("database")


def order(message: EmailMultiAlternatives, number: int, name: str = "Ada") -> None:
    """A function of an application."""
    message.body = f"Thank you, {name}, for the order {number}."
    message.attach_alternative(
        f"<p>Thank you, {name}, for the <b>order {number}</b>.</p>", "text/html"
    )
    message.attach("invoice.txt", f"Order {number}", "text/plain")


def another(message: EmailMultiAlternatives) -> EmailMessage:
    return EmailMessage("Another subject", "Another body", "eve@example.com", ["eve@example.com"])


def broken(message: EmailMultiAlternatives, number: int) -> None:
    raise LookupError(f"the order {number} was deleted")


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch, use_settings: Use, server: MailServer) -> ModuleType:
    module = ModuleType("shop_mails")
    module.order, module.another, module.broken = order, another, broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_mails", module)
    use_settings(
        EMAIL_BACKEND="django_integration.outbox.EmailBackend",
        MAILBACKENDS={},
        EMAIL_HOST=server.host,
        EMAIL_PORT=server.port,
    )
    return module


def message(**given: Any) -> EmailMultiAlternatives:
    return EmailMultiAlternatives(
        "Your order", to=["Ada <ada@example.com>"], bcc=["bob@example.com"], **given
    )


def test_the_content_is_made_when_the_message_is_sent(server: MailServer) -> None:
    queued = enqueue(
        message(headers={"X-Shop": "1"}), render="shop_mails.order", context={"number": 4711}
    )
    stored = bytes(Message.objects.get(id=queued.id).content)
    assert b"Thank you" not in stored
    assert deliver() == 1
    received = server.message
    sent = received.message
    assert sorted(received.rcpt_tos) == ["ada@example.com", "bob@example.com"]
    assert sent["Message-ID"] == queued.message_id
    assert sent["Date"] in stored.decode()
    assert sent["To"] == "Ada <ada@example.com>"
    assert sent["X-Shop"] == "1"
    assert sent["Bcc"] is None
    assert len(sent.get_all("Date")) == len(sent.get_all("Message-ID")) == 1
    assert "order 4711" in sent.get_body(("plain",)).get_content()
    assert "<b>order 4711</b>" in sent.get_body(("html",)).get_content()
    assert [each.get_filename() for each in sent.iter_attachments()] == ["invoice.txt"]
    assert Message.objects.get(id=queued.id).state == "accepted"


def test_a_second_attempt_has_the_same_message_id_and_new_content(
    server: MailServer, shop: ModuleType
) -> None:
    names = iter(["Ada", "Countess"])

    def changing(message: EmailMultiAlternatives) -> None:
        message.body = f"Dear {next(names)}"

    shop.changing = changing  # type: ignore[attr-defined]
    server.refuse_content("451 4.3.0 Later", times=1)
    queued = enqueue(message(), render="shop_mails.changing")
    deliver()
    assert server.messages == []
    Message.objects.update(due_at="2020-01-01T00:00:00Z")
    deliver()
    assert server.message.message.get_content().strip() == "Dear Countess"
    assert server.message.message["Message-ID"] == queued.message_id


def test_another_message_may_be_returned_and_goes_to_the_same_recipients(
    server: MailServer,
) -> None:
    queued = enqueue(message(), render="shop_mails.another")
    deliver()
    assert sorted(server.message.rcpt_tos) == ["ada@example.com", "bob@example.com"]
    assert server.message.message["Subject"] == "Another subject"
    assert server.message.message["Message-ID"] == queued.message_id


def test_what_cannot_be_rendered_is_parked_with_the_reason_and_stops_nothing(
    server: MailServer,
) -> None:
    first = enqueue(message(), render="shop_mails.broken", context={"number": 1})
    second = enqueue(message(), render="shop_mails.order", context={"number": 2})
    deliver()
    row = Message.objects.get(id=first.id)
    assert row.state == "parked"
    assert "LookupError: the order 1 was deleted" in row.reason
    assert Message.objects.get(id=second.id).state == "accepted"
    assert len(server.messages) == 1


def test_a_database_that_was_restarted_is_asked_again(
    server: MailServer, shop: ModuleType, database: str
) -> None:
    if database != "postgresql":
        pytest.skip("SQLite has no server")
    connections.settings["shop"] = connections.settings["default"]
    calls = []

    def asking(message: EmailMultiAlternatives) -> None:
        calls.append(message)
        with connections["shop"].cursor() as cursor:
            if len(calls) == 1:
                with suppress(OperationalError):
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            cursor.execute("SELECT 'Thank you'")
            message.body = cursor.fetchone()[0]

    shop.asking = asking  # type: ignore[attr-defined]
    queued = enqueue(message(), render="shop_mails.asking")
    try:
        deliver()
        row = Message.objects.get(id=queued.id)
        assert (row.state, row.attempts) == ("queued", 1)
        assert "shop_mails.asking failed" in row.reason
        Message.objects.update(due_at="2020-01-01T00:00:00Z")
        deliver()
    finally:
        connections["shop"].close()
        del connections["shop"]
        del connections.settings["shop"]
    assert Message.objects.get(id=queued.id).state == "accepted"
    assert server.message.message.get_content().strip() == "Thank you"


def test_people_read_what_would_be_sent_now() -> None:
    queued = enqueue(message(), render="shop_mails.order", context={"number": 4711})
    assert b"order 4711" in read_content(queued.id, by="grace")


def test_the_samples_in_docs_outbox_md(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs" / "outbox.md").read_text("utf-8")
    samples = re.findall(r"^```python\n# shop/(\w+).py\n(.*?)^```", text, re.M | re.S)
    package = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", package)
    for name, code in samples:
        module = ModuleType(f"shop.{name}")
        exec(compile(code, name, "exec"), vars(module))  # noqa: S102 - the page's own samples
        setattr(package, name, module)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    mails: Any = package.mails
    mails.render_to_string = lambda name, context: f"{name} {context['order_id']}"
    orders: Any = package.orders
    orders.remind(SimpleNamespace(pk=4711, email="ada@example.com"))
    deliver()
    sent = server.message.message
    assert sent.get_body(("plain",)).get_content().strip() == "reminder.txt 4711"
    assert sent.get_body(("html",)).get_content().strip() == "reminder.html 4711"


@pytest.mark.parametrize(
    ("given", "options", "error", "text"),
    [
        ({}, {"render": "shop_mails.missing"}, ConfigurationError, "cannot be imported"),
        ({}, {"render": "shop_mails.order", "context": {"order": object()}},
         ConfigurationError, "cannot be stored as JSON"),
        ({}, {"context": {"number": 1}}, ConfigurationError, "without render"),
        ({"body": "x"}, {"render": "shop_mails.order"}, InvalidMessageError, "has a body"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_later_is_refused_at_once(
    given: dict[str, Any], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        enqueue(message(**given), **options)
    assert Message.objects.count() == 0


def test_a_key_belongs_to_one_context() -> None:
    options = {"render": "shop_mails.order", "key": "order-1"}
    first = enqueue(message(), context={"number": 1}, **options)
    assert enqueue(message(), context={"number": 1}, **options).id == first.id
    with pytest.raises(KeyReusedError):
        enqueue(message(), context={"number": 2}, **options)


def test_a_content_that_looks_like_a_template_is_sent_as_it_is(server: MailServer) -> None:
    made = message()
    made.body = '{"number": 1}'
    made.extra_headers["X-MAILBACKENDS-RENDER"] = "shop_mails.broken"
    enqueue(made)
    deliver()
    assert server.message.message.get_content().strip() == '{"number": 1}'
