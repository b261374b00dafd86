"""``mail.enqueue`` and ``flask mail outbox``, with and without Flask-SQLAlchemy."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Session

from flask_integration import Mail, Message
from flask_integration.backends import MemoryBackend
from flask_integration.errors import IncompleteMessageError
from mailbackends import ConfigurationError
from mailbackends.outbox import KeyReusedError, State
from support.sink import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


def made(sink: Sink, **config: Any) -> tuple[Flask, Mail]:
    app = Flask(__name__)
    app.config.update(
        MAIL_URL=f"smtp://127.0.0.1:{sink.port}", MAIL_DEFAULT_SENDER="shop@example.com", **config
    )
    return app, Mail(app)


def run(app: Flask, *arguments: str, status: int = 0) -> str:
    result = app.test_cli_runner().invoke(args=["mail", "outbox", *arguments])
    assert result.exit_code == status, result.output
    return result.output


def order(number: int = 1) -> Message:
    return Message(f"Order {number}", ["ada@example.org"], body="Thank you.\n")


def test_with_flask_sqlalchemy_a_message_belongs_to_the_sessions_transaction(
    sink: Sink, tmp_path: Path
) -> None:
    sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    app, mail = made(sink, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'app.sqlite3'}")
    db = sqlalchemy.SQLAlchemy(app)

    class Order(db.Model):
        id = db.Column(db.Integer, primary_key=True)

    run(app, "create-tables")
    with app.app_context():
        db.create_all()
        for number, commits in ((1, False), (2, True)):
            db.session.add(Order(id=number))
            queued = mail.enqueue(order(number), key=f"order-{number}")
            assert queued.outcome == "pending"
            if commits:
                db.session.commit()
            else:
                db.session.rollback()
        assert [each.id for each in db.session.query(Order)] == [2]
        db.session.remove()
    assert sink.messages == []
    assert run(app, "work", "--once") == "1 message handled\n"
    assert sink.message.message["Subject"] == "Order 2"
    assert "accepted   1" in run(app, "status")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"{today}: 1 accepted" in run(app, "status", "--days", "7")
    counted = json.loads(run(app, "status", "--json", "--days", "7"))
    assert counted["days"] == [{"day": today, "recipients": {"accepted": 1}}]
    with app.app_context():
        db.engine.dispose()


def test_without_flask_sqlalchemy_it_is_committed_or_belongs_to_the_session_given(
    sink: Sink, tmp_path: Path
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'outbox.sqlite3'}")
    app, mail = made(sink, MAIL_OUTBOX_DATABASE=engine)
    run(app, "create-tables")
    with app.app_context():
        mail.enqueue(order(1))
        with Session(engine) as session:
            mail.enqueue(order(2), session=session)
            session.rollback()
    assert run(app, "work", "--once") == "1 message handled\n"
    assert sink.message.message["Subject"] == "Order 1"
    engine.dispose()


def test_each_mailer_sends_its_own_messages(sink: Sink, tmp_path: Path) -> None:
    with Sink() as bulk:
        app, mail = made(
            sink,
            MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}",
            MAIL_MAILERS={"bulk": f"smtp://127.0.0.1:{bulk.port}"},
        )
        run(app, "create-tables")
        with app.app_context():
            mail.enqueue(order(1))
            mail.using("bulk").enqueue(order(2), priority="low")
        assert run(app, "work", "--once") == "2 messages handled\n"
        assert sink.message.message["Subject"] == "Order 1"
        assert bulk.message.message["Subject"] == "Order 2"
        app.extensions["mail_outbox"].close()


def test_errors_come_when_it_is_enqueued(sink: Sink, tmp_path: Path) -> None:
    app, mail = made(sink, MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}")
    run(app, "create-tables")
    with app.app_context():
        with pytest.raises(IncompleteMessageError, match="no recipients"):
            mail.enqueue(Message("Order", body="x"))
        mail.enqueue(order(1), key="order-1")
        assert not mail.enqueue(order(1), key="order-1").is_new
        with pytest.raises(KeyReusedError, match="'order-1'"):
            mail.enqueue(order(2), key="order-1")
    app.extensions["mail_outbox"].close()


def test_without_a_database_the_error_names_what_to_set(sink: Sink) -> None:
    app, mail = made(sink)
    with app.app_context(), pytest.raises(ConfigurationError, match="MAIL_OUTBOX_DATABASE"):
        mail.enqueue(order())
    assert "MAIL_OUTBOX_DATABASE" in run(app, "status", status=1)


def test_a_worker_does_not_send_if_sending_is_suppressed(sink: Sink, tmp_path: Path) -> None:
    app, mail = made(
        sink, MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}", TESTING=True
    )
    run(app, "create-tables")
    with app.app_context():
        mail.enqueue(order())
    assert "sending is suppressed" in run(app, "work", "--once", status=1)
    assert sink.messages == []
    app.extensions["mail_outbox"].close()


def test_another_backend_gets_the_messages_too(sink: Sink, tmp_path: Path) -> None:
    app, mail = made(
        sink,
        MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}",
        MAIL_BACKEND="memory",
    )
    run(app, "create-tables")
    with app.app_context():
        mail.enqueue(order())
        assert run(app, "work", "--once") == "1 message handled\n"
        assert len(mail.outbox) == 1
    app.extensions["mail_outbox"].close()


def with_memory(sink: Sink, tmp_path: Path, *numbers: int) -> tuple[Any, Any, list[Any]]:
    app, mail = made(
        sink,
        MAIL_OUTBOX_DATABASE=f"sqlite:///{tmp_path / 'outbox.sqlite3'}",
        MAIL_OUTBOX_BLOBS=str(tmp_path / "blobs"),
        MAIL_BACKEND="memory",
    )
    run(app, "create-tables")
    with app.app_context():
        ids = [mail.enqueue(order(number)).id for number in numbers]
    return app, mail, ids


def test_another_backend_sends_nothing_that_could_not_be_begun_and_sends_it_later(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, mail, [first, second] = with_memory(sink, tmp_path, 1, 2)
    store = app.extensions["mail_outbox"].store
    begin, failures = store.begin, [OSError("disk full")]

    def failing(messages: Any, *, lease: float) -> None:
        if failures:
            raise failures.pop()
        begin(messages, lease=lease)

    monkeypatch.setattr(store, "begin", failing)
    run(app, "work", "--once")
    with app.app_context():
        assert len(mail.outbox) == 1
    assert {store.get(each).state for each in (first, second)} == {State.QUEUED, State.ACCEPTED}
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE outbox_message SET due_at = 1"))
    run(app, "work", "--once")
    with app.app_context():
        assert len(mail.outbox) == 2
    assert {store.get(each).state for each in (first, second)} == {State.ACCEPTED}
    app.extensions["mail_outbox"].close()


def test_another_backend_does_not_get_what_was_cancelled_after_it_was_claimed(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, mail, [id] = with_memory(sink, tmp_path, 1)
    outbox = app.extensions["mail_outbox"]
    begin = outbox.store.begin

    def cancelling(messages: Any, *, lease: float) -> None:
        assert outbox.cancel(id)
        begin(messages, lease=lease)

    monkeypatch.setattr(outbox.store, "begin", cancelling)
    run(app, "work", "--once")
    with app.app_context():
        assert mail.outbox == []
    assert outbox.store.get(id).state is State.CANCELLED
    outbox.close()


def test_what_cannot_be_read_is_parked_before_another_backend_gets_it(
    sink: Sink, tmp_path: Path
) -> None:
    app, _, [broken, good] = with_memory(sink, tmp_path, 1, 2)
    store = app.extensions["mail_outbox"].store
    with store.engine.begin() as connection:
        statement = update(store.tables.message).where(store.tables.message.c.id == broken)
        connection.execute(statement.values(blobs=f'[[0, "{"0" * 64}", 9, "base64"]]'))
    run(app, "work", "--once")
    assert store.get(broken).state is State.PARKED
    assert "cannot be read" in store.log(broken)[-1].text
    assert store.get(good).state is State.ACCEPTED
    app.extensions["mail_outbox"].close()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RuntimeError("the provider answered nonsense"), State.UNKNOWN),
        (smtplib.SMTPServerDisconnected("gone"), State.UNKNOWN),
        (smtplib.SMTPDataError(554, b"5.6.0 Not this"), State.REFUSED),
        (smtplib.SMTPSenderRefused(451, b"4.3.0 Later", "shop@example.com"), State.QUEUED),
        (smtplib.SMTPRecipientsRefused({"ada@example.org": (550, b"5.1.1 No")}), State.REFUSED),
    ],
)
def test_another_backend_has_the_outcomes_that_are_certain(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, state: State
) -> None:
    app, _, [id] = with_memory(sink, tmp_path, 1)

    def send(*_: object) -> None:
        raise error

    monkeypatch.setattr(MemoryBackend, "send", send)
    run(app, "work", "--once")
    assert app.extensions["mail_outbox"].store.get(id).state is state
    app.extensions["mail_outbox"].close()
