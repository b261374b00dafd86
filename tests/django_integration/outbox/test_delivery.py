"""Workers: from the row to a real server, and what becomes of each message."""

from __future__ import annotations

import io
import os
import signal
import smtplib
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.core.management import CommandError, call_command
from django.db import connections

from django_integration.outbox import enqueue, settle_unknown
from django_integration.outbox.models import Message, Pause, Worker
from django_integration.outbox.operations import outbox_store
from django_integration.outbox.signals import message_settled
from django_integration.outbox.store import DjangoStore
from django_integration.outbox.working import OutboxWorker
from mailbackends.outbox import State
from support.face import STALL
from support.server import MailServer
from support.sink import Sink

Use = Callable[..., None]

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def use_outbox(server: MailServer, use_settings: Use) -> Use:
    """Let all mail be queued for ``server``; call it for other settings."""

    def use(to: Any = server, **outbox: Any) -> None:
        use_settings(
            EMAIL_BACKEND="django_integration.outbox.EmailBackend",
            EMAIL_HOST=to.host,
            EMAIL_PORT=to.port,
            MAILBACKENDS={"outbox": outbox},
        )

    use()
    return use


def queue(*to: str, subject: str = "Your order", **options: Any) -> UUID:
    message = EmailMultiAlternatives(subject, "The text", to=to or ("ada@example.com",))
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.txt", "file", "text/plain")
    return enqueue(message, **options).id


def work() -> str:
    out = io.StringIO()
    call_command("outbox", "work", "--once", stdout=out)
    return out.getvalue()


def states() -> list[str]:
    return [row.state for row in Message.objects.order_by("id")]


def make_due() -> None:
    """Let time pass: retries are due, pauses are over."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    Message.objects.filter(state="queued").update(due_at=past)
    Pause.objects.update(until=past)


def test_a_worker_delivers_what_was_queued(server: MailServer) -> None:
    first, second = queue(), queue("bob@example.com", "eve@example.com")
    assert "2 messages" in work()
    assert states() == ["accepted", "accepted"]
    assert [each.rcpt_tos for each in server.messages] == [
        ("ada@example.com",),
        ("bob@example.com", "eve@example.com"),
    ]
    assert server.connections == 1
    row = Message.objects.get(id=first)
    assert server.messages[0].message["Message-ID"] == row.message_id
    recipient = row.recipients.get()
    assert recipient.reply.startswith("250 2.0.0 Ok: queued as")
    assert recipient.attempts == row.attempts == 1
    assert row.log.get().kind == "attempt"
    assert Message.objects.get(id=second).lease_by == ""
    assert "0 messages" in work()


def test_what_was_rolled_back_or_cancelled_or_is_for_later_is_not_sent(server: MailServer) -> None:
    later = queue(at=timedelta(hours=1))
    call_command("outbox", "cancel", str(queue()), stdout=io.StringIO())
    work()
    assert server.messages == []
    assert states() == ["queued", "cancelled"]
    Message.objects.filter(id=later).update(due_at=datetime.now(UTC))
    work()
    assert states() == ["accepted", "cancelled"]


def test_only_the_recipients_who_are_left_get_another_attempt(server: MailServer) -> None:
    server.refuse("later@example.com", "450 4.2.1 Later", times=1)
    server.refuse("gone@example.com")
    id = queue("ada@example.com", "later@example.com", "gone@example.com")
    work()
    row = Message.objects.get(id=id)
    assert row.state == "queued"
    assert row.due_at > row.updated_at
    make_due()
    work()
    assert [each.rcpt_tos for each in server.messages] == [
        ("ada@example.com",),
        ("later@example.com",),
    ]
    found = {each.address: (each.state, each.code) for each in row.recipients.all()}
    assert found == {
        "ada@example.com": ("accepted", 250),
        "later@example.com": ("accepted", 250),
        "gone@example.com": ("refused", 550),
    }
    assert Message.objects.get(id=id).state == "accepted"
    assert [entry.kind for entry in row.log.all()] == ["attempt", "attempt"]


def test_a_refusal_for_good_is_final_and_signalled(server: MailServer) -> None:
    settled: list[Any] = []

    def note(**given: Any) -> None:
        settled.append((given["id"], given["state"]))

    message_settled.connect(note)
    try:
        server.refuse("gone@example.com")
        id = queue("gone@example.com")
        work()
    finally:
        message_settled.disconnect(note)
    assert settled == [(id, State.REFUSED)]
    assert "No such user" in Message.objects.get(id=id).reason


def test_a_server_that_cannot_be_reached_pauses_all_its_mail(use_outbox: Use) -> None:
    with MailServer() as gone:
        pass
    use_outbox(to=gone)
    for _ in range(20):
        queue()
    work()
    assert states() == ["queued"] * 20
    pause = Pause.objects.get()
    assert (pause.alias, pause.failures) == ("outbox", 1)
    assert sum(row.attempts for row in Message.objects.all()) == 0
    Pause.objects.update(until=datetime.now(UTC) - timedelta(seconds=1))
    make_due()
    work()
    assert Pause.objects.get().failures == 2


def test_mail_goes_on_once_the_server_is_back(use_outbox: Use, server: MailServer) -> None:
    with MailServer() as gone:
        pass
    use_outbox(to=gone)
    queue()
    work()
    use_outbox(to=server)
    make_due()
    work()
    assert states() == ["accepted"]
    assert not Pause.objects.exists()


def test_a_connection_that_breaks_at_the_end_leaves_the_outcome_unknown(
    server: MailServer,
) -> None:
    server.hang_up("content", times=2)
    held, again = queue(), queue(on_unknown="resend")
    work()
    assert Message.objects.get(id=held).state == "unknown"
    assert Message.objects.get(id=again).state == "queued"
    make_due()
    work()
    assert Message.objects.get(id=again).state == "accepted"
    call_command("outbox", "resolve", "--arrived", str(held), stdout=io.StringIO())
    row = Message.objects.get(id=held)
    assert row.state == "accepted"
    entry = row.log.last()
    assert entry is not None
    assert entry.by.startswith("manage.py")


def test_a_report_settles_an_unknown_outcome(server: MailServer) -> None:
    server.hang_up("content")
    id = queue(on_unknown="ask")
    work()
    assert states() == ["unknown"]
    assert not settle_unknown(id, "bob@example.com", "accepted")
    assert settle_unknown(str(id), "ada@EXAMPLE.com", "accepted", "report 17")
    assert states() == ["accepted"]
    entry = Message.objects.get().log.last()
    assert entry is not None
    assert (entry.kind, entry.by) == ("settled", "report 17")
    assert not settle_unknown(id, "ada@example.com", "refused")


def test_a_message_that_cannot_be_read_is_parked_and_blocks_nothing(
    server: MailServer, use_outbox: Use, tmp_path: Path
) -> None:
    use_outbox(blobs=tmp_path / "blobs", inline_limit=1000)
    message = EmailMultiAlternatives("s", "b" * 5000, to=["ada@example.com"])
    message.attach("a.bin", b"\0" * 5000, "application/octet-stream")
    broken = enqueue(message).id
    for file in (tmp_path / "blobs").glob("*/*"):
        file.unlink()
    queue()
    work()
    row = Message.objects.get(id=broken)
    assert (row.state, "blob" in row.reason) == ("parked", True)
    assert states().count("accepted") == 1


def test_a_blob_that_is_used_again_while_the_outbox_is_pruned_stays(
    server: MailServer,
    use_outbox: Use,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_outbox(blobs=tmp_path / "blobs", inline_limit=1000)

    def with_file() -> EmailMultiAlternatives:
        message = EmailMultiAlternatives("s", "b", to=["ada@example.com"])
        message.attach("a.bin", bytes(5000), "application/octet-stream")
        return message

    enqueue(with_file())
    Message.objects.all().delete()
    for file in (tmp_path / "blobs").glob("??/*"):
        os.utime(file, (0, 0))
    in_use = DjangoStore.blobs_in_use

    def enqueueing(self: DjangoStore, digests: Any) -> set[str]:
        used = in_use(self, digests)
        enqueue(with_file())  # by another process, after this one has looked
        return used

    monkeypatch.setattr(DjangoStore, "blobs_in_use", enqueueing)
    call_command("outbox", "prune", stdout=io.StringIO())
    work()
    assert states() == ["accepted"]
    monkeypatch.undo()
    Message.objects.all().delete()
    for file in (tmp_path / "blobs").glob("??/*"):
        os.utime(file, (0, 0))
    call_command("outbox", "prune", stdout=io.StringIO())
    assert list((tmp_path / "blobs").glob("??/*")) == []


def test_content_is_erased_once_it_was_accepted(server: MailServer, use_outbox: Use) -> None:
    use_outbox(erase_content=True)
    id = queue()
    work()
    row = Message.objects.get(id=id)
    assert row.state == "accepted"
    assert bytes(row.content) == b""
    with pytest.raises(CommandError):
        call_command("outbox", "resend", "--everyone", str(id), stderr=io.StringIO())


def test_a_message_is_sent_again_by_address(server: MailServer) -> None:
    queue()
    work()
    call_command("outbox", "resend", "--everyone", "ada@example.com", stdout=io.StringIO())
    work()
    assert len(server.messages) == 2
    with pytest.raises(CommandError):
        call_command("outbox", "resend", "nobody@example.com", stderr=io.StringIO())


def test_a_missing_mailer_makes_mail_wait_with_the_reason(use_outbox: Use) -> None:
    queue()
    use_outbox(backend="shop.NoSuchBackend")
    work()
    assert states() == ["queued"]
    assert "shop" in Pause.objects.get().reason


# --- Backends that are not ours --------------------------------------------------------------


def test_djangos_own_smtp_backend_delivers(server: MailServer, use_outbox: Use) -> None:
    use_outbox(backend="django.core.mail.backends.smtp.EmailBackend")
    server.refuse("gone@example.com")
    server.refuse("later@example.com", "450 4.2.1 Later", times=1)
    queue(), queue("gone@example.com"), queue("later@example.com")
    work()
    assert states() == ["accepted", "refused", "queued"]
    assert "No such user" in Message.objects.order_by("id")[1].reason
    received = server.messages[0]
    assert received.message["Message-ID"] == Message.objects.order_by("id")[0].message_id
    make_due()
    work()
    assert states() == ["accepted", "refused", "accepted"]


def test_djangos_backend_that_cannot_connect_has_sent_nothing(use_outbox: Use) -> None:
    with MailServer() as gone:
        pass
    use_outbox(to=gone, backend="django.core.mail.backends.smtp.EmailBackend")
    queue()
    work()
    assert states() == ["queued"]
    assert Pause.objects.count() == 1


def test_a_backend_gets_the_parts_of_the_message(use_outbox: Use) -> None:
    mail.outbox = []
    use_outbox(backend="django.core.mail.backends.locmem.EmailBackend")
    message = EmailMultiAlternatives(
        "Grüße", "Text ü", "Shop <shop@example.com>", ["Ada <ada@example.com>"],
        bcc=["secret@example.com"], cc=["c@example.com"], headers={"X-Order": "4711"},
    )  # fmt: skip
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.bin", b"\0\1", "application/octet-stream")
    enqueue(message)
    work()
    [got] = mail.outbox
    assert isinstance(got, EmailMultiAlternatives)
    assert (got.subject, got.body.strip()) == ("Grüße", "Text ü")
    assert got.to == ["Ada <ada@example.com>"]
    assert (got.cc, got.bcc) == (["c@example.com"], ["secret@example.com"])
    assert got.from_email == "Shop <shop@example.com>"
    assert got.extra_headers["X-Order"] == "4711"
    [(html, kind)] = got.alternatives
    assert (html.strip(), kind) == ("<p>HTML</p>", "text/html")
    [attached] = got.attachments
    assert tuple(attached) == ("a.bin", b"\0\1", "application/octet-stream")
    assert got.recipients() == ["ada@example.com", "c@example.com", "secret@example.com"]


class Failing(BaseEmailBackend):
    """Raises what a test sets."""

    error: Exception | None = None

    def send_messages(self, email_messages: Any) -> int:
        assert [row.state for row in Message.objects.all()] == ["begun"]
        if self.error is not None:
            raise self.error
        return 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (smtplib.SMTPServerDisconnected("gone"), "unknown"),
        (RuntimeError("the provider answered nonsense"), "unknown"),
        (smtplib.SMTPDataError(554, b"5.6.0 Not this"), "refused"),
        (smtplib.SMTPDataError(451, b"4.3.0 Later"), "queued"),
        (None, "queued"),
    ],
)
def test_another_backend_has_the_outcomes_that_are_certain(
    use_outbox: Use, error: Exception | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "outbox_failing", sys.modules[__name__])
    monkeypatch.setattr(Failing, "error", error)
    use_outbox(backend="outbox_failing.Failing")
    queue()
    work()
    assert states() == [state]


# --- Workers as processes --------------------------------------------------------------------

_PROGRAM = """
    import sys
    from django.conf import settings
    settings.configure(
        SECRET_KEY="for the tests",
        INSTALLED_APPS=["django_integration", "django_integration.outbox"],
        DATABASES={databases!r},
        EMAIL_BACKEND="django_integration.outbox.EmailBackend",
        EMAIL_HOST={host!r}, EMAIL_PORT={port!r},
        USE_TZ=True,
    )
    import warnings
    warnings.simplefilter("ignore")
    import django
    django.setup()
    from django.core.management import call_command
    call_command("outbox", "work", *sys.argv[1:])
"""


@contextmanager
def worker(to: Any, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    config = {
        name: value
        for name, value in connections["default"].settings_dict.items()
        if name in ("ENGINE", "NAME", "USER", "HOST", "PORT", "OPTIONS")
    }
    source = textwrap.dedent(_PROGRAM).format(
        databases={"default": config}, host=to.host, port=to.port
    )
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", source, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def expire_leases() -> None:
    Message.objects.filter(state__in=["claimed", "begun"]).update(
        lease_until=datetime.now(UTC) - timedelta(seconds=1)
    )


def test_a_worker_killed_before_the_end_loses_and_doubles_nothing(use_outbox: Use) -> None:
    with Sink() as sink:
        use_outbox(to=sink)
        sink.answer("MAIL", STALL)
        queue()
        with worker(sink, "--once") as process:
            until(lambda: any("MAIL" in line for one in sink.commands for line in one))
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
        assert states() == ["claimed"]
        expire_leases()
        work()
        assert states() == ["accepted"]
        assert len(sink.messages) == 1


def test_a_worker_killed_between_the_end_and_the_reply_leaves_the_outcome_unknown(
    use_outbox: Use,
) -> None:
    with Sink() as sink:
        use_outbox(to=sink)
        sink.refuse_content(STALL)
        queue()
        with worker(sink, "--once") as process:
            until(lambda: states() == ["begun"])
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
        expire_leases()
        work()
        assert states() == ["unknown"]
        assert "may have been delivered" in Message.objects.get().reason
        assert sink.messages == []


def test_a_worker_delivers_new_messages_and_ends_cleanly_on_sigterm(server: MailServer) -> None:
    with worker(server) as process:
        until(lambda: Worker.objects.exists())
        queue()
        server.wait(lambda: len(server.messages) == 1, 20)
        until(lambda: states() == ["accepted"])
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.rstrip().endswith("Stopped.")
    assert not Worker.objects.exists()


def test_a_worker_waits_for_notify_on_postgresql(server: MailServer, database: str) -> None:
    if database != "postgresql":
        pytest.skip("SQLite cannot notify")
    mine = OutboxWorker(outbox_store(), poll=60)

    def run() -> None:
        try:
            mine.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: mine._rows._listener._connection is not None)
        queue()
        # Without a notification this would take a minute.
        until(lambda: states() == ["accepted"])
    finally:
        mine.stop()
        queue()
        thread.join(20)
    assert not thread.is_alive()


def test_a_database_that_ends_the_connections_is_no_end_of_the_worker(
    server: MailServer, database: str
) -> None:
    if database != "postgresql":
        pytest.skip("SQLite has no server")
    with worker(server) as process:
        until(lambda: Worker.objects.exists())
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        queue()
        until(lambda: states() == ["accepted"], 40)
        assert process.poll() is None


def test_status_is_shown_for_people_and_for_programs(server: MailServer) -> None:
    queue(), queue(at=timedelta(hours=1))
    work()
    out = io.StringIO()
    call_command("outbox", "status", "--days", "1", stdout=out)
    assert "accepted" in out.getvalue()
    assert "1 accepted" in out.getvalue()
    out = io.StringIO()
    call_command("outbox", "status", "--json", stdout=out)
    assert '"accepted": 1' in out.getvalue()


def test_old_messages_are_pruned(server: MailServer) -> None:
    queue(), queue(at=timedelta(hours=1))
    work()
    call_command("outbox", "prune", stdout=io.StringIO())
    assert Message.objects.count() == 2
    out = io.StringIO()
    call_command("outbox", "prune", "--state", "accepted", "--older-than", "0", stdout=out)
    assert "1 message deleted" in out.getvalue()
    assert states() == ["queued"]
    with pytest.raises(CommandError, match="given together"):
        call_command("outbox", "prune", "--state", "accepted")
