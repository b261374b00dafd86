"""The command ``suppression``, the admin, the outbox's workers, and docs/suppression.md."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone

from django_integration.bounces import handle_report
from django_integration.fields import ExactCharField
from django_integration.outbox import enqueue
from django_integration.outbox.models import Message, Recipient
from django_integration.outbox.operations import outbox_store
from django_integration.suppression import suppression_list
from django_integration.suppression.models import SoftBounce, Suppression
from mailbackends import SMTPDeliveryUnknown
from mailbackends.outbox import recorded
from mailbackends.suppression import Reason, new_entry
from support.sink import Sink

Use = Callable[..., None]
Suppress = Callable[..., None]

ADA, BEN = "ada@example.net", "ben@example.net"
ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("suppression", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def failure(*arguments: str) -> str:
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("suppression", *arguments, stdout=out, stderr=out)
    return out.getvalue() + str(caught.value)


# The command


def test_add_check_remove_and_prune() -> None:
    assert run("add", "Ada@Example.NET", "--scope", "newsletter") == (
        "ada@example.net: manual, for the stream 'newsletter'.\n"
    )
    assert "gets mail." in run("check", ADA)
    with pytest.raises(SystemExit) as left:
        run("check", ADA, "--stream", "newsletter")
    assert left.value.code == 1
    run("remove", ADA)
    assert "1 addresses were not on the list" in failure("remove", ADA)
    suppression_list().add([new_entry(ADA, expires_at=timezone.now() - timedelta(1))])
    assert run("prune") == "1 entries were deleted.\n"


def test_what_cannot_be_added_is_refused() -> None:
    assert "is not an address that can be suppressed" in failure("add", "ada")
    assert "1 to 50 characters" in failure("add", ADA, "--scope", "")
    assert "--days must be more than 0" in failure("add", ADA, "--days", "-1")
    assert "invalid choice: 'bounced'" in failure("add", ADA, "--reason", "bounced")
    assert suppression_list().count() == 0


def test_rows_that_cannot_be_used_are_named_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(
        b"\xef\xbb\xbfaddress,reason\n"
        b"ada@example.net,complaint\n"
        b"ben\xff@example.net,\n"
        b"nobody,\n"
        b'"cat@example.net,\n'
    )
    shown = failure("import", str(file))
    assert "line 3: " in shown
    assert "line 4: 'nobody' is not an address" in shown
    assert "line 5: it is not CSV" in shown
    assert "1 addresses were imported." in shown
    assert "3 rows cannot be used" in shown
    assert "No such file" in failure("import", str(tmp_path / "none.csv"))
    file.write_text("name,phone\nAda,1\n")
    assert "no column is called 'address' in the first row (name, phone)" in failure(
        "import", str(file)
    )


def test_a_large_file_is_stored_in_batches_and_comes_out_again(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    file.write_text("".join(f"n{n:04}@example.net\n" for n in range(2500)))
    with CaptureQueriesContext(connection) as queries:
        assert "2500 addresses were imported." in run("import", str(file), "--reason", "complaint")
    inserts = [each for each in queries if each["sql"].startswith("INSERT")]
    assert 3 <= len(inserts) <= 40
    out = tmp_path / "out.csv"
    assert "2500 entries" in run("export", str(out))
    assert out.read_text().count("\n") == 2501
    assert run("export").count("complaint") == 2500


def test_every_subcommand_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import load_command_class

    for name in ("import", "export", "add", "remove", "check", "prune"):
        with pytest.raises(SystemExit):
            load_command_class("django_integration.suppression", "suppression").run_from_argv(
                ["manage.py", "suppression", name, "--help"]
            )
        assert f"suppression {name}" in capsys.readouterr().out


# The admin

URLS: Any = ModuleType("suppression_admin_urls")
LIST = "/admin/mailbackends_suppression/suppression/"


@pytest.fixture
def client_of(use_settings: Use, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Client]:
    monkeypatch.setitem(sys.modules, URLS.__name__, URLS)
    # Once the application is installed, and not before.
    URLS.urlpatterns = [path("admin/", admin.site.urls)]
    use_settings(ROOT_URLCONF=URLS.__name__, STATIC_URL="/static/")

    def client_of(*permissions: str) -> Client:
        user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return client_of


def test_the_admin_finds_adds_and_deletes_by_permission(
    client_of: Callable[..., Client], suppress: Suppress
) -> None:
    suppress(BEN, "newsletter")
    nobody, viewer = client_of(), client_of("view_suppression")
    assert nobody.get(LIST).status_code == 403
    shown = viewer.get(LIST, {"q": "BEN@Example.net"}).content.decode()
    assert "1 suppressed address" in shown
    assert BEN in shown
    assert "0 suppressed addresses" in viewer.get(LIST, {"q": "cat"}).content.decode()
    assert BEN not in viewer.get(LIST, {"scope": "all"}).content.decode()
    values = {"address": "Ada@Example.NET", "scope": "all", "reason": "manual", "detail": "asked"}
    assert viewer.post(f"{LIST}add/", values).status_code == 403
    editor = client_of("view_suppression", "add_suppression", "delete_suppression")
    assert editor.post(f"{LIST}add/", values).status_code == 302
    [entry] = suppression_list().check(ADA)
    assert entry.source.startswith("admin (staff")
    again = editor.post(f"{LIST}add/", values)
    assert "already exists" in again.content.decode()
    wrong = editor.post(f"{LIST}add/", {**values, "address": "ada"}).content.decode()
    assert "is not an address that can be suppressed" in wrong
    row = Suppression.objects.get(address=ADA)
    assert viewer.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert editor.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert suppression_list().check(ADA) == []


def test_the_columns_that_are_compared_compare_exactly_on_mysql_too() -> None:
    fields = [(Suppression, "address"), (Suppression, "scope"), (SoftBounce, "address")]
    for model, name in fields:
        assert isinstance(model._meta.get_field(name), ExactCharField)


def test_the_admin_exports_what_is_selected(
    client_of: Callable[..., Client], suppress: Suppress
) -> None:
    suppress("=ada@example.net")
    row = Suppression.objects.get()
    response = client_of("view_suppression").post(
        LIST, {"action": "export_as_csv", "_selected_action": [str(row.pk)]}
    )
    assert response["Content-Type"].startswith("text/csv")
    assert "\n'=ada@example.net,unsubscribed,all," in response.content.decode()


# The outbox


@pytest.fixture
def sink(use_settings: Use) -> Iterator[Sink]:
    with Sink(extensions=("PIPELINING", "DSN", "ENHANCEDSTATUSCODES")) as sink:
        use_settings(
            EMAIL_BACKEND="django_integration.outbox.EmailBackend",
            EMAIL_HOST=sink.host,
            EMAIL_PORT=sink.port,
            MAILBACKENDS={"outbox": {}},
        )
        yield sink


def queue(*to: str, stream: str | None = None, **options: Any) -> Any:
    made: Any = EmailMessage("News", "Hello", "shop@example.com", list(to))
    made.stream = stream
    return enqueue(made, **options).id


def work() -> None:
    call_command("outbox", "work", "--once", stdout=io.StringIO())


def rows() -> dict[str, tuple[str, str]]:
    return {row.address: (row.state, row.text) for row in Recipient.objects.all()}


def test_a_worker_asks_when_it_sends_and_records_each_recipient(
    sink: Sink, suppress: Suppress
) -> None:
    queue(ADA, BEN, stream="newsletter")
    only = queue(BEN, stream="newsletter")
    queue(BEN, stream="orders")
    suppress(BEN, "newsletter")  # after it was queued
    work()
    assert sorted(each.rcpt_tos for each in sink.messages) == [(ADA,), (BEN,)]
    states = dict(Message.objects.values_list("id", "state"))
    assert states[only] == "suppressed"
    assert sorted(states.values()) == ["accepted", "accepted", "suppressed"]
    [text] = Recipient.objects.filter(message_id=only).values_list("text", flat=True)
    assert text == "unsubscribed, for the stream 'newsletter'"
    entry = outbox_store().log(only)[-1]
    assert "suppressed" in entry.text


def test_a_workers_batch_is_one_query_of_the_list(sink: Sink, suppress: Suppress) -> None:
    for number in range(20):
        queue(f"n{number}@example.net", stream="newsletter")
    suppress("n7@example.net", "newsletter")
    with CaptureQueriesContext(connection) as queries:
        work()
    table = Suppression._meta.db_table
    assert sum(f'FROM "{table}"' in each["sql"] for each in queries) == 1
    assert len(sink.messages) == 19


def test_a_suppressed_message_that_is_resent_after_the_entry_was_removed_is_sent(
    sink: Sink, suppress: Suppress
) -> None:
    from django_integration.outbox.operations import resend

    suppress(ADA)
    id = queue(ADA)
    work()
    assert sink.connections == 0
    suppression_list().remove(ADA)
    resend(id, by="ada")
    work()
    assert [each.rcpt_tos for each in sink.messages] == [(ADA,)]
    assert rows()[ADA][0] == "accepted"


def test_a_list_that_cannot_be_asked_makes_mail_wait(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OSError("the database is gone")

    queue(ADA)
    monkeypatch.setattr(suppression_list(), "_entries", fail)
    work()
    assert sink.connections == 0
    assert Message.objects.get().state == "queued"
    assert Message.objects.get().attempts == 0


def dsn(envelope_id: Any, address: str, action: str, status: str) -> bytes:
    return (
        "From: mailer-daemon@example.net\nTo: shop@example.com\n"
        "Content-Type: multipart/report; boundary=b\n\n--b\n"
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.test\n"
        f"Original-Envelope-Id: {envelope_id}\n\n"
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\n\n--b--\n"
    ).encode()


def unknown(id: Any) -> None:
    """Let the outcome of a claimed message be unknown, as after a broken connection."""
    store = outbox_store()
    [claimed] = store.claim(1, lease=60, worker="w", aliases=["outbox"])
    store.begin([claimed], lease=60)
    assert store.record(recorded(claimed, SMTPDeliveryUnknown("gone"), worker="w"))
    assert Message.objects.get(id=id).state == "unknown"


@pytest.mark.usefixtures("sink")
def test_delivery_status_notifications_settle_unknown_outcomes_per_recipient() -> None:
    id = queue(ADA, BEN, on_unknown="ask")
    unknown(id)
    handle_report(dsn(id, "cat@example.net", "delivered", "2.0.0"))
    handle_report(dsn(id, ADA, "delayed", "4.4.1"))
    handle_report(dsn("0196b2f5-0000-7000-8000-000000000000", ADA, "delivered", "2.0.0"))
    handle_report(dsn("x" * 500, ADA, "delivered", "2.0.0"))
    assert {state for state, _ in rows().values()} == {"unknown"}
    handle_report(dsn(id, ADA, "relayed", "2.0.0"))
    assert Message.objects.get(id=id).state == "unknown"
    assert (rows()[ADA][0], rows()[BEN][0]) == ("accepted", "unknown")
    handle_report(dsn(id, BEN, "failed", "5.1.1"))
    assert (rows()[ADA][0], rows()[BEN][0]) == ("accepted", "refused")
    assert Message.objects.get(id=id).state == "accepted"
    handle_report(dsn(id, BEN, "delivered", "2.0.0"))  # too late: it is known
    assert rows()[BEN][0] == "refused"


def test_the_notification_is_asked_for_with_the_rows_id(sink: Sink) -> None:
    id = queue(ADA, on_unknown="ask")
    work()
    assert f"ENVID={id}" in sink.message.mail_options
    assert any(each.startswith("NOTIFY=SUCCESS") for each in sink.message.rcpt_options)


# docs/suppression.md


def test_the_pages_blocks_for_django_work(use_settings: Use) -> None:
    from project.test_code_blocks import block, execute

    page = "docs/suppression.md"
    names: dict[str, Any] = execute(block(page, "INSTALLED_APPS"), INSTALLED_APPS=[])
    assert names["INSTALLED_APPS"] == ["django_integration.suppression"]
    for contains in ('{"exempt": ["password_reset"]}', '"soft_bounces": 3'):
        settings = execute(block(page, contains))["MAILBACKENDS_SUPPRESSION"]
        use_settings(MAILBACKENDS_SUPPRESSION=settings)
        assert "password_reset" in suppression_list().exempt
    assert suppression_list().policy.soft_bounces == 3
    assert suppression_list().policy.refusals
    suppression_list().add([new_entry(ADA, Reason.COMPLAINT)])
    execute(block(page, "from django_integration.suppression import"))
    assert [each.reason for each in suppression_list().check(ADA)] == [Reason.COMPLAINT]
