"""Commands with ``--database``: reports fill the suppression list, and what sends asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")
pytest.importorskip("sqlalchemy", reason="the suppression list needs the extra outbox")

from mailbackends.bounces import BounceTokens
from mailbackends.suppression import new_entry, recipient_reference
from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore
from support.server import MailServer

Run = Callable[..., SimpleNamespace]
KEY = "a key for the tests, of some length"
DATABASE = "sqlite:///list.sqlite3"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLAlchemySuppressionStore]:
    store = SQLAlchemySuppressionStore(f"sqlite:///{tmp_path / 'list.sqlite3'}")
    store.create_tables()
    yield store
    store.close()


def report(to: str) -> str:
    return (
        f"To: {to}\nContent-Type: multipart/report; boundary=b\n\n--b\n"
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.test\n\n"
        "Final-Recipient: rfc822; gone@example.net\nAction: failed\nStatus: 5.1.1\n\n--b--\n"
    )


def test_a_report_about_a_marked_message_adds_its_recipient(
    run: Run, environment: dict[str, str], store: SQLAlchemySuppressionStore
) -> None:
    assert run("bounces", "--database", DATABASE, stdin=report("x@example.com")).returncode == 2
    environment["MAILBACKENDS_BOUNCE_KEY"] = KEY
    for about, key in (
        ("gone@example.net", "another key, of some length"),
        ("other@example.net", KEY),
    ):
        address = BounceTokens(key).envelope_sender("b@example.com", recipient_reference(about))
        assert run("bounces", "--database", DATABASE, stdin=report(address)).returncode == 0
        assert store.count() == 0
    address = BounceTokens(KEY).envelope_sender(
        "b@example.com", recipient_reference("Gone@Example.NET")
    )
    assert run("bounces", "--database", DATABASE, stdin=report(address)).returncode == 0
    assert [each.address for each in store.entries()] == ["gone@example.net"]


def test_send_and_bulk_leave_out_those_on_the_list(
    run: Run, mail_server: MailServer, tmp_path: Path, store: SQLAlchemySuppressionStore
) -> None:
    store.add([new_entry("ada@example.com", "unsubscribed", "news")])
    place = f"smtp://{mail_server.host}:{mail_server.port}"
    common = ("--server", place, "--from", "shop@example.com", "--database", DATABASE)
    one = ("send", *common, "--subject", "s", "--text", "x", "--stream", "news")
    done = run(*one, "--to", "ben@example.com", "--bcc", "ADA@example.com")
    assert done.returncode == 0
    assert "suppressed ADA@example.com: unsubscribed" in done.stdout
    done = run(*one, "--to", "ada@example.com")
    assert done.returncode == 1
    assert "the recipient is suppressed" in done.stderr

    (tmp_path / "people.csv").write_text("email\nada@example.com\nben@example.com\n")
    (tmp_path / "letter.txt").write_text("Subject: News\n\nHello\n")
    many = ("bulk", "people.csv", *common, "--template", "letter.txt")
    for _ in range(2):
        done = run(*many, "--stream", "news")
        assert done.returncode == 0, done.stderr
        assert "suppressed            1" in done.stdout
    assert [each.rcpt_tos for each in mail_server.messages] == [("ben@example.com",)] * 2
