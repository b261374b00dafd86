"""The admin: "where is the mail to Ada?", and who may do what."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.urls import path

from django_integration.outbox import enqueue
from django_integration.outbox.models import Message
from django_integration.outbox.operations import outbox_store
from mailbackends import Reply, SMTPDeliveryUnknown, SMTPRecipientsRefused
from mailbackends.outbox import recorded

Use = Callable[..., None]

pytestmark = pytest.mark.usefixtures("database")

URLS = ModuleType("outbox_test_urls")
URLS.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]
LIST = "/admin/mailbackends_outbox/message/"


@pytest.fixture(autouse=True)
def site(use_settings: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, URLS.__name__, URLS)
    use_settings(
        ROOT_URLCONF=URLS.__name__,
        STATIC_URL="/static/",
        EMAIL_BACKEND="django_integration.outbox.EmailBackend",
        MAILBACKENDS={},
        EMAIL_HOST="smtp.example.com",
    )


def user(*permissions: str) -> Client:
    """A client whose user has these permissions, or all of a superuser."""
    made = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    if not permissions:
        made.is_superuser = True
        made.save()
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(made)
    return client


def queue(to: str = "ada@example.com", subject: str = "Your order", **options: Any) -> UUID:
    message = EmailMultiAlternatives(subject, "The text", to=[to, "bob@example.com"])
    message.attach_alternative("<p>The <b>HTML</b></p><script>alert(1)</script>", "text/html")
    return enqueue(message, **options).id


def settle(id: UUID, error: Exception) -> None:
    """Claim the message, and record the failure of an attempt."""
    store = outbox_store()
    [claimed] = store.claim(1, lease=60, worker="worker-1", aliases=["outbox"])
    assert claimed.id == id
    assert store.record(recorded(claimed, error, worker="worker-1"))


def unknown() -> UUID:
    id = queue()
    settle(id, SMTPDeliveryUnknown("the connection broke"))
    return id


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.content
    return str(answer.content.decode())


@pytest.mark.parametrize("what", ["address", "message_id", "key", "id", "part", "subject"])
def test_one_search_finds_the_mail_to_ada(what: str) -> None:
    id = queue("ada@example.com", "Your order", key="order-4711")
    queue("eve@example.com", "Another")
    row = Message.objects.get(id=id)
    asked = {
        "address": "ada@example.com",
        "message_id": row.message_id.strip("<>"),
        "key": "order-4711",
        "id": str(id),
        "part": "ada@",
        "subject": "your ord",
    }[what]
    shown = page(user(), f"{LIST}?q={asked}")
    assert "Your order" in shown
    assert "ada@example.com" in shown
    assert "eve@example.com" not in shown


def test_the_page_of_a_message_has_the_servers_words_and_each_attempt() -> None:
    id = queue()
    replies = {
        "ada@example.com": Reply.of(550, "5.1.1 No such user"),
        "bob@example.com": Reply.of(450, "4.2.1 Try <later>"),
    }
    error = SMTPRecipientsRefused({to: (r.code, r.message) for to, r in replies.items()})
    error.refused = replies
    settle(id, error)
    shown = page(user(), f"{LIST}{id}/change/")
    assert "550 5.1.1 No such user" in shown
    assert "450 4.2.1 Try &lt;later&gt;" in shown
    assert "attempt" in shown
    assert "worker-1" in shown
    assert "queued" in shown


def test_the_source_and_the_preview_need_their_own_permission() -> None:
    id = queue()
    viewer = user("view_message")
    assert "Your order" in page(viewer, f"{LIST}{id}/change/")
    assert "Download the source" not in page(viewer, f"{LIST}{id}/change/")
    for what in ("source", "preview"):
        assert viewer.get(f"{LIST}{id}/{what}/").status_code == 403
    reader = user("view_message", "read_content")
    source = reader.get(f"{LIST}{id}/source/")
    assert b"Subject: Your order\r\n" in source.content
    assert source["Content-Type"] == "message/rfc822"
    assert "content read" in page(reader, f"{LIST}{id}/change/")


def test_the_preview_is_cleaned_and_sandboxed() -> None:
    for name in ("aiosmtpd", "jinja2", "nh3"):
        pytest.importorskip(name, reason="the preview needs the extra mailbox")
    answer = user().get(f"{LIST}{queue()}/preview/")
    assert b"<b>HTML</b>" in answer.content
    assert b"alert" not in answer.content
    assert "sandbox" in answer["Content-Security-Policy"]
    assert "script-src" not in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("act", "state", "kind"),
    [
        ("arrived", "accepted", "resolved"),
        ("missing", "refused", "resolved"),
        ("resend", "queued", "resent"),
    ],
)
def test_an_unknown_outcome_is_resolved_by_a_button(act: str, state: str, kind: str) -> None:
    id = unknown()
    client = user("view_message", "manage_outbox")
    answer = client.post(f"{LIST}{id}/do/", {"act": act})
    assert answer.status_code == 302
    row = Message.objects.get(id=id)
    assert row.state == state
    entry = row.log.last()
    assert entry is not None
    assert (entry.kind, entry.by) == (kind, User.objects.get().username)


def test_actions_need_their_own_permission() -> None:
    id = unknown()
    client = user("view_message", "read_content")
    assert client.post(f"{LIST}{id}/do/", {"act": "arrived"}).status_code == 403
    assert "It arrived" not in page(client, f"{LIST}{id}/change/")
    answer = client.post(LIST, {"action": "it_arrived", "_selected_action": [str(id)]})
    assert answer.status_code in (200, 302)
    assert Message.objects.get(id=id).state == "unknown"


def test_many_messages_are_resolved_at_once() -> None:
    first, second = unknown(), unknown()
    queued = queue()
    chosen = {"action": "it_arrived", "_selected_action": [str(first), str(second), str(queued)]}
    answer = user().post(LIST, chosen, follow=True)
    shown = answer.content.decode()
    assert "2 messages were marked as arrived" in shown
    assert "1 message was not changed" in shown
    states = {row.id: row.state for row in Message.objects.all()}
    assert states == {first: "accepted", second: "accepted", queued: "queued"}


def test_an_erased_message_cannot_be_read_or_sent_again() -> None:
    id = unknown()
    client = user()
    client.post(f"{LIST}{id}/do/", {"act": "erase"})
    assert client.get(f"{LIST}{id}/source/").status_code == 404
    answer = client.post(f"{LIST}{id}/do/", {"act": "resend"}, follow=True)
    assert "the content was erased" in answer.content.decode()
    assert Message.objects.get(id=id).state == "unknown"


def test_a_queued_message_can_be_cancelled_and_a_finished_one_cannot() -> None:
    id = queue()
    client = user()
    client.post(f"{LIST}{id}/do/", {"act": "cancel"})
    assert Message.objects.get(id=id).state == "cancelled"
    answer = client.post(f"{LIST}{id}/do/", {"act": "cancel"}, follow=True)
    assert "too late" in answer.content.decode()


def test_nothing_is_added_edited_or_deleted_by_hand() -> None:
    id = queue()
    client = user()
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{id}/change/", {"state": "accepted"}).status_code == 200
    assert Message.objects.get(id=id).state == "queued"
    assert client.get(f"{LIST}{id}/delete/").status_code == 403


def test_the_list_has_few_queries(django_assert_max_num_queries: Any) -> None:
    for _ in range(20):
        queue()
    client = user()
    with django_assert_max_num_queries(16):
        page(client, LIST)


def test_the_templates_are_in_the_package() -> None:
    import django_integration.outbox as package

    folder = Path(package.__file__).parent / "templates" / "admin" / "mailbackends_outbox"
    assert {each.name for each in folder.iterdir()} == {
        "button.html",
        "change_list.html",
        "detail.html",
    }
