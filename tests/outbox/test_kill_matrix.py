"""A worker killed at each statement and each byte: nothing lost, nothing sent twice.

Bounded: some bytes of each conversation, and each second statement on PostgreSQL.
``MAILBACKENDS_TESTS_KILL_EVERY=1`` is each of them.
"""

from __future__ import annotations

import os
from email.message import EmailMessage
from itertools import count

import pytest
from sqlalchemy import Engine, text

from mailbackends import Submission
from mailbackends.outbox import OutboxMessage, outbox_message
from mailbackends.outbox.sqlalchemy_insert import insert_message
from mailbackends.outbox.sqlalchemy_store import SQLAlchemyStore
from support.kill_matrix import KillMatrix, Point
from support.sink import EXTENSIONS, Sink

EVERY = int(os.environ.get("MAILBACKENDS_TESTS_KILL_EVERY", "0"))
DATA = tuple(each for each in EXTENSIONS if each != "CHUNKING")
WAYS = {
    "DATA": (DATA, {}),
    "BDAT": (EXTENSIONS, {}),
    "several in one flight": (EXTENSIONS, {"batch_pipeline": 3}),
    "a transaction for each recipient": ((*EXTENSIONS, "LIMITS RCPTMAX=1"), {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["statement", "sent", "received"])
def test_a_worker_killed_anywhere_loses_nothing_and_sends_nothing_twice(
    engine: Engine, url: str, store: SQLAlchemyStore, way: str, kind: str
) -> None:
    extensions, options = WAYS[way]
    to = "ada@example.org, bob@example.org" if "recipient" in way else "ada@example.org"

    def enqueue(subject: str) -> OutboxMessage:
        message = EmailMessage()
        message["From"], message["To"] = "shop@example.com", to
        message["Subject"] = subject
        message.set_content("Thank you for your order.\n")
        row = outbox_message(Submission(message))
        with engine.begin() as connection:
            insert_message(connection, row, store.tables)
        return row

    def expire_leases() -> None:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE outbox_message SET lease_until = 1 WHERE lease_until > 1")
            )

    with Sink(extensions=extensions) as sink:
        matrix = KillMatrix(
            "support.kill_matrix:sqlalchemy_store",
            url,
            enqueue,
            expire_leases,
            sink,
            messages=2,
            options=options,
        )
        if kind == "statement":
            step = 1 if EVERY or engine.dialect.name == "sqlite" else 2
        else:
            step = EVERY or (131 if kind == "sent" else 67)
        matrix.run(Point(kind, number) for number in count(1, step))
        totals = matrix.check()
    print(f"{engine.dialect.name} {way} {kind}: {totals}")
    assert totals["lost"] == totals["doubled"] == 0
    assert totals["kills"] >= 3
    # The matrix is worth something: it reached the moment in which nobody can know.
    assert totals["unknown"] >= 1 or kind == "received"
    assert not matrix.results[-1].was_killed
