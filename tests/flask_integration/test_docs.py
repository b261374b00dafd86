"""docs/flask.md: its samples run, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_integration.config import KEYS, PREFIX
from mailbackends import Options
from support.server import MailServer

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "flask.md").read_text(encoding="utf-8")
FROM_FLASK_MAIL = (DOCS / "coming-from" / "flask-mail.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The rows of the table in this text."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_samples_send_their_mail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLASK_MAIL_SERVER", raising=False)
    with MailServer(tls="starttls", login=("shop", "secret"), require_login=True) as server:
        server.refuse("gone@example.com")
        monkeypatch.setenv("SSL_CERT_FILE", server.cafile)
        names: dict[str, Any] = {"__name__": "sample"}
        first: Flask | None = None
        applications = []
        for block in _BLOCK.findall(PAGE):
            code = block.replace("smtp.example.com", server.host).replace("587", str(server.port))
            exec(compile(code, "docs/flask.md", "exec"), names)  # noqa: S102
            if first is None:
                # The view is called, and then the sample with a factory must not take
                # the extension of this application away.
                first = names["app"]
                answer = first.test_client().post("/orders")
                assert answer.json == {"accepted": ["ada@example.com"], "refused": []}
            if "def create_app" in block:
                created = names["create_app"]()
                assert created.extensions["mail"].server == "localhost"
                names["mail"].init_app(names["app"])
            applications.append(names["app"])
        names["test_an_order_is_confirmed"]()
        for application in applications:
            application.extensions["mail"].close()
    subjects = [received.message["Subject"] for received in server.messages]
    assert subjects == ["Your order", "Hello", "Signed", *["News"] * 5, "Your order"]
    assert server.messages[-2].mail_from == "news@example.com"
    printed = capsys.readouterr().out
    assert "accepted: ada@example.com" in printed
    assert "refused: gone@example.com 550 5.1.1 No such user" in printed
    assert "bob@example.com ok" in printed


def test_every_setting_that_is_not_an_option_is_in_the_table_and_nothing_else() -> None:
    configuration = PAGE.partition("\n## Configuration\n")[2].partition("\n## ")[0]
    found = {name for row in rows(configuration) for name in re.findall(r"`(\w+)`", row[0])}
    known = {PREFIX + name for name in KEYS}
    assert found <= known
    assert known - found <= {PREFIX + name.upper() for name in Options.known()}


def test_every_difference_is_shown_by_a_test_and_nothing_else() -> None:
    listed = {row[0].strip("| `") for row in rows(FROM_FLASK_MAIL)}
    shown = {
        name.replace("_", "-")
        for path in Path(__file__).parent.glob("test_differences_*.py")
        for name in re.findall(r"^def test_(\w+)\(", path.read_text("utf-8"), re.MULTILINE)
    }
    assert shown == listed


def test_the_table_of_contents_is_complete() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert re.findall(r"^- \[(.+?)\]", PAGE, re.MULTILINE) == headings
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors
