"""The statements of the store, on both databases."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_integration.outbox import models
from django_integration.outbox.inserting import insert_messages
from django_integration.outbox.store import DjangoStore
from mailbackends import Reply
from mailbackends.outbox import (
    FINAL,
    LEASED,
    Change,
    LeaseLost,
    LogEntry,
    OutboxMessage,
    OutboxRecipient,
    Priority,
    RecipientChange,
    RecipientState,
    State,
    cancelled,
    lease_expired,
    resent,
    uuid7,
)

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def store() -> DjangoStore:
    return DjangoStore("default")


def insert(*addresses: str, **values: Any) -> OutboxMessage:
    recipients = tuple(OutboxRecipient(each) for each in addresses or ("ada@example.com",))
    given = {"content": b"Subject: s\r\n\r\nb\r\n", "sender": "shop@example.com", "alias": "smtp"}
    message = OutboxMessage(id=uuid7(), recipients=recipients, **{**given, **values})
    insert_messages([message], connection, notify=False)
    return message


def claim(store: DjangoStore, limit: int = 10, worker: str = "w1") -> list[OutboxMessage]:
    return store.claim(limit, lease=60, worker=worker, aliases=["smtp"])


def accepted(message: OutboxMessage, **values: Any) -> Change:
    given: dict[str, Any] = {
        "id": message.id,
        "before": frozenset({State.CLAIMED, State.BEGUN}),
        "state": State.ACCEPTED,
        "recipients": {
            to: RecipientChange(RecipientState.ACCEPTED, Reply.of(250, "2.0.0 Ok: queued"), "mx:25")
            for to in message.pending
        },
        "log": LogEntry("attempt", "accepted", "w1"),
        "lease_by": message.lease_by,
        "attempted": message.pending,
    }
    return Change(**{**given, **values})


def test_a_claimed_message_is_what_was_inserted(store: DjangoStore) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    given = insert(
        "ada@example.com", "bob@example.com", key="order-1", not_before=at, subject="Grüße"
    )
    [found] = claim(store)
    assert found.state is State.CLAIMED
    assert found.attempts == 1
    assert found.created_at is not None
    assert abs(found.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.lease_by.startswith("w1 ")
    assert replace(found, state=State.QUEUED, attempts=0, created_at=None, lease_by="") == given
    assert claim(store) == []


def test_the_more_urgent_comes_first_and_within_a_priority_the_older(store: DjangoStore) -> None:
    wanted = [
        insert(priority=Priority.NORMAL).id,
        insert(priority=Priority.NORMAL).id,
        insert(priority=Priority.URGENT).id,
        insert(priority=Priority.LOW).id,
    ]
    assert [each.id for each in claim(store, 3)] == [wanted[2], wanted[0], wanted[1]]
    assert [each.id for each in claim(store)] == [wanted[3]]


def test_what_is_not_due_expired_paused_or_of_another_alias_is_not_claimed(
    store: DjangoStore,
) -> None:
    now = datetime.now(UTC)
    insert(not_before=now + timedelta(hours=1))
    insert(expires_at=now - timedelta(hours=1))
    insert(alias="other")
    insert(alias="paused")
    store.pause("paused", 60, failures=1, reason="no connection")
    assert store.claim(9, lease=60, worker="w", aliases=["smtp", "paused"]) == []
    assert [each.alias for each in store.overdue(10)] == ["smtp"]
    store.resume("paused")
    assert len(store.claim(9, lease=60, worker="w", aliases=["smtp", "paused"])) == 1


def test_begin_is_all_or_nothing(store: DjangoStore) -> None:
    insert()
    insert()
    first, second = claim(store)
    store.record(accepted(second, state=State.CANCELLED, lease_by=None))
    with pytest.raises(LeaseLost) as caught:
        store.begin([first, second], lease=60)
    assert caught.value.ids == (second.id,)
    assert models.Message.objects.get(id=first.id).state == "claimed"
    store.begin([first], lease=60)
    store.begin([first], lease=60)
    assert models.Message.objects.get(id=first.id).state == "begun"
    with pytest.raises(LeaseLost):
        store.begin([replace(first, lease_by="w2")], lease=60)


def test_a_record_writes_message_recipients_and_log(store: DjangoStore) -> None:
    insert("ada@example.com", "bob@example.com", "gone@example.com")
    [message] = claim(store)
    reply = Reply.of(550, "5.1.1 No such user")
    change = accepted(message)
    change.recipients["gone@example.com"] = RecipientChange(  # type: ignore[index]
        RecipientState.REFUSED, reply, "mx:25"
    )
    assert store.record(change)
    found = store.get(message.id)
    assert found is not None
    assert found.state is State.ACCEPTED
    gone = found.recipients[2]
    assert (gone.code, gone.enhanced, gone.text) == (550, "5.1.1", "5.1.1 No such user")
    assert (gone.state, gone.attempts, gone.server) == (RecipientState.REFUSED, 1, "mx:25")
    [entry] = store.log(message.id)
    assert (entry.kind, entry.by) == ("attempt", "w1")
    assert not store.record(change)


def test_outcomes_of_one_moment_are_written_together_and_each_where_it_applies(
    store: DjangoStore,
) -> None:
    for _ in range(20):
        insert("ada@example.com", "bob@example.com")
    claimed = claim(store, 20)
    store.begin(claimed, lease=60)
    changes = [accepted(each) for each in claimed]
    no = RecipientChange(RecipientState.REFUSED, Reply.of(550, "5.1.1 No such user"), "mx:25")
    changes[5].recipients["bob@example.com"] = no  # type: ignore[index]
    assert store.record(accepted(claimed[3], state=State.CANCELLED, lease_by=None, recipients={}))
    assert store.record_all(changes) == [number != 3 for number in range(20)]
    assert store.status().messages == {State.ACCEPTED: 19, State.CANCELLED: 1}
    found = store.get(claimed[5].id)
    assert found is not None
    ada, bob = found.recipients
    assert (ada.state, ada.code, ada.enhanced) == (RecipientState.ACCEPTED, 250, "2.0.0")
    assert (bob.state, bob.code, bob.attempts) == (RecipientState.REFUSED, 550, 1)
    assert bob.at is not None
    assert abs(bob.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [each.by for each in store.log(claimed[5].id)] == ["w1"]
    assert store.record_all(changes) == [False] * 20

    # However many they are, it is three statements and a commit.
    for _ in range(20):
        insert()
    claimed = claim(store, 20)
    with CaptureQueriesContext(connection) as queries:
        assert store.record_all([accepted(each) for each in claimed]) == [True] * 20
    statements = [each["sql"] for each in queries if " 1 = 0" not in each["sql"]]
    kinds = [sql.split("times: ")[-1].split()[0] for sql in statements]
    assert [kind for kind in kinds if kind in ("UPDATE", "INSERT")] == [
        "UPDATE",
        "UPDATE",
        "INSERT",
    ]


def test_a_record_of_another_lease_writes_nothing(store: DjangoStore) -> None:
    insert()
    [message] = claim(store)
    assert not store.record(accepted(message, lease_by="w2"))
    assert not store.record(accepted(message, lease_by=None, version=1))
    assert not store.record(accepted(message, before=frozenset({State.UNKNOWN})))
    assert store.log(message.id) == []


def test_an_unknown_outcome_keeps_its_worker_for_a_late_reply(store: DjangoStore) -> None:
    insert()
    [message] = claim(store)
    store.record(accepted(message, state=State.UNKNOWN, recipients={}))
    assert store.record(accepted(message, before=frozenset({State.UNKNOWN})))


def test_a_retry_is_due_later_by_the_databases_clock(store: DjangoStore) -> None:
    insert()
    [message] = claim(store)
    store.record(accepted(message, state=State.QUEUED, recipients={}, delay=3600.0))
    assert claim(store) == []
    row = models.Message.objects.get(id=message.id)
    assert timedelta(minutes=59) < row.due_at - row.updated_at < timedelta(minutes=61)


def test_released_messages_are_due_again_and_were_not_attempted(store: DjangoStore) -> None:
    insert()
    claimed = claim(store)
    assert store.release([replace(each, lease_by="w2") for each in claimed]) == 0
    assert store.release(claimed) == 1
    assert [each.attempts for each in claim(store)] == [1]


def test_an_expired_lease_is_found(store: DjangoStore) -> None:
    insert()
    [message] = store.claim(1, lease=-1, worker="w", aliases=["smtp"])
    assert [each.id for each in store.lost(10)] == [message.id]
    assert store.lost(10)[0].content == b""
    assert store.status().leases_expired == 1
    assert store.renew([message], lease=60) == 1
    assert store.lost(10) == []


def test_messages_are_found_by_address_message_id_and_key(store: DjangoStore) -> None:
    insert("ada@example.com", key="k1", message_id="<1@x>")
    insert("bob@example.com", key="k2", message_id="<2@x>")
    assert [each.key for each in store.find(address="ada@example.com")] == ["k1"]
    assert [each.key for each in store.find(message_id="<2@x>")] == ["k2"]
    assert [each.key for each in store.find(key="k2")] == ["k2"]
    assert [each.key for each in store.find(state=State.QUEUED)] == ["k2", "k1"]


def test_a_longer_pause_stays(store: DjangoStore) -> None:
    store.pause("smtp", 600, failures=1, reason="first")
    store.pause("smtp", 60, failures=2, reason="second")
    [pause] = store.pauses()
    assert pause.failures == 2
    assert pause.until > datetime.now(UTC) + timedelta(seconds=500)


def test_status_counts(store: DjangoStore) -> None:
    insert()
    insert(not_before=datetime.now(UTC) + timedelta(hours=1))
    status = store.status()
    assert status.messages == {State.QUEUED: 2}
    assert status.due == 1
    assert status.oldest is not None
    assert 0 <= status.oldest < 60
    assert status.queued == {"smtp": 2}


def test_only_old_messages_in_a_final_state_are_pruned(store: DjangoStore) -> None:
    insert()
    [message] = claim(store)
    insert()
    assert store.prune(states=[State.ACCEPTED], older_than=-60) == 0
    store.record(accepted(message))
    assert store.prune(states=[State.ACCEPTED], older_than=60) == 0
    assert store.prune(states=FINAL, older_than=-60) == 1
    assert models.Message.objects.count() == 1
    assert models.LogEntry.objects.count() == 0
    with pytest.raises(ValueError, match="final state"):
        store.prune(states=[State.QUEUED], older_than=0)


def test_a_message_that_is_sent_again_at_this_moment_is_not_pruned(store: DjangoStore) -> None:
    insert()
    [message] = claim(store)
    store.record(accepted(message))
    pruned: list[int] = []

    def prune() -> None:
        try:
            pruned.append(DjangoStore("default").prune(states=FINAL, older_than=-60))
        finally:
            connections.close_all()

    thread = threading.Thread(target=prune)
    with transaction.atomic():
        found = store.get(message.id)
        assert found is not None
        assert store.record(resent(found, everyone=True))
        # It skips the row that is locked, or waits for SQLite's lock.
        thread.start()
        thread.join(0.3)
    thread.join(30)
    assert pruned == [0]
    assert models.Message.objects.get(id=message.id).state == "queued"


def test_content_is_erased_in_a_final_state_only(store: DjangoStore) -> None:
    message = insert()
    store.erase_content(message.id)
    assert not models.Message.objects.get(id=message.id).is_erased
    [message] = claim(store)
    store.record(accepted(message))
    store.erase_content(message.id)
    row = models.Message.objects.get(id=message.id)
    assert row.is_erased
    assert bytes(row.content) == b""


def test_two_workers_never_claim_the_same_message(store: DjangoStore) -> None:
    inserted = {insert().id for _ in range(60)}
    claimed: list[list[OutboxMessage]] = []
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            mine = DjangoStore("default")
            while found := mine.claim(4, lease=60, worker=name, aliases=["smtp"]):
                claimed.append(found)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    ids = [each.id for batch in claimed for each in batch]
    assert len(ids) == len(set(ids)) == 60
    assert set(ids) == inserted


def test_a_row_that_cannot_be_read_is_parked_and_stops_no_other(store: DjangoStore) -> None:
    broken, good = insert(), insert()
    models.Message.objects.filter(id=broken.id).update(mail_options="not JSON")
    assert [each.id for each in claim(store)] == [good.id]
    row = models.Message.objects.get(id=broken.id)
    assert row.state == "parked"
    assert "cannot be read" in row.reason


def test_rows_that_cannot_be_read_do_not_hide_those_after_them(store: DjangoStore) -> None:
    for _ in range(3):
        insert()
    models.Message.objects.update(mail_options="not JSON")
    good = insert()
    assert [each.id for each in claim(store, 2)] == [good.id]


def test_a_sweep_parks_what_it_cannot_read(store: DjangoStore) -> None:
    broken, good = insert(), insert()
    assert len(store.claim(2, lease=-1, worker="w", aliases=["smtp"])) == 2
    models.Message.objects.filter(id=broken.id).update(mail_options="not JSON")
    assert [each.id for each in store.lost(10)] == [good.id]
    assert models.Message.objects.get(id=broken.id).state == "parked"
    with pytest.raises(ValueError, match="cannot be read"):
        store.get(broken.id)


def test_a_worker_whose_lease_was_taken_writes_nothing_over_it_although_the_attempts_are_equal(
    store: DjangoStore,
) -> None:
    insert()
    [late] = claim(store)
    assert store.release([late]) == 1
    [taken] = claim(store)
    assert taken.attempts == late.attempts == 1
    assert taken.lease_by != late.lease_by
    with pytest.raises(LeaseLost):
        store.begin([late], lease=60)
    assert not store.record(accepted(late))
    assert store.renew([late], lease=60) == store.release([late]) == 0
    store.begin([taken], lease=60)
    assert store.record(accepted(taken))
    message = store.get(taken.id)
    assert message is not None
    assert store.record(resent(message, everyone=True))
    [again] = claim(store)
    assert again.attempts == 1
    assert not store.record(accepted(taken, before=frozenset(LEASED)))
    store.begin([again], lease=60)


def test_a_sweep_changes_no_lease_that_was_renewed_after_it_looked(store: DjangoStore) -> None:
    insert()
    [message] = store.claim(1, lease=-1, worker="w", aliases=["smtp"])
    [lost] = store.lost(10)
    assert store.renew([message], lease=60) == 1
    assert not store.record(lease_expired(lost))
    assert models.Message.objects.get(id=message.id).state == "claimed"


def test_who_decided_from_an_older_row_changes_nothing(store: DjangoStore) -> None:
    insert()
    [message] = claim(store)
    seen = store.get(message.id)
    assert seen is not None
    store.record(accepted(message, state=State.QUEUED, recipients={}, delay=0.0))
    assert not store.record(cancelled(seen))


def test_nothing_is_claimed_in_a_transaction_which_could_be_rolled_back_after_it_was_sent(
    store: DjangoStore,
) -> None:
    insert()
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        claim(store)
    assert len(claim(store)) == 1
