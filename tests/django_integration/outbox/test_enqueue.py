"""Queueing: the backend and `enqueue`, in the caller's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, mail_admins, send_mail
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_integration import BatchError, SendCancelled, attach_path, pre_send
from django_integration.compat import backend_for
from django_integration.outbox import aenqueue, enqueue
from django_integration.outbox.models import Message, Recipient
from mailbackends import ConfigurationError, Email, InvalidAddressError, InvalidMessageError
from mailbackends.outbox import KeyReusedError, Queued

Use = Callable[..., None]
BACKEND = "django_integration.outbox.EmailBackend"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(params=["EMAIL_*"] + ["MAILERS"] * (django.VERSION >= (6, 1)), autouse=True)
def use_outbox(request: pytest.FixtureRequest, use_settings: Use) -> Use:
    """Let all mail be queued; call it for other settings."""

    def use(**outbox: Any) -> None:
        if request.param == "EMAIL_*":
            use_settings(
                EMAIL_BACKEND=BACKEND,
                EMAIL_HOST="smtp.example.com",
                MAILBACKENDS={"outbox": outbox},
            )
            return
        smtp = {"BACKEND": "django_integration.EmailBackend"}
        smtp["OPTIONS"] = {"host": "smtp.example.com"}  # type: ignore[assignment]
        mailers = {"default": {"BACKEND": BACKEND, "OPTIONS": {"via": "smtp"}}, "smtp": smtp}
        use_settings(MAILERS=mailers, MAILBACKENDS={"outbox": outbox})
        if hasattr(settings, "EMAIL_BACKEND"):
            del settings.EMAIL_BACKEND

    use()
    return use


def forget_connections() -> None:
    connections.close_all()
    for alias in connections:
        if hasattr(connections._connections, alias):
            del connections[alias]


def message(**values: Any) -> EmailMessage:
    given = {"subject": "Your order", "body": "It is on its way.", "to": ["ada@example.com"]}
    return EmailMessage(**{**given, **values})


def test_send_mail_queues_and_connects_to_nothing() -> None:
    assert send_mail("Hello", "Grüße", None, ["ada@example.com", "bob@example.com"]) == 1
    [row] = Message.objects.all()
    assert (row.state, row.subject, row.sender) == ("queued", "Hello", "shop@example.com")
    assert row.alias == ("smtp" if "MAILERS" in dir(settings) else "outbox")
    assert [each.address for each in row.recipients.all()] == ["ada@example.com", "bob@example.com"]
    content = bytes(row.content)
    assert content.isascii()
    parsed = message_from_bytes(content, policy=policy.default)
    assert parsed.get_content().rstrip("\n") == "Grüße"
    assert parsed["Message-ID"] == row.message_id
    assert row.size == len(content)


def test_the_receipt_says_that_it_is_queued() -> None:
    mail = message()
    assert mail.send() == 1
    receipt: Any = mail.receipt  # type: ignore[attr-defined]
    assert isinstance(receipt, Queued)
    assert receipt.outcome == "pending"
    assert receipt.id == Message.objects.get().id
    assert mail.send_error is None  # type: ignore[attr-defined]


def test_an_email_of_the_core_is_queued_as_it_is() -> None:
    given = Email(
        subject="Ihre Bestellung für 3 €",
        sender="shop@example.com",
        to="ada@example.com",
        bcc="log@example.com",
        text="Grüße\n",
        attachments=[("a.pdf", b"%PDF")],
    )
    receipt = enqueue(given)
    row = Message.objects.get()
    assert row.message_id == receipt.message_id == given.message_id
    assert {each.address for each in row.recipients.all()} == {"ada@example.com", "log@example.com"}
    parsed = message_from_bytes(bytes(row.content), policy=policy.default)
    assert parsed["Subject"] == given.subject
    assert [part.get_content_type() for part in parsed.walk()][1:] == [
        *("text/plain", "application/pdf"),
    ]


def test_blind_copies_are_in_the_envelope_only() -> None:
    message(bcc=["secret@example.com"]).send()
    row = Message.objects.get()
    assert b"secret" not in bytes(row.content)
    assert {each.address for each in row.recipients.all()} == {
        "ada@example.com",
        "secret@example.com",
    }


@pytest.mark.parametrize("recipients", [1, 50])
def test_a_message_is_one_round_trip_on_postgresql_and_two_statements_elsewhere(
    recipients: int, database: str
) -> None:
    mail = message(to=[f"{number}@example.com" for number in range(recipients)])
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        mail.send()
    assert len(queries) == (1 if database == "postgresql" else 2)
    assert Recipient.objects.count() == recipients


def test_a_hundred_messages_are_one_round_trip_on_postgresql(database: str) -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        assert backend_for().send_messages([message() for _ in range(100)]) == 100
    assert database != "postgresql" or len(queries) == 1
    assert Message.objects.count() == 100


def test_a_rollback_leaves_nothing() -> None:
    def view() -> None:
        with transaction.atomic():
            message().send()
            enqueue(message(), key="order-1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        view()
    assert Message.objects.count() == Recipient.objects.count() == 0


def test_what_cannot_be_sent_is_refused_with_the_same_error() -> None:
    for mail, error in (
        (message(to=["ada example.com"]), InvalidAddressError),
        (message(subject="a\nBcc: b@example.com"), InvalidMessageError),
    ):
        with pytest.raises(error):
            mail.send()
        with pytest.raises(error):
            enqueue(mail)
    with pytest.raises(SendCancelled):
        enqueue(message(to=[]))
    assert Message.objects.count() == 0


def test_one_invalid_message_does_not_stop_the_others() -> None:
    good, bad = message(), message(to=["ada example.com"])
    with pytest.raises(BatchError) as caught:
        backend_for().send_messages([bad, good])
    assert [each for each, _ in caught.value.failed] == [bad]
    assert Message.objects.count() == 1
    assert good.receipt is not None  # type: ignore[attr-defined]
    assert bad.receipt is None  # type: ignore[attr-defined]


def test_a_key_queues_a_message_once() -> None:
    first = enqueue(message(), key="order-1")
    second = enqueue(message(), key="order-1")
    assert (first.is_new, second.is_new) == (True, False)
    assert second.id == first.id
    assert second.message_id == first.message_id
    assert Recipient.objects.count() == 1
    with pytest.raises(KeyReusedError):
        enqueue(message(body="Another"), key="order-1")


def test_options_of_a_message_are_stored() -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    enqueue(
        message(), at=at, expires=at + timedelta(hours=1), priority="urgent", on_unknown="resend"
    )
    row = Message.objects.get()
    assert row.not_before == row.due_at == at
    assert row.expires_at == at + timedelta(hours=1)
    assert (row.priority, row.on_unknown) == (3, "resend")
    with pytest.raises(ConfigurationError, match="'urgent'"):
        enqueue(message(), priority="soon")


def test_settings_give_the_defaults(use_outbox: Use) -> None:
    use_outbox(priority="low", on_unknown="resend", retry={"lifetime": 3600})
    message().send()
    row = Message.objects.get()
    assert (row.priority, row.on_unknown) == (0, "resend")
    assert timedelta(minutes=59) < row.expires_at - row.created_at < timedelta(minutes=61)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"on_unknwon": "hold"}, "Did you mean 'on_unknown'"),
        ({"on_unknown": "ignore"}, "'hold', 'resend', 'ask'"),
        ({"lease": 1}, "10 seconds or more"),
        ({"retry": {"fist": 3}}, "first"),
        ({"keep": {"queued": 3}}, "unknown state 'queued'"),
        ({"erase_content": "yes"}, "True or False"),
    ],
)
def test_wrong_settings_are_refused_by_name(
    use_outbox: Use, given: dict[str, Any], words: str
) -> None:
    use_outbox(**given)
    with pytest.raises(ImproperlyConfigured, match=r"MAILBACKENDS\['outbox'\]") as caught:
        message().send()
    assert words in str(caught.value)


def test_a_receiver_of_pre_send_may_change_or_cancel_a_message() -> None:
    def mark(message: EmailMessage, **kwargs: Any) -> None:
        if message.subject == "no":
            raise SendCancelled("not this one")
        message.extra_headers["Auto-Submitted"] = "auto-generated"

    pre_send.connect(mark)
    try:
        assert message(subject="no").send() == 0
        enqueue(message())
    finally:
        pre_send.disconnect(mark)
    assert b"Auto-Submitted: auto-generated" in bytes(Message.objects.get().content)


def test_a_large_attachment_is_stored_outside_of_the_row(use_outbox: Use, tmp_path: Path) -> None:
    use_outbox(blobs=tmp_path / "blobs")
    file = tmp_path / "report.bin"
    file.write_bytes(b"\0\1\2\3" * 250_000)
    mail = message()
    attach_path(mail, file)
    mail.send()
    row = Message.objects.get()
    assert len(bytes(row.content)) < 10_000
    assert row.size > 1_300_000
    [stored] = (tmp_path / "blobs").glob("*/*")
    assert stored.read_bytes() == file.read_bytes()


def test_mail_to_admins_is_queued(use_settings: Use) -> None:
    admin: Any = "operator@example.com"
    use_settings(ADMINS=[admin if django.VERSION >= (6, 0) else ("Operator", admin)])
    mail_admins("An error", "It failed.")
    assert Message.objects.get().recipients.get().address == "operator@example.com"


def test_djangos_password_reset_is_queued(use_settings: Use) -> None:
    use_settings(ROOT_URLCONF="django.contrib.auth.urls")
    User.objects.create_user("ada", "ada@example.com", "secret")
    form = PasswordResetForm({"email": "ada@example.com"})
    assert form.is_valid()
    form.save(domain_override="example.com")
    row = Message.objects.get()
    assert row.recipients.get().address == "ada@example.com"
    parsed = message_from_bytes(bytes(row.content), policy=policy.default)
    assert "/reset/" in parsed.get_content()


def test_a_message_is_queued_from_an_async_view() -> None:
    async def view() -> Queued:
        # The thread for synchronous code may have a connection from the test before.
        await sync_to_async(forget_connections)()
        try:
            return await aenqueue(message(), key="async")
        finally:
            await sync_to_async(forget_connections)()

    assert asyncio.run(view()).is_new
    assert Message.objects.count() == 1


@pytest.mark.filterwarnings("ignore:The 'auth_user'")
def test_a_login_for_one_call_is_refused() -> None:
    if "MAILERS" in dir(settings):
        pytest.skip("MAILERS has no login for one call")
    with pytest.raises(ImproperlyConfigured, match="auth_user"):
        send_mail("s", "b", None, ["a@example.com"], auth_user="u", auth_password="p")


def test_html_is_queued_as_mail_programs_need_it(use_settings: Use) -> None:
    pytest.importorskip("css_inline")
    pytest.importorskip("inscriptis")
    rendering = {"inline_css": True, "text_from_html": True}
    if "MAILERS" in dir(settings):
        mailers = {**settings.MAILERS}
        options = {"host": "smtp.example.com", **rendering}
        mailers["smtp"] = {"BACKEND": "django_integration.EmailBackend", "OPTIONS": options}
        use_settings(MAILERS=mailers)
    else:
        use_settings(MAILBACKENDS={"outbox": {}, **rendering})
    html = message(body="<style>p { color: red }</style><p>On its way</p>")
    html.content_subtype = "html"
    assert html.send() == 1
    [row] = Message.objects.all()
    content = bytes(row.content)
    assert b"color: red;" in content
    assert b"multipart/alternative" in content
