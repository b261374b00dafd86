"""`Outbox` and its worker in plain Python, against a server on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, event, insert, text
from sqlalchemy.orm import Session

from mailbackends import (
    BeforeEndError,
    ConfigurationError,
    Email,
    FileAttachment,
    InvalidMessageError,
    Mailer,
    Receipt,
    Reply,
    SMTPDeliveryUnknown,
)
from mailbackends.outbox import (
    DirectoryBlobs,
    LeaseLost,
    MailerDelivery,
    OnUnknown,
    State,
    Worker,
    uuid7,
)
from mailbackends.outbox.outbox import Outbox
from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore
from support.ports import free_port
from support.sink import EXTENSIONS, Sink


def mail(subject: str = "Order", *to: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = ", ".join(to or ("ada@example.org",))
    message["Subject"] = subject
    message.set_content("Thank you.\n")
    return message


@pytest.fixture
def outbox(engine: Engine, tmp_path: Path) -> Outbox:
    outbox = Outbox(engine, blobs=tmp_path / "blobs")
    outbox.create_tables()
    yield outbox
    outbox.close()


def subjects(sink: Sink) -> list[str]:
    return [each.message["Subject"] for each in sink.messages]


def test_a_message_is_sent_once_and_its_outcome_recorded(outbox: Outbox) -> None:
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        queued = outbox.enqueue(mail())
        assert queued.as_dict()["outcome"] == "pending"
        assert sink.messages == []
        assert outbox.worker(mailer).run_once() == 1
        assert outbox.worker(mailer).run_once() == 0
        assert sink.message.message["Message-ID"] == queued.message_id
    [found] = outbox.store.find(address="ada@example.org")
    assert found.state is State.ACCEPTED
    assert found.recipients[0].code == 250


def test_an_email_is_sent_with_what_it_had_when_it_was_enqueued(
    outbox: Outbox, tmp_path: Path
) -> None:
    path = tmp_path / "terms.bin"
    path.write_bytes(b"terms" * 100_000)
    message = Email(
        subject="Ihre Bestellung für 3 €",
        sender=("Leaf & Cup", "shop@example.com"),
        to="ada@example.org",
        bcc="log@example.org",
        text="Grüße\n",
        html='<img src="cid:logo">',
        inline={"logo": ("logo.png", b"PNG")},
        attachments=[path],
    )
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        assert outbox.enqueue(message).message_id == message.message_id
        path.unlink()
        assert outbox.worker(mailer).run_once() == 1
        sent = sink.message
    assert sent.rcpt_tos == ("ada@example.org", "log@example.org")
    assert sent.message["Subject"] == message.subject
    *_, logo, terms = sent.message.walk()
    assert (logo["Content-ID"], logo.get_content()) == ("<logo>", b"PNG")
    assert terms.get_content() == b"terms" * 100_000


@pytest.mark.parametrize("kind", ["session", "connection"])
def test_it_is_sent_if_the_callers_transaction_is_committed_and_not_otherwise(
    outbox: Outbox, engine: Engine, kind: str
) -> None:
    orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True))
    orders.create(engine)
    for number, commits in ((1, False), (2, True)):
        with Session(engine) if kind == "session" else engine.connect() as session:
            session.execute(insert(orders).values(id=number))
            outbox.enqueue(mail(f"Order {number}"), session=session)
            if commits:
                session.commit()
            else:
                session.rollback()
    assert [each.subject for each in outbox.store.find()] == ["Order 2"]
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT id FROM orders")).all() == [2]


def test_what_cannot_be_sent_is_refused_and_nothing_is_stored(outbox: Outbox) -> None:
    message = mail()
    del message["To"]
    with pytest.raises(InvalidMessageError, match="no recipients"):
        outbox.enqueue(message)
    assert outbox.store.status().messages == {}


def test_recipients_who_are_left_are_tried_again_and_the_others_are_not(outbox: Outbox) -> None:
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        sink.refuse("bob@example.org", "451 4.2.1 mailbox busy", times=1)
        sink.refuse("eve@example.org", "550 5.1.1 no such user")
        queued = outbox.enqueue(
            mail("Order", "ada@example.org", "bob@example.org", "eve@example.org")
        )
        assert outbox.worker(mailer).run_once() == 1
        found = outbox.store.get(queued.id)
        assert found.state is State.QUEUED
        assert [str(each.state) for each in found.recipients] == ["accepted", "pending", "refused"]
        assert found.recipients[1].text == "4.2.1 mailbox busy"
        make_due(outbox)
        assert outbox.worker(mailer).run_once() == 1
        assert [each.rcpt_tos for each in sink.messages] == [
            ("ada@example.org",),
            ("bob@example.org",),
        ]
    assert outbox.store.get(queued.id).state is State.ACCEPTED
    assert [each.kind for each in outbox.store.log(queued.id)] == ["attempt", "attempt"]


def test_all_mail_waits_where_the_server_cannot_be_reached_and_no_attempt_counts(
    outbox: Outbox,
) -> None:
    for number in range(5):
        outbox.enqueue(mail(f"Order {number}"))
    port = free_port()
    with Mailer(f"smtp://127.0.0.1:{port}") as mailer:
        assert outbox.worker(mailer).run_once() == 0
        [pause] = outbox.store.pauses()
        assert pause.failures == 1
        assert "cannot connect" in pause.reason
        assert outbox.worker(mailer).run_once() == 0
        assert {each.attempts for each in outbox.store.find()} == {0}
        assert outbox.store.status().messages == {State.QUEUED: 5}
    outbox.store.resume("default")
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        assert outbox.worker(mailer).run_once() == 5
        assert subjects(sink) == [f"Order {number}" for number in range(5)]


def test_a_mailer_that_raises_stops_the_mail_of_no_other(outbox: Outbox) -> None:
    def no_token() -> str:
        raise ConnectionError("the token endpoint is away")

    class Broken:
        aliases = ("broken", "good")

        def __init__(self, mailer: Mailer) -> None:
            self.mailer = mailer

        def deliver(self, alias: str, messages: Any, hooks: Any) -> Any:
            if alias == "broken":
                raise FileNotFoundError("no such CA file")
            return MailerDelivery({alias: self.mailer}).deliver(alias, messages, hooks)

    with Sink(extensions=[*EXTENSIONS, "AUTH XOAUTH2"]) as sink:
        url = f"smtp://127.0.0.1:{sink.port}"
        with (
            Mailer(url) as good,
            Mailer(url, username="a", token_provider=no_token) as without_token,
        ):
            for alias in ("broken", "good", "without"):
                outbox.enqueue(mail(alias), alias=alias)
            Worker(outbox.store, Broken(good), policy=outbox.policy).run_once()
            mailers = {"good": good, "without": without_token, "broken": good}
            outbox.worker(mailers).run_once()
        assert sink.messages[0].message["Subject"] == "good"
    states = {each.alias: each.state for each in outbox.store.find(address="ada@example.org")}
    assert states["good"] is State.ACCEPTED
    assert states["broken"] in (State.QUEUED, State.ACCEPTED)
    assert states["without"] is State.QUEUED


def test_a_message_that_cannot_be_prepared_is_parked_and_stops_no_other(
    outbox: Outbox, engine: Engine
) -> None:
    bad = outbox.enqueue(mail("bad"))
    outbox.enqueue(mail("good"))
    with engine.begin() as connection:
        statement = text("UPDATE outbox_message SET content = :content WHERE message_id = :id")
        connection.execute(statement, {"content": b"", "id": bad.message_id})
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        outbox.worker(mailer).run_once()
        assert subjects(sink) == ["good"]
    assert outbox.store.get(bad.id).state is State.PARKED
    [entry] = outbox.store.log(bad.id)
    assert "the content was erased" in entry.text


def test_a_message_that_kills_its_workers_is_parked_and_takes_no_other_along(
    outbox: Outbox, engine: Engine
) -> None:
    """The worker dies whenever it prepares the one message."""

    class Killed(BaseException):
        pass

    class Deadly:
        aliases = ("default",)

        def deliver(self, alias, messages, hooks):
            for message in messages:
                if message.subject == "poison":
                    raise Killed
                hooks.before_end([message])
                yield ((message, Receipt(message.pending, reply)),)

    class Dying(Worker):
        def _send_all(self, messages):  # SIGKILL releases nothing
            for alias in ("default",):
                self._send_group(alias, list(messages))

    reply = Reply(250)
    outbox.enqueue(mail("poison"))
    for number in range(10):
        outbox.enqueue(mail(f"good {number}"))
    for _ in range(12):
        with suppress(Killed):
            Dying(outbox.store, Deadly()).run_once()
        with engine.begin() as connection:
            connection.execute(text("UPDATE outbox_message SET lease_until = 1"))
        outbox.worker({}).sweep()
        make_due(outbox)
    status = outbox.store.status()
    assert status.messages == {State.ACCEPTED: 10, State.PARKED: 1}


def test_forty_messages_that_go_together_are_a_dozen_statements_and_three_commits(
    outbox: Outbox, engine: Engine
) -> None:
    class AtOnce:
        aliases = ("default",)

        def deliver(self, alias, messages, hooks):
            taken = list(messages)
            hooks.before_end(taken)
            yield [(each, Receipt(each.pending, Reply(250))) for each in taken]

    for number in range(40):
        outbox.enqueue(mail(f"Order {number}"))
    worker = Worker(outbox.store, AtOnce())
    worker.sweep()
    statements: list[str] = []
    commits: list[object] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    event.listen(engine, "commit", commits.append)
    assert worker._work()
    assert outbox.store.status().messages == {State.ACCEPTED: 40}
    del statements[-5:]  # of status()
    kinds = Counter(each.split()[0] for each in statements)
    begins = 3 if engine.dialect.name == "sqlite" else 0
    assert kinds == {"SELECT": 5, "UPDATE": 4, "INSERT": 1, **({"BEGIN": begins} if begins else {})}
    assert len(commits) == 3  # claimed, begun, and their outcomes


def test_sigterm_finishes_what_is_being_sent_and_releases_the_rest(
    outbox: Outbox, url: str
) -> None:
    for number in range(20):
        outbox.enqueue(mail(f"Order {number}"))
    with Sink() as sink:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", "mailbackends", "outbox", "--database", url),
                *("--server", f"smtp://127.0.0.1:{sink.port}", "work"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            sink.wait(lambda: len(sink.messages) >= 1, 60)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0, err
        assert "sends for default" in out
        assert "finishing what is being sent" in err
        count = len(sink.messages)
    expected = {State.ACCEPTED: count, State.QUEUED: 20 - count}
    assert outbox.store.status().messages == {s: n for s, n in expected.items() if n}


def test_on_unknown_ask_is_sent_without_dsn_to_a_server_that_has_none(outbox: Outbox) -> None:
    for extensions in (EXTENSIONS, (*EXTENSIONS, "DSN")):
        with (
            Sink(extensions=extensions) as sink,
            Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer,
        ):
            queued = outbox.enqueue(mail(), on_unknown="ask")
            assert outbox.worker(mailer).run_once() == 1
            assert (f"ENVID={queued.id}" in sink.message.mail_options) == ("DSN" in extensions)


def test_a_file_is_streamed_from_its_blob(outbox: Outbox, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    file.write_bytes(os.urandom(400_000))
    message = mail()
    message.make_mixed()
    message.attach(FileAttachment(file))
    queued = outbox.enqueue(message)
    content = file.read_bytes()
    file.unlink()
    assert len(outbox.store.get(queued.id).content) < 2000
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        outbox.worker(mailer).run_once()
        [attachment] = sink.message.message.iter_attachments()
        assert attachment.get_content() == content
    assert outbox.prune(older_than=0) == 1


def with_report(subject: str, report: Path) -> EmailMessage:
    message = mail(subject)
    message.make_mixed()
    message.attach(FileAttachment(report))
    return message


def test_a_blob_that_is_used_again_while_the_outbox_is_pruned_stays(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.pdf"
    report.write_bytes(os.urandom(300_000))
    first = outbox.enqueue(with_report("first", report))
    assert outbox.cancel(first.id)
    time.sleep(0.01)
    age_blobs(tmp_path / "blobs")
    in_use, queued = outbox.store.blobs_in_use, []

    def enqueueing(digests):
        used = in_use(digests)
        # Another process stores the same file after this one has looked.
        queued.append(outbox.enqueue(with_report("second", report)))
        return used

    monkeypatch.setattr(outbox.store, "blobs_in_use", enqueueing)
    assert outbox.prune(older_than=0) == 1
    assert len(queued) == 1
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        outbox.worker(mailer).run_once()
        assert subjects(sink) == ["second"]
    # Once nobody needs it, it goes.
    monkeypatch.undo()
    time.sleep(0.01)
    age_blobs(tmp_path / "blobs")
    assert outbox.prune(older_than=0) == 1
    assert list((tmp_path / "blobs").glob("??/*")) == []


def age_blobs(folder: Path) -> None:
    long_ago = time.time() - 3 * 86400
    for file in folder.glob("??/*"):
        os.utime(file, (long_ago, long_ago))


class Vanishing(DirectoryBlobs):
    """Blobs that cannot be read while ``are_gone`` returns True."""

    are_gone: Any = staticmethod(lambda: False)

    def open(self, digest: str) -> Any:
        if self.are_gone():
            raise FileNotFoundError("the disk is away")
        return super().open(digest)


ONE_AT_ONCE = (*EXTENSIONS, "LIMITS RCPTMAX=1")


@pytest.mark.parametrize("pipeline", [1, 3])
def test_who_was_accepted_in_one_part_gets_no_other_although_the_next_cannot_be_read(
    engine: Engine, tmp_path: Path, pipeline: int
) -> None:
    blobs = Vanishing(tmp_path / "blobs")
    outbox = Outbox(engine, blobs=blobs)
    outbox.create_tables()
    message = mail("Order", "ada@example.org", "bob@example.org")
    message.make_mixed()
    (tmp_path / "report.pdf").write_bytes(os.urandom(300_000))
    message.attach(FileAttachment(tmp_path / "report.pdf"))
    with (
        Sink(extensions=ONE_AT_ONCE) as sink,
        Mailer(f"smtp://127.0.0.1:{sink.port}", batch_pipeline=pipeline) as mailer,
    ):
        queued = outbox.enqueue(message)

        def states() -> list[str]:
            found = outbox.store.get(queued.id)
            return [found.state, *(each.state for each in found.recipients)]

        blobs.are_gone = lambda: len(sink.messages) >= 1
        outbox.worker(mailer).run_once()
        assert states() == ["queued", "accepted", "pending"]
        make_due(outbox)
        outbox.worker(mailer).run_once()
        assert states() == ["parked", "accepted", "pending"]
        assert "the disk is away" in outbox.store.log(queued.id)[-1].text
        blobs.are_gone = lambda: False
        assert outbox.resend(queued.id)
        outbox.worker(mailer).run_once()
        assert states() == ["accepted", "accepted", "accepted"]
        assert [each.rcpt_tos for each in sink.messages] == [
            ("ada@example.org",),
            ("bob@example.org",),
        ]
    outbox.close()


def test_each_part_is_committed_before_the_next_is_sent(outbox: Outbox) -> None:
    """Whatever is raised later, and although it says nothing: Ada has it."""
    seen: list[list[str]] = []

    class Deliverer:
        aliases = ("default",)

        def deliver(self, alias, messages, hooks):
            for message in messages:
                hooks.before_end([message])
                hooks.after_part(message, Receipt(("ada@example.org",), Reply(250)))
                [found] = outbox.store.find()
                seen.append([found.state, *(each.state for each in found.recipients)])
                hooks.before_end([message])
                yield ((message, RuntimeError("nonsense")),)

    queued = outbox.enqueue(mail("Order", "ada@example.org", "bob@example.org"))
    Worker(outbox.store, Deliverer()).run_once()
    assert seen == [["claimed", "accepted", "pending"]]
    found = outbox.store.get(queued.id)
    assert [found.state, *(each.state for each in found.recipients)] == [
        "unknown",
        "accepted",
        "unknown",
    ]
    assert [each.attempts for each in found.recipients] == [1, 1]


@pytest.mark.parametrize("is_lost", [False, True], ids=["database down", "lease lost"])
@pytest.mark.parametrize("last", ["accepted", "nothing sent"])
def test_a_part_that_could_not_be_recorded_at_once_is_recorded_with_the_outcome(
    outbox: Outbox, last: str, is_lost: bool
) -> None:
    """Ada has it for certain, and must not get it again."""

    class Deliverer:
        aliases = ("default",)

        def deliver(self, alias, messages, hooks):
            for message in messages:
                hooks.before_end([message])
                if is_lost:
                    with outbox.store.engine.begin() as connection:
                        connection.execute(text("UPDATE outbox_message SET lease_until = 1"))
                    assert worker.sweep() == 1
                with suppress(ConnectionError):
                    hooks.after_part(message, Receipt(("ada@example.org",), Reply(250)))
                try:
                    hooks.before_end([message])
                except LeaseLost as error:
                    failure = BeforeEndError("before_end raised LeaseLost")
                    failure.__cause__ = error
                    yield ((message, failure),)
                    continue
                error = RuntimeError("the token has expired")
                error.outcome = "not_sent"
                done = Receipt(("ada@example.org", "bob@example.org"), Reply(250))
                yield ((message, done if last == "accepted" else error),)

    queued = outbox.enqueue(mail("Order", "ada@example.org", "bob@example.org"))
    worker = Worker(outbox.store, Deliverer())
    record, failing = outbox.store.record, [] if is_lost else [ConnectionError("down")]

    def fail_once(change):
        if failing:
            raise failing.pop()
        return record(change)

    outbox.store.record = fail_once
    worker.run_once()
    found = outbox.store.get(queued.id)
    states = [found.state, *(each.state for each in found.recipients)]
    if last == "accepted" and not is_lost:
        assert states == ["accepted", "accepted", "accepted"]
    else:
        assert states == ["queued", "accepted", "pending"]
    assert found.recipients[0].attempts == (2 if is_lost else 1)


def test_who_one_server_took_is_recorded_before_the_next_server_is_tried(outbox: Outbox) -> None:
    recorded: list[list[str]] = []
    with Sink() as first, Sink() as second:
        first.refuse("bob@example.org", "451 4.2.1 mailbox busy")
        urls = [f"smtp://127.0.0.1:{each.port}" for each in (first, second)]
        with Mailer(urls) as mailer:
            queued = outbox.enqueue(mail("Order", "ada@example.org", "bob@example.org"))
            begin = outbox.store.begin

            def noting(messages, *, lease):
                recorded.append([str(r.state) for r in outbox.store.get(queued.id).recipients])
                begin(messages, lease=lease)

            outbox.store.begin = noting
            outbox.worker(mailer).run_once()
        assert [each.rcpt_tos for each in first.messages] == [("ada@example.org",)]
        assert [each.rcpt_tos for each in second.messages] == [("bob@example.org",)]
    assert recorded == [["pending", "pending"], ["accepted", "pending"]]
    assert outbox.store.get(queued.id).state is State.ACCEPTED


def test_threads_send_side_by_side_and_everything_once(outbox: Outbox) -> None:
    for number in range(60):
        outbox.enqueue(mail(f"Order {number}"))
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}", pool_size=4) as mailer:
        worker = outbox.worker(mailer, threads=4, batch=5, poll=0.05)
        thread = threading.Thread(target=worker.run)
        thread.start()
        sink.wait(lambda: len(sink.messages) >= 60, 60)
        worker.stop()
        thread.join()
        assert sorted(subjects(sink)) == sorted(f"Order {number}" for number in range(60))
    assert outbox.store.status().messages == {State.ACCEPTED: 60}


def test_cancel_resend_and_resolve(outbox: Outbox) -> None:
    queued = outbox.enqueue(mail(), at=timedelta(hours=1))
    assert outbox.cancel(queued.id, by="ada")
    with pytest.raises(ValueError, match="too late"):
        outbox.cancel(queued.id)
    assert outbox.resend(str(queued.id), by="ada")
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}", pool_size=1) as mailer:
        sink.hang_up()
        assert outbox.worker(mailer).run_once() == 1
    assert outbox.store.get(queued.id).state is State.UNKNOWN
    assert outbox.resolve(queued.id, arrived=True, by="ada", text="she answered")
    assert outbox.store.get(queued.id).state is State.ACCEPTED
    log = outbox.store.log(queued.id)
    assert [(e.kind, e.by) for e in log if e.by == "ada"] == [
        ("cancelled", "ada"),
        ("resent", "ada"),
        ("resolved", "ada"),
    ]
    with pytest.raises(ValueError, match="no message"):
        outbox.resend("01a220ea-3632-7891-9d5a-290f71a54dc1")


@pytest.mark.parametrize("reports", [1, 2])
def test_a_report_that_comes_while_the_reply_is_awaited_stays(outbox: Outbox, reports: int) -> None:
    class Deliverer:
        aliases = ("default",)

        def deliver(self, alias, messages, hooks):
            for message in messages:
                hooks.before_end([message])
                for address in message.pending[:reports]:
                    assert outbox.settle_unknown(message.id, address, "accepted", "report 17")
                yield ((message, SMTPDeliveryUnknown("no reply in time")),)

    message = mail("Order", "ada@example.org", "bob@example.org")
    queued = outbox.enqueue(message, on_unknown="ask")
    Worker(outbox.store, Deliverer()).run_once()
    found = outbox.store.get(queued.id)
    states = [found.state, *(each.state for each in found.recipients)]
    if reports == 1:
        assert states == ["unknown", "accepted", "unknown"]
    else:
        assert states == ["accepted", "accepted", "accepted"]


def test_a_report_settles_each_recipient_whose_outcome_is_unknown(outbox: Outbox) -> None:
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}", pool_size=1) as mailer:
        to = ("ada@example.org", "bob@Example.org", "eve@example.org")
        queued = outbox.enqueue(mail("Order", *to), on_unknown="ask")
        sink.hang_up()
        outbox.worker(mailer).run_once()
    assert outbox.store.get(queued.id).state is State.UNKNOWN
    assert outbox.settle_unknown(str(queued.id), "ada@EXAMPLE.org", "accepted", "report 17")
    assert outbox.store.get(queued.id).state is State.UNKNOWN
    # A second report, one about somebody else, and one about no message of ours.
    assert not outbox.settle_unknown(queued.id, "ada@example.org", "refused")
    assert not outbox.settle_unknown(queued.id, "zoe@example.org", "accepted")
    assert not outbox.settle_unknown("QQ314159", "ada@example.org", "accepted")
    assert not outbox.settle_unknown(uuid7(), "ada@example.org", "accepted")
    with pytest.raises(ConfigurationError, match="'accepted' or 'refused', got 'delayed'"):
        outbox.settle_unknown(queued.id, "bob@example.org", "delayed")
    assert outbox.settle_unknown(queued.id, "bob@example.org", "refused", "report 18")
    assert outbox.settle_unknown(queued.id, "eve@example.org", "refused", "report 19")
    found = outbox.store.get(queued.id)
    assert found.state is State.ACCEPTED
    assert [str(each.state) for each in found.recipients] == ["accepted", "refused", "refused"]
    entries = [each for each in outbox.store.log(queued.id) if each.kind == "settled"]
    assert [each.by for each in entries] == ["report 17", "report 18", "report 19"]


def test_a_report_that_comes_before_the_dead_workers_lease_expires_is_not_forgotten(
    outbox: Outbox,
) -> None:
    queued = outbox.enqueue(mail("Order", "ada@example.org", "bob@example.org"), on_unknown="ask")
    claimed = outbox.store.claim(1, lease=60, worker="w", aliases=["default"])
    assert not outbox.settle_unknown(queued.id, "ada@example.org", "accepted")  # not sent yet
    outbox.store.begin(claimed, lease=60)
    assert outbox.settle_unknown(queued.id, "ada@example.org", "accepted", "report 17")
    assert outbox.store.get(queued.id).state is State.BEGUN
    assert outbox.store.renew(claimed, lease=-1.0) == 1
    time.sleep(0.005)
    assert outbox.worker({}).sweep() == 1
    states = [str(each.state) for each in outbox.store.get(queued.id).recipients]
    assert states == ["accepted", "unknown"]


def test_a_login_code_is_sent_again_where_nobody_knows(outbox: Outbox) -> None:
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        queued = outbox.enqueue(mail(), on_unknown=OnUnknown.RESEND)
        sink.hang_up(times=1)
        outbox.worker(mailer).run_once()
        assert outbox.store.get(queued.id).state is State.QUEUED
        make_due(outbox)
        outbox.worker(mailer).run_once()
    assert outbox.store.get(queued.id).state is State.ACCEPTED


def test_a_connection_of_the_worker_that_the_database_ends_loses_nothing(
    outbox: Outbox, engine: Engine
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no server")
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        queued = [outbox.enqueue(mail(f"Order {n}")) for n in range(3)]
        store, ended = outbox.store, []
        record_all = store.record_all

        def ending(changes):
            if len(ended) < 2:
                ended.append(changes)
                with engine.connect() as connection:
                    connection.execute(
                        text(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                        )
                    )
            return record_all(changes)

        store.record_all = ending
        outbox.worker(mailer).run_once()
        assert len(ended) == 2
        assert sorted(subjects(sink)) == ["Order 0", "Order 1", "Order 2"]
    assert {outbox.store.get(each.id).state for each in queued} == {State.ACCEPTED}


def test_the_commands_print_json_and_their_exit_status_says_whether_to_look(
    outbox: Outbox, url: str
) -> None:
    outbox.enqueue(mail())

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "mailbackends", "outbox", "--database", url, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    done = command("status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == {"queued": 1}
    listed = command("list", "--address", "ada@example.org").stdout
    assert "queued 'Order'" in listed
    assert command("cancel", listed.split()[0]).returncode == 0
    assert command("cancel", listed.split()[0]).returncode == 1
    assert command("prune", "--older-than", "0").stdout == "1 message deleted\n"


@pytest.mark.parametrize("made", [Outbox, SQLAlchemySuppressionStore])
def test_a_url_that_cannot_be_used_shows_its_password_in_no_frame(made: Any) -> None:
    word = "-".join(("correct", "horse"))
    owner = made(f"nonsense://shop:{word}@db.example/mail")
    del word
    with pytest.raises(ConfigurationError, match="the database URL cannot be used") as caught:
        owner.create_tables()
    shown = TracebackException.from_exception(caught.value, capture_locals=True)
    assert "correct-horse" not in "".join(shown.format())


def make_due(outbox: Outbox) -> None:
    with outbox.store.engine.begin() as connection:
        connection.execute(text("UPDATE outbox_message SET due_at = 1"))
