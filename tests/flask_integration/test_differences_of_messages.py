"""The differences from Flask-Mail that the documentation lists: how messages are written.

Each test is called like an entry of its table, and shows both sides of it.
"""

from __future__ import annotations

import email
import email.policy
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any
from unittest import mock

import pytest
from flask import Flask

import flask_integration as ours

from .conftest import MakeApp

theirs = pytest.importorskip("flask_mail")


@pytest.fixture(autouse=True)
def _context(make_app: MakeApp) -> Iterator[None]:
    """An application of ours, whose state Flask-Mail's messages are content with."""
    app: Flask = make_app(TESTING=True)
    ours.Mail(app)
    with app.app_context():
        yield


def parsed(message: Any) -> EmailMessage:
    return email.message_from_bytes(message.as_bytes(), policy=email.policy.default)


def written(package: Any, **arguments: Any) -> EmailMessage:
    given = {"subject": "Hello", "recipients": ["ada@example.com"], "body": "Hi"}
    return parsed(package.Message(**{**given, **arguments}))


def types(message: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in message.walk()]


def test_order_kept() -> None:
    script = """
import flask, {0}
app = flask.Flask("x")
{0}.Mail(app)
with app.app_context():
    to = [f"{{name}}@x.com" for name in "zyxwvutsrqponm"]
    message = {0}.Message("Hello", to, body="Hi", sender="a@x.com")
    print(message.as_email()["To"] if hasattr(message, "as_email") else message._message()["To"])
"""

    def seen(package: str, seed: str) -> list[str]:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", script.format(package)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return re.findall(r"(\w)@", done.stdout)

    assert seen("flask_mail", "1") != seen("flask_mail", "2")
    assert seen("flask_integration", "1") == list("zyxwvutsrqponm")
    assert isinstance(theirs.Message("Hello", ["a@x.com"]).send_to, set)
    send_to = ours.Message("Hello", ["b@x.com", "a@x.com"]).send_to
    assert not isinstance(send_to, set)
    assert send_to == {"a@x.com", "b@x.com"}


def test_all_headers_checked() -> None:
    attachment = {"filename": "a\r\nb.txt", "data": "x"}
    for bad in (
        {"cc": ["a@x.com\r\nX: y"]},
        {"bcc": ["a@x.com\r\nX: y"]},
        {"extra_headers": {"X-Kind": "a\r\nBcc: eve@x.com"}},
    ):
        assert not theirs.Message("Hello", ["a@x.com"], **bad).has_bad_headers()
        assert ours.Message("Hello", ["a@x.com"], **bad).has_bad_headers()
    for package, seen in ((theirs, False), (ours, True)):
        message = package.Message("Hello", ["a@x.com"])
        message.attachments.append(package.Attachment(**attachment))
        assert message.has_bad_headers() is seen
    assert not issubclass(theirs.BadHeaderError, ValueError)
    assert issubclass(ours.BadHeaderError, ValueError)


def test_addresses_read() -> None:
    two = ["a@x.com, b@x.com"]
    assert len(written(theirs, recipients=two)["To"].addresses) < 2
    assert [a.addr_spec for a in written(ours, recipients=two)["To"].addresses] == [
        "a@x.com",
        "b@x.com",
    ]


def test_no_empty_to() -> None:
    assert written(theirs, recipients=[], bcc=["a@x.com"])["To"] == ""
    assert written(ours, recipients=[], bcc=["a@x.com"])["To"] is None


def test_names_plain() -> None:
    assert theirs.sanitize_address("Ada <a@x.com>") == "=?utf-8?q?Ada?= <a@x.com>"
    assert ours.sanitize_address("Ada <a@x.com>") == "Ada <a@x.com>"
    assert ours.sanitize_address(("Love, Ada", "a@x.com")) == '"Love, Ada" <a@x.com>'


def test_inline_related() -> None:
    def seen(package: Any) -> list[str]:
        message = package.Message("Hello", ["a@x.com"], body="Hi", html='<img src="cid:logo">')
        message.attach("a.png", "image/png", b"x", "inline", headers={"Content-ID": "<logo>"})
        return types(parsed(message))

    assert "multipart/related" not in seen(theirs)
    assert "multipart/related" in seen(ours)


def test_no_extra_mixed() -> None:
    assert types(written(theirs, html="<p>Hi</p>"))[0] == "multipart/mixed"
    assert types(written(ours, html="<p>Hi</p>"))[0] == "multipart/alternative"


def test_long_lines() -> None:
    def longest(package: Any) -> int:
        raw = package.Message("Hello", ["a@x.com"], body="x" * 2000).as_bytes()
        return max(map(len, raw.split(b"\r\n")))

    assert longest(theirs) > 998
    assert longest(ours) <= 998


def test_charset_fits() -> None:
    with pytest.raises(UnicodeEncodeError):
        written(theirs, body="内容", charset="latin-1")
    assert written(ours, body="内容", charset="latin-1").get_content_charset() == "utf-8"


def test_charset_registry() -> None:
    script = """
import {0}
from email.mime.text import MIMEText
print(MIMEText("Gr\\u00fc\\u00dfe", _charset="utf-8")["Content-Transfer-Encoding"])
"""

    def seen(package: str) -> str:
        command = [sys.executable, "-c", script.format(package)]
        return subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert seen("flask_mail") == "8bit"
    assert seen("flask_integration") == seen("email") == "base64"


def test_text_attachments() -> None:
    def seen(package: Any) -> bytes:
        message = package.Message("Hello", ["a@x.com"], body="Hi")
        message.attach("a.txt", "text/plain", "Grüße 内容")
        part = next(parsed(message).iter_attachments())
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload

    assert seen(theirs) != "Grüße 内容".encode()
    assert seen(ours) == "Grüße 内容".encode()


def test_filename_charset() -> None:
    def seen(package: Any) -> str:
        message = package.Message("Hello", ["a@x.com"], body="Hi")
        message.attach("größe.txt", "text/plain", b"x")
        found = re.search(r"filename\*=\"?([\w-]*)''", message.as_string())
        assert found is not None
        return found[1]

    assert seen(theirs) == "UTF8"
    assert seen(ours) == "utf-8"


def test_attached_messages() -> None:
    def seen(package: Any) -> str | None:
        message = package.Message("Hello", ["a@x.com"], body="Hi")
        message.attach("a.eml", "message/rfc822", b"Subject: Inner\r\n\r\nHi\r\n")
        found = re.search(r"(?s)message/rfc822.*?\r\n\r\n", message.as_string())
        assert found is not None
        encoding = re.search(r"Content-Transfer-Encoding: (\w+)", found[0])
        return encoding and encoding[1]

    assert seen(theirs) == "base64"
    assert seen(ours) is None


def test_extra_headers_once() -> None:
    extra = {"Message-ID": "<mine@x.com>"}
    assert len(written(theirs, extra_headers=extra).get_all("Message-ID") or []) == 2
    assert written(ours, extra_headers=extra).get_all("Message-ID") == ["<mine@x.com>"]
    bad = {"Content-Type": "text/html"}
    assert not theirs.Message("Hello", ["a@x.com"], extra_headers=bad).has_bad_headers()
    assert ours.Message("Hello", ["a@x.com"], extra_headers=bad).has_bad_headers()


def test_message_id() -> None:
    with mock.patch("socket.getfqdn", return_value="inside.corp.example") as asked:
        assert "@inside.corp.example>" in theirs.Message("Hello", ["a@x.com"]).msgId
        assert asked.called
        asked.reset_mock()
        assert "@example.com>" in ours.Message("Hello", ["a@x.com"]).msgId
        assert not asked.called


def test_text_from_html() -> None:
    pytest.importorskip("inscriptis")

    def seen(package: Any) -> str:
        part = written(package, body=None, html="<p>Tea</p>").get_body(("plain",))
        assert part is not None
        content: str = part.get_content()
        return content.strip()

    assert seen(theirs) == ""
    assert seen(ours) == "Tea"


def test_html_in_alts() -> None:
    assert theirs.Message("Hello", ["a@x.com"], alts={"html": "<p>"}).html is None
    assert ours.Message("Hello", ["a@x.com"], alts={"html": "<p>"}).html == "<p>"


def test_lists_copied() -> None:
    def seen(package: Any) -> list[str]:
        given = ["a@x.com"]
        package.Message("Hello", given).add_recipient("b@x.com")
        return given

    assert seen(theirs) == ["a@x.com", "b@x.com"]
    assert seen(ours) == ["a@x.com"]
