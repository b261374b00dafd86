"""What a database does to a worker: it ends connections, has no room, and makes others wait."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from mailbackends import Mailer, Submission
from mailbackends.outbox import MailerDelivery, State, Worker, outbox_message
from mailbackends.outbox.sqlalchemy_insert import insert_message
from mailbackends.outbox.sqlalchemy_store import SQLAlchemyStore
from support.sink import Sink

from .conftest import Enqueue


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", [1, 3])
def test_a_connection_that_ends_before_any_statement_loses_nothing_and_sends_nothing_twice(
    engine: Engine, url: str, store: SQLAlchemyStore, enqueue: Enqueue, pipeline: int
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no server")
    mine = create_engine(url)
    with Sink() as sink, Mailer(sink.url, batch_pipeline=pipeline) as mailer:
        for number in count(1):
            rows = [enqueue(f"{number} {n}") for n in range(2)]
            working = SQLAlchemyStore(mine, store.tables)
            with _ending_one(mine, engine, number) as ended:
                for _ in range(10):
                    with suppress(DBAPIError):  # `run` goes on as this does
                        Worker(working, MailerDelivery(mailer)).run_once()
                    _let_all_be_due(engine)
                    if all(store.get(row.id).state is State.ACCEPTED for row in rows):
                        break
            assert [store.get(row.id).state for row in rows] == [State.ACCEPTED] * 2, number
            if not ended.is_set():
                break
        assert number > 8
        arrived = Counter(each.message["Message-ID"] for each in sink.messages)
    assert set(arrived.values()) == {1}
    assert len(arrived) == 2 * number
    mine.dispose()


@contextmanager
def _ending_one(engine: Engine, other: Engine, number: int) -> Iterator[threading.Event]:
    """End the connection of the n-th statement or commit, just before it."""
    done, seen = threading.Event(), count(1)

    def end(connection: Any, *_: object) -> None:
        if next(seen) == number:
            done.set()
            pid = connection.connection.driver_connection.info.backend_pid
            with other.begin() as second:
                second.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))

    event.listen(engine, "before_cursor_execute", end)
    event.listen(engine, "commit", end)
    try:
        yield done
    finally:
        event.remove(engine, "before_cursor_execute", end)
        event.remove(engine, "commit", end)


def _let_all_be_due(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE outbox_message SET due_at = 1 WHERE state = 'queued'"))
        connection.execute(text("UPDATE outbox_message SET lease_until = 1 WHERE lease_until > 1"))


def test_outcomes_wait_for_room_on_a_full_disk(
    engine: Engine, store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("SQLite has a limit of pages")
    rows = [enqueue(f"order {n}") for n in range(6)]
    is_full = threading.Event()

    def limit(connection: Any, *_: object) -> None:
        # No less than what it has: nothing can be added.
        connection.execute(f"PRAGMA max_page_count = {1 if is_full.is_set() else 1_000_000}")

    event.listen(engine, "checkout", limit)
    with Sink() as sink, Mailer(sink.url) as mailer:
        # Words that need a new page soon.
        sink.refuse_content("250 2.0.0 " + "queued " * 200)
        is_full.set()
        with pytest.raises(OperationalError, match="full"):
            _fill(enqueue)
        stored = sum(store.status().messages.values())
        failed = threading.Event()
        record_all = store.record_all

        def noting(changes: Any) -> list[bool]:
            try:
                return record_all(changes)
            except OperationalError:
                failed.set()
                raise

        store.record_all = noting  # type: ignore[method-assign]
        worker = Worker(store, MailerDelivery(mailer))
        thread = threading.Thread(target=worker.run_once)
        thread.start()
        assert failed.wait(30)
        is_full.clear()
        thread.join(60)
        assert not thread.is_alive()
        assert store.status().messages == {State.ACCEPTED: stored}
        arrived = Counter(each.message["Message-ID"] for each in sink.messages)
    assert set(arrived.values()) == {1}
    assert {row.message_id for row in rows} <= set(arrived)


def _fill(enqueue: Enqueue) -> None:
    for number in range(100):
        enqueue(f"order {number}")


@pytest.mark.parametrize("commits", [True, False])
def test_who_enqueues_a_key_waits_for_the_transaction_that_has_it(
    engine: Engine, store: SQLAlchemyStore, commits: bool
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer")

    def order() -> Any:
        message = EmailMessage()
        message["From"], message["To"] = "shop@example.com", "ada@example.org"
        message.set_content("Thank you.\n")
        return outbox_message(Submission(message), key="order-1")

    second: list[Any] = []

    def enqueue() -> None:
        with engine.begin() as connection:
            second.append(insert_message(connection, order(), store.tables))

    thread = threading.Thread(target=enqueue)
    with engine.connect() as connection:
        first = insert_message(connection, order(), store.tables)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()  # it waits
        if commits:
            connection.commit()
        else:
            connection.rollback()
    thread.join(30)
    assert second[0].is_new is not commits
    assert (second[0].id == first.id) is commits
    assert store.status().messages == {State.QUEUED: 1}
