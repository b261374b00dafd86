"""docs/deliverability.md, followed from a new project to signed mail that is left by one click."""

from __future__ import annotations

import re
import types
from pathlib import Path

import django
import pytest
from project.test_code_blocks import block, execute

from support.new_project import new_project
from support.server import MailServer

PAGE = "docs/deliverability.md"

# What the reader does at the end, as it would run on a machine with that DNS.
SEND = """
from newsletter import newsletter
from django.test import Client
from django_integration.compat import backend_for
from mailbackends import diagnose

published = dict([line.split(" ", 1) for line in open("zone").read().splitlines()])
options = backend_for().options
step = [each for each in diagnose(options, resolver=lambda name: [published[name]]
    if name in published else []) if each.name == "DKIM"][0]
print("DKIM", step.is_ok, step.error, *step.findings, *step.warnings)
assert newsletter("ada@example.net").send() == 1
"""
LEAVE = """
from newsletter import newsletter
from django.test import Client

place = open("link").read()
client = Client(headers={"host": "localhost"})
print("page", client.get(place).status_code, "left", client.post(place).status_code)
print("sent", newsletter("ada@example.net").send(), newsletter("ben@example.net").send())
"""


def test_from_an_empty_domain_to_signed_mail_with_one_click(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("click", reason="the command needs the extra cli")
    pytest.importorskip("rich", reason="the command needs the extra cli")
    judge = pytest.importorskip("dkim")
    pytest.importorskip("cryptography")
    (tmp_path / "newsletter.py").write_text(block(PAGE, "def newsletter(address)"))
    (tmp_path / "leaving.py").write_text(block(PAGE, "urlpatterns ="))
    with MailServer(tls="starttls") as server:
        settings = block(PAGE, "OPTIONS = {") + block(PAGE, "MAILBACKENDS_UNSUBSCRIBE_URL")
        settings += "ROOT_URLCONF = 'leaving'\nDEFAULT_FROM_EMAIL = 'news@example.com'\n"
        settings += (
            "MAILERS = {'default': {'BACKEND': 'django_integration.EmailBackend',"
            " 'OPTIONS': OPTIONS}}\n"
            if django.VERSION >= (6, 1)
            else "EMAIL_BACKEND = 'django_integration.EmailBackend'\nMAILBACKENDS = OPTIONS\n"
        )
        run = new_project(tmp_path, settings, server)
        printed = run(
            *("-m", "mailbackends", "dkim-key", "--domain", "example.com"),
            *("--selector", "s2026"),
        )
        record = "".join(re.findall(r'^\s*"(.*)"$', printed, re.M))
        (tmp_path / "zone").write_text(f"s2026._domainkey.example.com {record}\n")
        assert "no issues" in run("manage.py", "check")
        run("manage.py", "migrate")
        assert "DKIM True" in run("manage.py", "shell", "-c", SEND)
        news = server.message
        name = b"s2026._domainkey.example.com."
        assert judge.verify(
            news.content,
            dnsfunc=lambda asked, timeout=5: record.encode() if asked == name else None,
        )
        signed = str(news.message["DKIM-Signature"]).lower()
        assert "list-unsubscribe-post" in signed
        link = str(news.message["List-Unsubscribe"]).strip(" <>")
        (tmp_path / "link").write_text(link.removeprefix("https://www.example.com"))
        printed = run("manage.py", "shell", "-c", LEAVE)
        assert "page 200 left 200" in printed
        assert "sent 0 1" in printed
        assert [each.rcpt_tos[0] for each in server.messages] == [
            *("ada@example.net", "ben@example.net"),
        ]
        assert "newsletter" in run("manage.py", "suppression", "check", "ada@example.net")


def test_a_receiver_of_ones_own_can_take_the_place_of_the_list() -> None:
    from django_integration.unsubscribe import unsubscribed

    changed: list[object] = []

    class Rows:
        def filter(self, email: str) -> Rows:
            changed.append(email)
            return self

        def update(self, **values: bool) -> None:
            changed.append(values)

    names = execute(
        block(PAGE, "Reader.objects.filter(email="), Reader=types.SimpleNamespace(objects=Rows())
    )
    try:
        names["leave"](sender=object, address="ada@example.net", stream="newsletter")
    finally:
        unsubscribed.disconnect(names["leave"])
    assert changed == ["ada@example.net", {"wants_newsletter": False}]
