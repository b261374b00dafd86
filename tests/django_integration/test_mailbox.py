"""The mailbox inside a Django project."""

from __future__ import annotations

import json
import pickle
import re
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from django.urls import include, path

from django_integration import SettingsError
from django_integration.compat import backend_for
from django_integration.mailbox import get_mailbox
from django_integration.mailbox.settings import close_mailbox
from mailbackends.mailbox import Fault
from mailbackends.previews import preview

from .conftest import Use

BACKEND = "django_integration.mailbox.EmailBackend"
urlpatterns = [path("dev/mail/", include("django_integration.mailbox.urls"))]


@pytest.fixture
def site(use_settings: Use) -> Iterator[Client]:
    """A client of a project with DEBUG on and Django's default middleware."""
    urls = types.ModuleType("mailbox_urls")
    urls.urlpatterns = urlpatterns  # type: ignore[attr-defined]
    sys.modules["mailbox_urls"] = urls
    use_settings(
        DEBUG=True,
        ROOT_URLCONF="mailbox_urls",
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )
    yield Client(enforce_csrf_checks=True, headers={"host": "localhost:8000"})
    close_mailbox()
    del sys.modules["mailbox_urls"]


def test_the_projects_mail_is_in_the_mailbox(site: Client, use_mail: Use) -> None:
    use_mail(backend=BACKEND)
    message = mail.EmailMultiAlternatives("Hello", "Text", to=["ada@example.com"])
    message.attach_alternative("<p>HTML</p>", "text/html")
    assert message.send() == 1
    page = site.get("/dev/mail/")
    assert page.status_code == 200
    assert b"Hello" in page.content
    assert b'href="/dev/mail/messages/1/"' in page.content
    assert b"<p>HTML</p>" in site.get("/dev/mail/messages/1/frame").content
    stored = site.get("/dev/mail/api/messages/1").json()
    assert stored["receipt"]["reply"] == str(message.receipt.reply)  # type: ignore[attr-defined]


def test_the_address_of_the_mailbox_works_without_its_trailing_slash(site: Client) -> None:
    for place in ("/dev/mail", "/dev/mail/faults"):
        assert site.get(place).headers["Location"] == f"{place}/"
        assert site.get(f"{place}/").status_code == 200


def test_the_frame_may_be_framed_and_the_page_may_not(site: Client, use_mail: Use) -> None:
    use_mail(backend=BACKEND)
    mail.EmailMessage("Hello", "Text", to=["ada@example.com"]).send()
    assert site.get("/dev/mail/messages/1/frame")["X-Frame-Options"] == "SAMEORIGIN"
    assert site.get("/dev/mail/")["X-Frame-Options"] == "DENY"


def test_the_project_sees_its_error_handling_work(site: Client, use_mail: Use) -> None:
    use_mail(backend=BACKEND)
    fault = {"kind": "refuse", "recipient": "eve@*", "reply": "550 5.1.1 Gone"}
    made = site.post(
        "/dev/mail/api/faults",
        json.dumps(fault),
        content_type="application/json",
        headers={"x-mailbox-request": "1"},
    )
    assert made.status_code == 201
    message = mail.EmailMessage("Hello", "Text", to=["ada@example.com", "eve@example.com"])
    message.send()
    assert set(message.receipt.refused) == {"eve@example.com"}  # type: ignore[attr-defined]


def test_the_form_of_the_page_deletes_without_djangos_token(site: Client, use_mail: Use) -> None:
    use_mail(backend=BACKEND)
    mail.EmailMessage("Hello", "Text", to=["ada@example.com"]).send()
    assert site.post("/dev/mail/messages/1/delete").status_code == 403
    page = site.get("/dev/mail/messages/1/").content.decode()
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token is not None
    gone = site.post("/dev/mail/messages/1/delete", {"token": token[1]})
    # A form as browsers send it: Django's client encodes it in another way by default.
    assert gone.status_code == 403
    gone = site.post(
        "/dev/mail/messages/1/delete",
        f"token={token[1]}",
        content_type="application/x-www-form-urlencoded",
    )
    assert (gone.status_code, gone["Location"]) == (302 + 1, "/dev/mail/")
    assert get_mailbox().store.count() == 0


def test_other_host_names_are_refused_also_with_allowed_hosts(site: Client) -> None:
    assert site.get("/dev/mail/", headers={"host": "evil.example"}).status_code == 421


def test_the_mailbox_is_refused_without_debug(
    site: Client, use_settings: Use, use_mail: Use
) -> None:
    use_settings(DEBUG=False)
    assert site.get("/dev/mail/").status_code == 404
    use_mail(backend=BACKEND)
    with pytest.raises(ImproperlyConfigured, match="DEBUG is False"):
        mail.EmailMessage("Hello", "Text", to=["ada@example.com"]).send()


def test_the_mailbox_is_shown_without_debug_if_the_setting_allows_it(
    site: Client, use_settings: Use
) -> None:
    use_settings(DEBUG=False, MAILBACKENDS_MAILBOX={"outside_debug": True})
    assert site.get("/dev/mail/").status_code == 200


def test_a_mistyped_name_in_the_setting_is_an_error(site: Client, use_settings: Use) -> None:
    use_settings(MAILBACKENDS_MAILBOX={"smpt_port": 1025})
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'smtp_port'"):
        get_mailbox()


def test_a_port_in_use_is_an_error_that_names_the_setting(site: Client, use_settings: Use) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        use_settings(MAILBACKENDS_MAILBOX={"smtp_port": port})
        with pytest.raises(SettingsError, match=rf"\['smtp_port'\] = {port} is in use"):
            get_mailbox()


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["nh3"] = None
from django.conf import settings
settings.configure(EMAIL_BACKEND="django_integration.mailbox.EmailBackend", SECRET_KEY="s")
import django
django.setup()
from django_integration.checks import check_configuration
[problem] = check_configuration(None)
print(problem)
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert "mailbackends.E003" in done.stdout, done.stderr
    assert "mailbackends.mailbox needs nh3" in done.stdout
    assert 'pip install "mailbackends[' in done.stdout


def test_a_message_that_was_sent_to_the_mailbox_can_be_pickled(use_mail: Use) -> None:
    use_mail(backend=BACKEND)
    with override_settings(DEBUG=True):
        again = pickle.loads(pickle.dumps(backend_for()))  # noqa: S301
        assert again.send_messages([mail.EmailMessage("s", "b", to=["a@example.com"])]) == 1
        close_mailbox()


def test_a_mailbox_file_keeps_the_mail(site: Client, use_settings: Use, tmp_path: Any) -> None:
    use_settings(MAILBACKENDS_MAILBOX={"path": tmp_path / "mail.sqlite3", "keep": 5})
    get_mailbox().store.add(b"Subject: Kept\r\n\r\n", _arrival())
    close_mailbox()
    assert b"Kept" in site.get("/dev/mail/").content


def test_djangos_own_messages_are_previewed(site: Client) -> None:
    @preview("Django's hello", name="djangos-hello")
    def hello() -> mail.EmailMessage:
        return mail.EmailMessage("Hello preview", "Text", to=["ada@example.com"])

    page = site.get("/dev/mail/previews/djangos-hello/")
    assert b"Hello preview" in page.content
    assert get_mailbox().store.count() == 0


def test_a_delay_is_limited_by_the_projects_timeout(site: Client, use_mail: Use) -> None:
    use_mail(backend=BACKEND, content_timeout=0.2)
    get_mailbox().faults.add(Fault("delay", seconds=60, times=1))
    with pytest.raises(OSError, match=r"."):
        mail.EmailMessage("Hello", "Text", to=["ada@example.com"]).send()


def _arrival() -> Any:
    from mailbackends.mailbox.store import Arrival

    return Arrival(accepted=("ada@example.com",))
