"""What a store promises: leases, comparisons, counts. On SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import (
    Engine,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
)

from mailbackends import ConfigurationError, Receipt, Reply, SMTPDeliveryUnknown, Submission
from mailbackends.outbox import (
    FINAL,
    KeyReusedError,
    LeaseLost,
    RecipientState,
    State,
    cancelled,
    lease_expired,
    outbox_message,
    recorded,
    resent,
    uuid7,
)
from mailbackends.outbox.sqlalchemy_insert import insert_message
from mailbackends.outbox.sqlalchemy_recording import Recorder
from mailbackends.outbox.sqlalchemy_store import SQLAlchemyStore
from mailbackends.sql import now_ms, writing

from .conftest import Enqueue, database_url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return database_url(request, tmp_path)


OK = Reply(250, (b"2.0.0 queued as 4711",))
BUSY = Reply(451, (b"4.3.0 later",))


def claim(store: SQLAlchemyStore, limit: int = 10, *, lease: float = 60, worker: str = "w"):
    return store.claim(limit, lease=lease, worker=worker, aliases=["default"])


def test_a_message_comes_back_as_it_was_stored(store: SQLAlchemyStore, enqueue: Enqueue) -> None:
    given = enqueue(to=("ada@example.org", "bob@example.org"), priority="high", key="order-1")
    [claimed] = claim(store)
    assert claimed.content == given.content
    assert claimed.pending == given.pending
    assert claimed.expires_at == given.expires_at.replace(
        microsecond=given.expires_at.microsecond // 1000 * 1000
    )
    for name in ("id", "sender", "key", "fingerprint", "priority", "message_id", "subject", "size"):
        assert getattr(claimed, name) == getattr(given, name)
    assert (claimed.state, claimed.attempts) == (State.CLAIMED, 1)
    assert abs(claimed.created_at - datetime.now(UTC)) < timedelta(seconds=60)


def test_what_the_caller_rolls_back_was_never_there(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    row = outbox_message(Submission(b"x: y\r\n\r\n", "a@example.com", ["b@example.com"]))
    with store.engine.connect() as connection:
        insert_message(connection, row, store.tables)
        connection.rollback()
    assert claim(store) == []
    assert store.status().messages == {}


def test_two_workers_never_get_the_same_message(store: SQLAlchemyStore, enqueue: Enqueue) -> None:
    for number in range(60):
        enqueue(f"order {number}")
    claimed: list[list[object]] = [[] for _ in range(4)]

    def work(mine: list[object], name: str) -> None:
        for _ in range(200):
            rows = claim(store, 4, worker=name)
            mine += [each.id for each in rows]
            if sum(map(len, claimed)) >= 60:
                return

    threads = [
        threading.Thread(target=work, args=(mine, f"w{n}")) for n, mine in enumerate(claimed)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [each for mine in claimed for each in mine]
    assert len(everything) == 60
    assert len(set(everything)) == 60


def test_begin_is_for_whoever_has_the_lease_and_for_all_or_none(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue("one")
    enqueue("two")
    first, second = claim(store)
    others = [replace(each, lease_by="another") for each in (first, second)]
    with pytest.raises(LeaseLost) as caught:
        store.begin(others, lease=60)
    assert set(caught.value.ids) == {first.id, second.id}
    assert store.record(cancelled(first))
    with pytest.raises(LeaseLost) as caught:
        store.begin([first, second], lease=60)
    assert caught.value.ids == (first.id,)
    assert store.get(second.id).state is State.CLAIMED
    for _ in range(2):  # again for a further attempt
        store.begin([second], lease=60)
        assert store.get(second.id).state is State.BEGUN


def test_a_lease_that_was_claimed_anew_is_another_one(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue()
    [first] = claim(store, lease=-1.0)
    assert store.record(lease_expired(store.lost(10)[0]))
    [second] = claim(store)
    assert second.attempts == 2
    assert second.lost_leases == 1
    with pytest.raises(LeaseLost):
        store.begin([first], lease=60)
    assert not store.record(recorded(first, Receipt(first.pending, OK), worker="w"))
    assert store.renew([first], lease=60) == 0
    assert store.release([first]) == 0
    store.begin([second], lease=60)


def test_a_worker_whose_lease_was_taken_writes_nothing_over_it_although_the_attempts_are_equal(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue()
    [late] = claim(store)
    assert store.release([late]) == 1
    [taken] = claim(store)
    # The same worker and the same number of attempts: only the lease is another one.
    assert taken.attempts == late.attempts == 1
    assert taken.lease_by != late.lease_by
    with pytest.raises(LeaseLost):
        store.begin([late], lease=60)
    store.begin([taken], lease=60)
    assert not store.record(recorded(late, Receipt(late.pending, OK), worker="w"))
    assert store.renew([late], lease=60) == store.release([late]) == 0
    assert store.get(taken.id).state is State.BEGUN
    assert store.record(recorded(taken, Receipt(taken.pending, OK), worker="w"))
    # Sent again by hand, its attempts begin anew: the old lease is none of theirs either.
    assert store.record(resent(store.get(taken.id), by="ada", everyone=True))
    [again] = claim(store)
    assert again.attempts == 1
    assert not store.record(recorded(taken, SMTPDeliveryUnknown("gone"), worker="w"))
    store.begin([again], lease=60)


def test_a_sweep_changes_no_lease_that_was_renewed_after_it_looked(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue("claimed")
    enqueue("begun")
    first, second = claim(store, lease=-1.0)
    store.begin([second], lease=-1.0)
    time.sleep(0.005)
    lost = store.lost(10)
    assert len(lost) == 2
    assert store.renew([first, second], lease=60) == 2
    assert [store.record(lease_expired(each)) for each in lost] == [False, False]
    assert [store.get(each.id).state for each in (first, second)] == [State.CLAIMED, State.BEGUN]


def test_who_decided_from_an_older_row_changes_nothing(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    """Cancelled while two attempts ran: the one who was accepted must not become cancelled."""
    enqueue(to=("ada@example.org", "bob@example.org"))
    [message] = claim(store)
    cancel = cancelled(store.get(message.id))
    ada, bob = message.pending
    busy = Receipt((ada,), OK, {bob: BUSY})
    assert store.record(recorded(message, busy, worker="w", jitter=lambda: 0.0))
    assert not store.record(cancel)
    assert store.record(cancelled(store.get(message.id)))
    states = [str(each.state) for each in store.get(message.id).recipients]
    assert states == ["accepted", "cancelled"]


UNREADABLE = {
    "state_of_recipient": "UPDATE outbox_recipient SET state = 'odd' WHERE message = :id",
    "blobs": "UPDATE outbox_message SET blobs = '[[1]]' WHERE id = :id",
    "options": "UPDATE outbox_message SET options = 'not JSON' WHERE id = :id",
    "priority": "UPDATE outbox_message SET on_unknown = 'odd' WHERE id = :id",
    "expiry": "UPDATE outbox_message SET created_at = 9000000000000000000 WHERE id = :id",
    "recipients": "DELETE FROM outbox_recipient WHERE message = :id",
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_row_that_cannot_be_read_is_parked_and_stops_no_other(
    store: SQLAlchemyStore, enqueue: Enqueue, what: str
) -> None:
    broken, good = enqueue("broken"), enqueue("good")
    with store.engine.begin() as connection:
        statement = text(UNREADABLE[what]).bindparams(
            bindparam("id", broken.id, store.tables.message.c.id.type)
        )
        assert connection.execute(statement).rowcount == 1
    assert [each.id for each in claim(store)] == [good.id]
    assert store.status().messages == {State.PARKED: 1, State.CLAIMED: 1}
    [entry] = store.log(broken.id)
    assert (entry.kind, "the row cannot be read" in entry.text) == ("parked", True)
    assert store.find(state=State.PARKED) == []
    with pytest.raises(ValueError, match="cannot be read"):
        store.get(broken.id)


def test_rows_that_cannot_be_read_do_not_hide_those_after_them(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    for number in range(3):
        enqueue(f"broken {number}")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE outbox_message SET options = 'not JSON'"))
    good = enqueue("good")
    assert [each.id for each in claim(store, 2)] == [good.id]


@pytest.mark.parametrize("is_overdue", [True, False])
def test_a_sweep_parks_what_it_cannot_read(
    store: SQLAlchemyStore, enqueue: Enqueue, is_overdue: bool
) -> None:
    if is_overdue:
        at = datetime(2020, 1, 1, tzinfo=UTC)
        for subject in ("broken", "good"):
            enqueue(subject, at=at, expires=timedelta(seconds=0.01))
    else:
        enqueue("broken")
        enqueue("good")
        assert len(claim(store, lease=-1.0)) == 2
    time.sleep(0.02)
    with store.engine.begin() as connection:
        connection.execute(
            text("UPDATE outbox_message SET options = 'not JSON' WHERE subject = 'broken'")
        )
    sweep = store.overdue if is_overdue else store.lost
    assert [each.subject for each in sweep(10)] == ["good"]
    assert store.status().messages[State.PARKED] == 1
    assert [each.subject for each in sweep(1)] == ["good"]


def test_an_outcome_is_recorded_for_each_recipient(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue(to=("ada@example.org", "bob@example.org", "eve@example.org"))
    [message] = claim(store)
    ada, bob, eve = message.pending
    no = Reply(550, (b"5.1.1 no such user",))
    change = recorded(message, Receipt((ada,), OK, {bob: BUSY, eve: no}), worker="w")
    assert store.record(change)
    assert not store.record(change)  # once
    found = store.get(message.id)
    assert found.state is State.QUEUED
    by = {each.address: each for each in found.recipients}
    assert (by[ada].state, by[ada].code, by[ada].enhanced) == (
        RecipientState.ACCEPTED,
        250,
        "2.0.0",
    )
    assert (by[bob].state, by[bob].text) == (RecipientState.PENDING, "4.3.0 later")
    assert (by[eve].state, by[eve].attempts) == (RecipientState.REFUSED, 1)
    assert by[eve].at is not None
    [entry] = store.log(message.id)
    assert (entry.kind, entry.by) == ("attempt", "w")
    assert claim(store) == []  # it is not due yet


def test_outcomes_of_one_moment_are_written_together_and_each_where_it_applies(
    engine: Engine, store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    for number in range(20):
        enqueue(f"order {number}", to=("ada@example.org", "bob@example.org"))
    claimed = claim(store, 20)
    store.begin(claimed, lease=60)
    assert store.record(recorded(claimed[3], SMTPDeliveryUnknown("gone"), worker="w"))
    assert store.record(resent(store.get(claimed[3].id)))  # this lease is over
    no = Reply(550, (b"5.1.1 no such user",))
    changes = [recorded(each, Receipt(each.pending, OK), worker="w") for each in claimed[:9]]
    changes += [
        recorded(each, Receipt(each.pending[:1], OK, {each.pending[1]: no}), worker="w")
        for each in claimed[9:]
    ]
    assert store.record_all(changes) == [number != 3 for number in range(20)]
    assert store.status().messages == {State.ACCEPTED: 19, State.QUEUED: 1}
    bob = store.get(claimed[19].id).recipients[1]
    assert (bob.state, bob.code, bob.attempts) == (RecipientState.REFUSED, 550, 1)
    assert len(store.log(claimed[19].id)) == 1
    assert store.record_all(changes) == [False] * 20

    # However many they are, it is three statements and a commit.
    for number in range(20):
        enqueue(f"order {number}")
    claimed = claim(store, 40)
    changes = [recorded(each, Receipt(each.pending, OK), worker="w") for each in claimed]
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    assert store.record_all(changes) == [True] * 21
    wanted = [each.split()[0] for each in statements if not each.startswith("BEGIN")]
    # The one with two recipients is of the same form.
    assert wanted == ["UPDATE", "UPDATE", "INSERT"]


def test_a_reply_that_comes_late_resolves_what_a_sweep_made_unknown(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue()
    [message] = claim(store)
    store.begin([message], lease=-1.0)
    [lost] = store.lost(10)
    assert store.record(lease_expired(lost))
    assert store.get(message.id).state is State.UNKNOWN
    assert store.record(recorded(message, Receipt(message.pending, OK), worker="w"))
    assert store.get(message.id).state is State.ACCEPTED
    assert store.get(message.id).recipients[0].state is RecipientState.ACCEPTED


def test_a_reply_that_comes_after_somebody_sent_it_again_changes_nothing(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue()
    [message] = claim(store)
    store.begin([message], lease=60)
    assert store.record(recorded(message, SMTPDeliveryUnknown("gone"), worker="w"))
    assert store.record(resent(store.get(message.id), by="ada"))
    assert not store.record(recorded(message, Receipt(message.pending, OK), worker="w"))
    [again] = claim(store, worker="v")
    assert again.pending == message.pending
    assert [each.kind for each in store.log(message.id)] == ["attempt", "resent"]


def test_release_gives_the_attempt_back_and_leaves_what_is_begun(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue("one")
    enqueue("two")
    first, second = claim(store)
    store.begin([second], lease=60)
    assert store.release([first, second]) == 1
    [again] = claim(store)
    assert (again.id, again.attempts) == (first.id, 1)


def test_renewed_leases_do_not_expire(store: SQLAlchemyStore, enqueue: Enqueue) -> None:
    enqueue()
    [message] = claim(store, lease=-1.0)
    time.sleep(0.005)
    assert [each.id for each in store.lost(10)] == [message.id]
    assert store.renew([message], lease=60) == 1
    assert store.lost(10) == []


def test_scheduled_messages_wait_and_expired_ones_are_not_claimed(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue("later", at=timedelta(hours=1))
    gone = enqueue("gone", at=datetime(2020, 1, 1, tzinfo=UTC), expires=timedelta(seconds=0.01))
    time.sleep(0.02)
    assert claim(store) == []
    assert [each.id for each in store.overdue(10)] == [gone.id]


def test_urgent_messages_come_first_and_no_paused_alias(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    for priority in ("low", "normal", "urgent"):
        enqueue(priority, priority=priority)
    enqueue("of another alias", alias="news")
    assert [each.subject for each in claim(store, 2)] == ["urgent", "normal"]
    store.pause("default", 60, failures=3, reason="cannot connect")
    store.pause("default", 1, failures=1, reason="a shorter one does not count")
    assert claim(store) == []
    [news] = store.claim(9, lease=60, worker="w", aliases=["default", "news"])
    assert news.alias == "news"
    [pause] = store.pauses()
    assert (pause.alias, pause.failures) == ("default", 3)
    store.resume("default")
    assert [each.subject for each in claim(store)] == ["low"]


def test_the_second_message_with_a_key_is_the_first_one(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    first = enqueue("Order", key="order-1")
    again = EmailMessage()
    again["From"], again["To"], again["Subject"] = "shop@example.com", "ada@example.org", "Order"
    again.set_content("Thank you.\n")
    with store.engine.begin() as connection:
        row = outbox_message(Submission(again), key="order-1")
        queued = insert_message(connection, row, store.tables)
        assert (queued.id, queued.is_new) == (first.id, False)
        again.replace_header("Subject", "Another order")
        other = outbox_message(Submission(again), key="order-1")
        with pytest.raises(KeyReusedError, match="'order-1'"):
            insert_message(connection, other, store.tables)
        # The caller's transaction goes on.
        insert_message(connection, outbox_message(Submission(again)), store.tables)
    assert store.status().messages == {State.QUEUED: 2}


def test_two_who_enqueue_the_same_key_at_once_store_one_message(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    rows: list[object] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        rows.append(enqueue("Order", key="order-1"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows) == 4
    assert store.status().messages == {State.QUEUED: 1}


def test_enqueueing_is_one_round_trip(engine: Engine, store: SQLAlchemyStore) -> None:
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    row = outbox_message(Submission(b"x: y\r\n\r\n", "a@example.com", ["b@example.com"]))
    with engine.begin() as connection:
        insert_message(connection, row, store.tables)
    # SQLite has no round trips.
    assert len(statements) == (1 if engine.dialect.name == "postgresql" else 2)


def test_status_prune_and_erase(store: SQLAlchemyStore, enqueue: Enqueue) -> None:
    for number in range(3):
        enqueue(f"order {number}")
    [message] = claim(store, 1)
    store.erase_content(message.id)  # not while it is needed
    assert store.get(message.id).content
    store.record(recorded(message, Receipt(message.pending, OK), worker="w"))
    status = store.status()
    assert status.messages == {State.QUEUED: 2, State.ACCEPTED: 1}
    assert (status.due, status.queued, status.leases_expired) == (2, {"default": 2}, 0)
    assert 0 <= status.oldest < 60
    store.erase_content(message.id)
    assert store.get(message.id).content == b""
    assert store.prune(states=[State.ACCEPTED], older_than=3600) == 0
    time.sleep(0.01)
    # A message that waits is not pruned, whatever is asked.
    assert store.prune(states=list(State), older_than=0) == 1
    assert store.get(message.id) is None
    with store.engine.connect() as connection:
        for table in (store.tables.recipient, store.tables.log):
            count = select(func.count()).select_from(table).where(table.c.message == message.id)
            assert connection.scalar(count) == 0


def test_a_message_that_is_sent_again_at_this_moment_is_not_pruned(
    engine: Engine, store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue()
    [message] = claim(store)
    store.record(recorded(message, Receipt(message.pending, OK), worker="w"))
    time.sleep(0.01)
    pruned: list[int] = []
    with writing(engine) as connection:
        again = resent(store.get(message.id), by="ada", everyone=True)
        assert Recorder(store.tables).record(connection, again)
        # It skips the row that is locked, or waits for SQLite's lock.
        thread = threading.Thread(
            target=lambda: pruned.append(store.prune(states=FINAL, older_than=0))
        )
        thread.start()
        thread.join(0.3)
    thread.join(30)
    assert pruned == [0]
    assert store.get(message.id).state is State.QUEUED


def test_a_message_whose_content_was_erased_meanwhile_is_not_sent_again(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    enqueue()
    [message] = claim(store)
    store.record(recorded(message, Receipt(message.pending, OK), worker="w"))
    again = resent(store.get(message.id), everyone=True)
    store.erase_content(message.id)
    assert not store.record(again)
    assert store.get(message.id).state is State.ACCEPTED


def test_a_message_is_found_by_address_message_id_and_key(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    row = enqueue(key="order-1")
    enqueue("other", to=("bob@example.org",))
    for wanted in (
        {"address": "ada@example.org"},
        {"message_id": row.message_id},
        {"key": "order-1"},
        {"state": State.QUEUED, "address": "ada@example.org"},
    ):
        assert [each.id for each in store.find(**wanted)] == [row.id]
    assert store.find(state=State.PARKED) == []
    assert len(store.find()) == 2


def test_the_clock_is_the_databases(store: SQLAlchemyStore, enqueue: Enqueue, monkeypatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    enqueue()
    [message] = claim(store, lease=60)
    assert store.lost(10) == []
    assert message.created_at.year > 2020


def test_the_clock_goes_on_evenly_where_summer_time_ends(store: SQLAlchemyStore) -> None:
    if store.engine.dialect.name != "mariadb":
        pytest.skip("the others have no clock that can be set for one session")
    with store.engine.connect() as connection:
        for moment in (1761438600, 1761442200):  # 02:30 twice, on 26 October 2025
            connection.execute(text(f"SET timestamp = {moment}"))
            assert connection.scalar(select(now_ms())) == moment * 1000


def test_addresses_and_keys_that_differ_in_case_or_accents_are_different(
    store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    addresses = ("zoe@example.org", "Zoe@example.org", "zoé@example.org")
    row = enqueue(to=addresses, key="order-a")
    enqueue("Another", key="Order-A")
    claimed = next(each for each in claim(store) if each.id == row.id)
    receipt = Receipt(addresses[1:2], OK, dict.fromkeys((addresses[0], addresses[2]), BUSY))
    assert store.record(recorded(claimed, receipt, worker="w"))
    found = store.get(row.id)
    assert found is not None
    assert [each.state for each in found.recipients] == ["pending", "accepted", "pending"]


def test_a_key_that_was_stored_since_the_transaction_began_is_found(
    engine: Engine, store: SQLAlchemyStore
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    made = [
        outbox_message(Submission(b"x: y\r\n\r\n", "a@example.com", ["b@example.com"]), key="k")
        for _ in range(2)
    ]
    with engine.connect() as one, engine.connect() as other:
        assert other.scalar(select(func.count()).select_from(store.tables.message)) == 0
        insert_message(one, made[0], store.tables)
        one.commit()
        queued = insert_message(other, made[1], store.tables)
        other.commit()
    assert (queued.id, queued.is_new) == (made[0].id, False)


def test_claiming_reads_an_index_however_many_rows_there_are(
    engine: Engine, store: SQLAlchemyStore, enqueue: Enqueue
) -> None:
    row = enqueue()
    with engine.begin() as connection:
        given = connection.execute(select(store.tables.message)).mappings().one()
        rows = [
            {**given, "id": uuid7(), "key": None, "state": state}
            for state in (State.ACCEPTED, State.QUEUED)
            for _ in range(2000)
        ]
        connection.execute(insert(store.tables.message), rows)
        recipient = connection.execute(select(store.tables.recipient)).mappings().one()
        connection.execute(
            insert(store.tables.recipient), [{**recipient, "message": each["id"]} for each in rows]
        )
        if engine.dialect.name == "postgresql":
            connection.execute(text("ANALYZE outbox_message"))
    statements: list[tuple[str, object]] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append((a[2], a[3])))
    assert len(claim(store, 5)) == 5
    queries = [each for each in statements if "FROM outbox_message" in each[0]]
    catalogue = {
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = :name",
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = :name",
        # It has no indexes over a part of a table.
        "mariadb": "SELECT 'WHERE' FROM dual WHERE :name <> ''",
    }[engine.dialect.name]
    with engine.connect() as connection:
        index_of_claims = connection.scalar(text(catalogue), {"name": "ix_outbox_message_claim"})
    assert len(queries) == 2
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with engine.connect() as connection:
        for query, parameters in queries:
            plan = connection.exec_driver_sql(explain + query, parameters).all()
            lines = "\n".join(str(each) for each in plan)
            # It has rows that wait only, however many are done with.
            assert "WHERE" in index_of_claims
            assert "Aggregate" not in lines  # it would read all that wait
            assert "ix_outbox_message_claim" in lines, lines
            assert "Seq Scan" not in lines, lines
            assert "SCAN outbox_message" not in lines.replace("SCAN outbox_message USING", ""), (
                lines
            )
            assert "TEMP B-TREE" not in lines, lines
            assert "Sort" not in lines, lines
    assert row.id in {each.id for each in claim(store, 5000)} | {row.id}


def test_an_engine_that_commits_each_statement_is_refused(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    for each in (engine, create_engine(url).execution_options(isolation_level="AUTOCOMMIT")):
        with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
            SQLAlchemyStore(each)


def test_a_notification_ends_the_wait(store: SQLAlchemyStore, enqueue: Enqueue) -> None:
    assert store.wait(0.01)
    if store.engine.dialect.name != "postgresql":
        return
    assert not store.wait(0.01)
    timer = threading.Timer(0.1, enqueue)
    timer.start()
    assert store.wait(30)
    timer.join()
