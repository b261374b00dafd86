"""The samples in docs/django.md are run."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage, send_mail
from django.test import RequestFactory

from django_integration.checks import check_configuration
from django_integration.compat import backend_for
from django_integration.settings import ATTRIBUTES, BEHAVIOUR, KNOWN
from mailbackends import Options, SMTPException
from support.new_project import new_project
from support.server import MailServer

from .test_pasted_settings import block

Use = Callable[..., None]

PAGE = Path(__file__).parents[2] / "docs" / "django.md"
if not PAGE.is_file():
    pytest.skip("the documentation is not here", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(file: str) -> list[str]:
    found = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert all(re.match(r"# \w+\.py\n", code) for code in found)
    return [code for code in found if code.startswith(f"# {file}\n")]


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the page's own samples
    return names


@pytest.mark.parametrize("code", [c for c in blocks("settings.py") if "LOGGING" not in c])
def test_each_sample_of_settings_makes_a_backend(code: str, use_settings: Use) -> None:
    given = {name: value for name, value in run(code).items() if name.isupper()}
    given.pop("MAIL_URL", None)
    given.pop("INSTALLED_APPS", None)
    if "MAILERS" in given and django.VERSION < (6, 1):
        pytest.skip("MAILERS came with Django 6.1")
    use_settings(**given)
    for alias in given.get("MAILERS", [None]):
        options = backend_for(alias).options
        assert "example.com" in options.host or options.host == "localhost"
    assert check_configuration(None) == []


def test_the_logging_sample_works() -> None:
    import logging.config

    [code] = [c for c in blocks("settings.py") if "LOGGING" in c]
    ours, request = logging.getLogger("mailbackends"), logging.getLogger("django.request")
    before = [(logger, logger.handlers[:], logger.level) for logger in (ours, request)]
    try:
        logging.config.dictConfig(run(code)["LOGGING"])
        assert len(ours.handlers) == 2
    finally:
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)


_FAILING_VIEW = """
from django.urls import path

def fail(request):
    raise RuntimeError("a bug in a view")

urlpatterns = [path("fail/", fail)]
"""


def test_the_logging_sample_mails_each_error_of_a_view_once(tmp_path: Path) -> None:
    [code] = [c for c in blocks("settings.py") if "LOGGING" in c]
    admins = ["op@example.com"] if django.VERSION >= (6, 0) else [("Op", "op@example.com")]
    settings = "".join(
        [code, f"DEBUG = False\nALLOWED_HOSTS = ['*']\nADMINS = {admins}\n", block()]
    )
    tmp_path.joinpath("site_of_test_urls.py").write_text(_FAILING_VIEW, encoding="utf-8")
    settings += "ROOT_URLCONF = 'site_of_test_urls'\n"
    with MailServer(tls="starttls", login=("shop", "secret"), require_login=True) as server:
        run_python = new_project(tmp_path, settings, server)
        printed = run_python(
            "manage.py",
            "shell",
            "-c",
            "import logging; from django.test import Client;"
            "print(Client(raise_request_exception=False).get('/fail/').status_code);"
            "logging.getLogger('mailbackends.mailer').error('our own error')",
        )
    assert "500" in printed
    assert "our own error" in printed
    subjects = [str(each.message["Subject"]) for each in server.messages]
    assert len(subjects) == 2, subjects
    assert "/fail/" in subjects[0]
    assert "our own error" in subjects[1]


@pytest.fixture
def views() -> dict[str, Any]:
    return {name: value for code in blocks("views.py") for name, value in run(code).items()}


def call(view: Any) -> Any:
    return view(RequestFactory().get("/"))


def test_the_first_view_sends_its_mail(views: dict[str, Any], mail: MailServer) -> None:
    assert call(views["order"]).content == b"Thank you"
    assert mail.message.message["Subject"] == "Your order"


def test_the_view_that_returns_the_receipt(views: dict[str, Any], mail: MailServer) -> None:
    answer = json.loads(call(views["confirm"]).content)
    assert answer["accepted"] == ["ada@example.com"]
    assert answer["message_id"] == mail.message.message["Message-ID"]

    mail.refuse("ada@example.com", "451 4.2.0 Later")
    refused = call(views["confirm"])
    assert refused.status_code == 503
    assert json.loads(refused.content) == {"outcome": "refused", "again": True}


def test_the_view_answers_a_mistyped_address_with_400(
    views: dict[str, Any], mail: MailServer
) -> None:
    answer = views["confirm"](RequestFactory().get("/", {"email": "ada example.com"}))
    assert answer.status_code == 400
    assert "name@example.com" in json.loads(answer.content)["error"]


@pytest.mark.filterwarnings("ignore:get_connection")
def test_the_newsletter_continues_after_a_refusal(views: dict[str, Any], mail: MailServer) -> None:
    mail.refuse("gone@example.com")
    [[who, why]] = json.loads(call(views["newsletter"]).content)["failed"]
    assert who == "gone@example.com"
    assert "No such user" in why
    assert len(mail.messages) == 2


def test_the_health_view(views: dict[str, Any], mail: MailServer) -> None:
    assert call(views["health"]).status_code == 200


def test_the_mails(mail: MailServer, tmp_path: Path) -> None:
    made = {name: value for code in blocks("mails.py") for name, value in run(code).items()}
    made["welcome"](b"\x89PNG").send()
    path = tmp_path / "report.csv"
    path.write_text("a,b\n")
    made["report"](path).send()
    assert made["forward"](b"Subject: s\r\n\r\nb\r\n").send() == 1
    assert mail.messages[2].content == b"Subject: s\r\n\r\nb\r\n"
    kinds = [part.get_content_type() for part in mail.messages[0].message.walk()]
    assert "multipart/related" in kinds
    [report] = mail.messages[1].message.iter_attachments()
    assert report.get_filename() == "report.csv"


def test_the_signals(mail: MailServer, capsys: pytest.CaptureFixture[str]) -> None:
    from django_integration import post_send, pre_send, send_failed

    [code] = blocks("apps.py")
    names = run(code)
    names["connect"]()
    try:
        assert send_mail("[draft] s", "b", None, ["a@example.com"]) == 0
        assert send_mail("s", "b", None, ["a@example.com"]) == 1
        mail.refuse("a@example.com")
        with pytest.raises(SMTPException):
            EmailMessage("s", "b", to=["a@example.com"]).send()
    finally:
        pre_send.disconnect(names["mark_and_check"])
        post_send.disconnect(names["note"])
        send_failed.disconnect(names["alert"])
    assert mail.message.message["Auto-Submitted"] == "auto-generated"
    written = capsys.readouterr().out
    assert "accepted for 1 recipient" in written
    assert "failed: all 1 recipients refused" in written


def test_the_sample_test_passes(mail: MailServer) -> None:
    from mailbackends.testing.server import LoopbackServer

    [code] = blocks("test_orders.py")
    from django_integration.testing import mail_to

    with LoopbackServer() as server, mail_to(server.host, server.port):
        run(code)["test_an_order_is_confirmed"](server)


def test_every_option_is_documented() -> None:
    _, _, table = TEXT.partition("## Every option")
    for name in KNOWN - {*Options.known()}:
        assert f"`{name}`" in table, f"{name} is not explained"


def test_every_email_setting_of_django_is_used() -> None:
    assert len(ATTRIBUTES) == 9
    assert set(BEHAVIOUR) <= KNOWN


def test_every_check_is_documented() -> None:
    from django_integration import checks

    for identifier in set(re.findall(r"mailbackends\.[EW]\d{3}", checks.__doc__ or "")):
        assert f"`{identifier}`" in TEXT


def test_the_async_view_sends(mail: MailServer) -> None:
    [code] = blocks("async_views.py")
    view = run(code)["order"]
    assert asyncio.run(view(RequestFactory().get("/"))).content == b"Thank you"
    assert mail.message.rcpt_tos == ("ada@example.com",)
