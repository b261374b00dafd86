"""The admin in headless Chromium, as somebody uses it who is asked where the mail to Ada is.

The pictures in docs/ are made here. With MAILBACKENDS_TESTS_PICTURES=1 they are written
there; without, into a folder of the test.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from types import ModuleType
from typing import Any
from uuid import UUID
from wsgiref.simple_server import WSGIServer, make_server

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("selenium", reason="selenium is not installed here")

from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.mail import EmailMultiAlternatives
from django.urls import path
from selenium.webdriver.support.ui import Select

from django_integration import attach_inline_image
from django_integration.outbox import enqueue
from django_integration.outbox.models import Message
from django_integration.outbox.operations import outbox_store
from mailbackends import Receipt, Reply, SMTPDeliveryUnknown, SMTPRecipientsRefused
from mailbackends.mailbox.wsgi import _Handler
from mailbackends.outbox import recorded
from support.browser import Browser, wait_for
from support.mailbox import SAMPLE_HTML, png

from .conftest import _sqlite, _use

DOCS = Path(__file__).parents[3] / "docs"
LARGEST = 150_000  # bytes of a picture
LIST = "/admin/mailbackends_outbox/message/"


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def site(
    use_settings: Callable[..., None], sqlite: Path, access: Any, tmp_path: Path
) -> Iterator[str]:
    """A project on loopback with the admin, on SQLite; its address."""
    shutil.copy(sqlite, tmp_path / "outbox.sqlite3")
    _use(_sqlite(tmp_path / "outbox.sqlite3"))
    urls = ModuleType("outbox_browser_urls")
    urls.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]
    sys.modules[urls.__name__] = urls
    use_settings(
        ROOT_URLCONF=urls.__name__,
        STATIC_URL="/static/",
        EMAIL_BACKEND="django_integration.outbox.EmailBackend",
        MAILBACKENDS={},
        EMAIL_HOST="smtp.example.com",
        TIME_ZONE="UTC",
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )
    server = make_server("127.0.0.1", 0, StaticFilesHandler(WSGIHandler()), Server, _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    with access():
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()
    del sys.modules[urls.__name__]
    _use({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})


def log_in(chromium: Browser, site: str, *permissions: str) -> User:
    """Log in as a new member of staff with these permissions; without, as a superuser."""
    name = f"grace{User.objects.count() or ''}"
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.is_superuser = not permissions
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    chromium.driver.delete_all_cookies()
    chromium.open(f"{site}{LIST}")
    chromium.one("#id_username").send_keys(name)
    chromium.one("#id_password").send_keys("secret")
    chromium.one("[type=submit]").click()
    wait_for(lambda: "/login/" not in chromium.driver.current_url)
    return user


def queue(
    to: str = "ada@example.com", subject: str = "Your order 1042 is on its way", **options: Any
) -> UUID:
    """Queue a mail as a shop writes it."""
    message = EmailMultiAlternatives(
        subject, "Thank you!", "shop@leafandcup.example", [to, "accounts@leafandcup.example"]
    )
    logo = attach_inline_image(message, png(), filename="logo.png")
    message.attach_alternative(SAMPLE_HTML.replace("cid:logo@shop", str(logo)), "text/html")
    return enqueue(message, **options).id


def attempt(result: Receipt | Exception) -> None:
    """Let a worker try the message that is due, with this result."""
    store = outbox_store()
    [claimed] = store.claim(1, lease=60, worker="web-1:4711", aliases=["outbox"])
    store.begin([claimed], lease=60)
    assert store.record(recorded(claimed, result, worker="web-1:4711"))


def receipt(*to: str) -> Receipt:
    return Receipt(to, Reply.of(250, "2.0.0 Ok: queued as 4bQz1x"))


def unknown() -> UUID:
    id = queue(key="order-1042")
    attempt(SMTPDeliveryUnknown("the connection broke before the reply to the content"))
    return id


def refused() -> UUID:
    id = queue("nobody@example.com", "Welcome")
    replies = {
        "nobody@example.com": Reply.of(550, "5.1.1 No such user"),
        "accounts@leafandcup.example": Reply.of(552, "5.2.2 Mailbox full"),
    }
    error = SMTPRecipientsRefused({to: (r.code, r.message) for to, r in replies.items()})
    error.refused = replies
    attempt(error)
    return id


def press(chromium: Browser, text: str) -> None:
    """Press the button with this text, and wait for the next page."""
    [button] = [each for each in chromium.all(".outbox button") if each.text == text]
    button.click()
    chromium.one(".messagelist")


def test_one_search_answers_where_the_mail_to_ada_is(chromium: Browser, site: str) -> None:
    id = unknown()
    refused()
    log_in(chromium, site)
    row = Message.objects.get(id=id)
    for asked in ("ada@example.com", "ADA@example.com", row.message_id, "order-1042", str(id)):
        chromium.open(f"{site}{LIST}")
        chromium.one("#searchbar").send_keys(asked)
        chromium.one("#changelist-search [type=submit]").click()
        wait_for(lambda: len(chromium.all("#result_list tbody tr")) == 1)
        assert "unknown" in chromium.text("#result_list tbody")
    chromium.one("#result_list tbody a").click()
    shown = chromium.text("#content")
    for text in ("ada@example.com", row.message_id, "the connection broke", "web-1:4711"):
        assert text in shown


def test_a_person_sends_again_what_is_unknown_and_the_history_says_who(
    chromium: Browser, site: str
) -> None:
    id = unknown()
    user = log_in(chromium, site, "view_message", "manage_outbox")
    chromium.open(f"{site}{LIST}{id}/change/")
    press(chromium, "Send again")
    assert "will be sent again" in chromium.text(".messagelist")
    assert Message.objects.get(id=id).state == "queued"
    assert user.username in chromium.text("#content")
    attempt(receipt("ada@example.com", "accounts@leafandcup.example"))
    chromium.open(f"{site}{LIST}{id}/change/")
    assert "250 2.0.0 Ok: queued as 4bQz1x" in chromium.text("#content")
    assert [each.kind for each in Message.objects.get(id=id).log.all()] == [
        "attempt",
        "resent",
        "attempt",
    ]


def test_many_unknown_outcomes_are_resolved_in_the_list(chromium: Browser, site: str) -> None:
    ids = [unknown_with_key(n) for n in range(3)]
    log_in(chromium, site)
    chromium.open(f"{site}{LIST}?state__exact=unknown")
    chromium.one("#action-toggle").click()
    Select(chromium.one("select[name=action]")).select_by_value("it_arrived")
    chromium.one("button[name=index]").click()
    assert "3 messages were marked as arrived." in chromium.one(".messagelist").text
    assert {Message.objects.get(id=id).state for id in ids} == {"accepted"}


def unknown_with_key(number: int) -> UUID:
    id = queue(key=f"order-{number}")
    attempt(SMTPDeliveryUnknown("the connection broke before the reply to the content"))
    return id


def test_the_preview_is_the_mail_without_scripts_and_remote_images(
    chromium: Browser, site: str
) -> None:
    id = unknown()
    log_in(chromium, site)
    chromium.look_like(1200, 900, "light")
    chromium.open(f"{site}{LIST}{id}/change/")
    chromium.one("details.preview summary").click()
    with chromium.inside("details.preview iframe"):
        wait_for(lambda: "Thank you, Ada!" in chromium.text("h1"))
        assert chromium.run("return document.images[0].naturalWidth") == 44
        assert "tracker.example" not in chromium.run("return document.body.innerHTML")
    assert "content read" in [each.kind for each in Message.objects.get(id=id).log.all()]
    assert [each for each in chromium.complaints() if "favicon" not in each] == []


def test_who_may_not_read_sees_no_content_and_who_may_not_manage_no_buttons(
    chromium: Browser, site: str
) -> None:
    id = unknown()
    log_in(chromium, site, "view_message")
    chromium.open(f"{site}{LIST}{id}/change/")
    assert "ada@example.com" in chromium.text("#content")
    assert chromium.all(".outbox button") == []
    assert chromium.all("details.preview") == []
    chromium.open(f"{site}{LIST}{id}/source/")
    assert "403" in chromium.text("h1")


def test_erasing_the_content_asks_first(chromium: Browser, site: str) -> None:
    id = refused()
    log_in(chromium, site)
    chromium.open(f"{site}{LIST}{id}/change/")
    buttons = [each for each in chromium.all(".outbox button") if "Erase" in each.text]
    assert not [each for each in buttons if each.is_displayed()]
    chromium.one("details.erase summary").click()
    press(chromium, "Erase it")
    assert bytes(Message.objects.get(id=id).content) == b""
    assert "The content was erased." in chromium.text("#content")


def test_the_pictures_in_the_documentation(chromium: Browser, site: str, tmp_path: Path) -> None:
    for name, subject in (("grace", "Reset your password"), ("kj", "New tea has arrived")):
        queue(f"{name}@example.com", subject)
        attempt(receipt(f"{name}@example.com", "accounts@leafandcup.example"))
    refused()
    id = unknown()
    queue("alan@example.com", "Your invoice", priority="high")
    log_in(chromium, site)
    folder = DOCS if os.environ.get("MAILBACKENDS_TESTS_PICTURES") else tmp_path
    for name, place, size in (("list", "", (1440, 600)), ("message", f"{id}/change/", (1200, 900))):
        chromium.look_like(*size, "light")
        chromium.open(f"{site}{LIST}{place}")
        chromium.one("#content")
        assert chromium.run("return document.documentElement.scrollWidth") <= size[0]
        picture = folder / f"outbox-admin-{name}.png"
        chromium.picture(picture)
        assert 5_000 < picture.stat().st_size < LARGEST
        assert picture.name in (DOCS / "outbox.md").read_text("utf-8")
