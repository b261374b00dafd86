"""Contents that a function makes just before they are sent, in plain Python and Flask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from email.message import EmailMessage
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from mailbackends import InvalidAddressError, Mailer, Submission
from mailbackends.outbox import KeyReusedError, State
from mailbackends.outbox.outbox import Outbox
from support.sink import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("plain_mails")
    monkeypatch.setitem(sys.modules, "plain_mails", module)
    return module


def header() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "shop@example.com", "ada@example.org"
    made["Subject"] = "Your order"
    return made


@pytest.mark.parametrize("pipeline", [1, 5])
def test_a_worker_renders_each_message_before_it_sends_it(
    url: str, sink: Sink, mails: Any, pipeline: int
) -> None:
    def order(message: EmailMessage, number: int) -> None:
        if number == 2:
            raise LookupError("deleted")
        message.set_content(f"Thank you for {number}, Zoë.")

    mails.order = order
    box = Outbox(url)
    box.create_tables()
    queued = [
        box.enqueue(header(), render="plain_mails.order", context={"number": n}) for n in (1, 2, 3)
    ]
    plain = header()
    plain.set_content("As it is.")
    box.enqueue(plain)
    with Mailer(f"smtp://127.0.0.1:{sink.port}", batch_pipeline=pipeline) as mailer:
        assert box.worker(mailer).run_once() == 4
    states = [box.store.get(each.id).state for each in queued]  # type: ignore[union-attr]
    assert states == [State.ACCEPTED, State.PARKED, State.ACCEPTED]
    sink.wait(lambda: len(sink.messages) == 3)
    texts = sorted(each.message.get_content().strip() for each in sink.messages)
    assert texts == ["As it is.", "Thank you for 1, Zoë.", "Thank you for 3, Zoë."]
    ids = {each.message["Message-ID"] for each in sink.messages}
    assert {queued[0].message_id, queued[2].message_id} < ids
    assert "deleted" in box.store.log(queued[1].id)[-1].text
    box.close()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OperationalError("SELECT 1", {}, Exception("the server is shut down")), "queued"),
        (ConnectionRefusedError("the database is down"), "queued"),
        (TimeoutError(), "queued"),
        (FileNotFoundError("mails/order.txt"), "parked"),
        (InvalidAddressError("it has no From"), "parked"),
        (LookupError("deleted"), "parked"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else each,
)
def test_a_function_that_cannot_reach_the_database_is_called_again_later(
    tmp_path: Any, sink: Sink, mails: Any, error: Exception, state: str
) -> None:
    failing = [error]

    def order(message: EmailMessage) -> None:
        if failing:
            raise failing.pop()
        message.set_content("Thank you.")

    mails.order = order
    box = Outbox(f"sqlite:///{tmp_path / 'outbox.sqlite3'}")
    box.create_tables()
    queued = box.enqueue(header(), render="plain_mails.order")
    with Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        box.worker(mailer).run_once()
        found = box.store.get(queued.id)
        assert found is not None
        assert (found.state, found.pending) == (state, ("ada@example.org",))
        assert (
            f"plain_mails.order failed: {type(error).__name__}" in box.store.log(queued.id)[-1].text
        )
        if state == "queued":
            with box.store.engine.begin() as connection:
                connection.execute(text("UPDATE outbox_message SET due_at = 0"))
            box.worker(mailer).run_once()
            assert sink.message.message.get_content().strip() == "Thank you."
    box.close()


def test_who_gets_no_newsletter_gets_none_that_is_rendered(
    tmp_path: Any, sink: Sink, mails: Any
) -> None:
    mails.news = lambda message: message.set_content("News")
    box = Outbox(f"sqlite:///{tmp_path / 'outbox.sqlite3'}")
    box.create_tables()
    made = box.enqueue(Submission(header(), stream="newsletter"), render="plain_mails.news")
    found = box.store.get(made.id)
    assert found is not None
    assert found.stream == "newsletter"
    box.close()


def test_the_same_key_for_another_function_is_an_error(tmp_path: Any, mails: Any) -> None:
    mails.order = mails.cancellation = lambda message: None
    box = Outbox(f"sqlite:///{tmp_path / 'outbox.sqlite3'}")
    box.create_tables()
    box.enqueue(header(), render="plain_mails.order", key="order-1")
    assert not box.enqueue(header(), render="plain_mails.order", key="order-1").is_new
    with pytest.raises(KeyReusedError):
        box.enqueue(header(), render="plain_mails.cancellation", key="order-1")
    box.close()


def test_in_flask_the_function_may_render_templates(sink: Sink, mails: Any, tmp_path: Any) -> None:
    flask = pytest.importorskip("flask")
    from flask_integration import Mail, Message

    def order(message: EmailMessage, number: int) -> None:
        text = flask.render_template_string("Order {{ n }} of {{ config.SHOP }}", n=number)
        message.set_content(text)

    mails.order = order
    app = flask.Flask(__name__)
    app.config.update(
        SHOP="Leaf & Cup",
        MAIL_URL=f"smtp://127.0.0.1:{sink.port}",
        MAIL_DEFAULT_SENDER="shop@example.com",
        MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}",
    )
    mail = Mail(app)
    app.test_cli_runner().invoke(args=["mail", "outbox", "create-tables"])
    with app.app_context():
        message = Message("Your order", ["ada@example.org"])
        mail.enqueue(message, render="plain_mails.order", context={"number": 7})
    result = app.test_cli_runner().invoke(args=["mail", "outbox", "work", "--once"])
    assert "1 message handled" in result.output, result.output
    assert sink.message.message.get_content().strip() == "Order 7 of Leaf &amp; Cup"
