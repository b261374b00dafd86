"""Backends other than SMTP, and custom ones."""

from __future__ import annotations

import email
import email.policy
from pathlib import Path
from typing import Any

import pytest

from flask_integration import Backend, FileBackend, Mail, MailState, Message, Posting, local_receipt
from flask_integration.backends import find_backend
from mailbackends import ConfigurationError, Receipt

from .conftest import MakeApp

MESSAGE: dict[str, Any] = {"subject": "Grüße", "recipients": ["ada@example.com"], "body": "Hällo"}


class Pigeons(Backend):
    """A custom backend."""

    def __init__(self, state: MailState) -> None:
        self.sent: list[Posting] = []
        self.is_closed = False

    def send(self, posting: Posting) -> Receipt:
        self.sent.append(posting)
        return local_receipt(posting, "by air")

    def close(self) -> None:
        self.is_closed = True


def test_the_memory_backend_collects_messages(make_app: MakeApp) -> None:
    mail = Mail(make_app(MAIL_BACKEND="memory"))
    message = Message(**MESSAGE)
    receipt = mail.send(message)
    with mail.connect() as connection:
        connection.send(message)
    assert mail.outbox == [message, message]
    assert receipt.message_id == message.msgId
    mail.outbox.clear()
    assert mail.outbox == []


def test_the_memory_backend_works_under_testing_as_in_flask_mailman(make_app: MakeApp) -> None:
    mail = Mail(make_app(MAIL_BACKEND="locmem", TESTING=True))
    mail.send_message(**MESSAGE)
    assert len(mail.outbox) == 1


def test_other_backends_have_no_outbox(make_app: MakeApp) -> None:
    mail = Mail(make_app(MAIL_BACKEND="dummy"))
    with pytest.raises(ConfigurationError, match="MAIL_BACKEND = 'memory'"):
        mail.outbox  # noqa: B018


def test_the_console_backend_prints_each_message(
    make_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = Mail(make_app(MAIL_BACKEND="console"))
    receipt = mail.send_message(**MESSAGE)
    shown = capsys.readouterr().out
    assert "To: ada@example.com\n" in shown
    assert "\nHällo\n-----" in shown
    assert receipt.accepted == ("ada@example.com",)


def test_the_file_backend_writes_one_file_per_message(make_app: MakeApp, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "mail"
    mail = Mail(make_app(MAIL_BACKEND="file", MAIL_FILE_PATH=str(folder)))
    receipts = [mail.send_message(**MESSAGE) for _ in range(3)]
    files = sorted(folder.iterdir())
    assert len(files) == 3
    parsed = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
    assert parsed["Subject"] == "Grüße"
    assert parsed.get_content() == "Hällo"
    assert {path.suffix for path in files} == {".eml"}
    assert files[0].stat().st_mode & 0o077 == 0
    assert {receipt.reply.text.removeprefix("written to ") for receipt in receipts} == {
        str(path) for path in files
    }


def test_the_file_backend_needs_a_directory(make_app: MakeApp, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MAIL_FILE_PATH is not set"):
        Mail(make_app(MAIL_BACKEND="file")).send_message(**MESSAGE)
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(ConfigurationError, match="cannot be used as a directory"):
        Mail(make_app(MAIL_BACKEND="file", MAIL_FILE_PATH=occupied)).send_message(**MESSAGE)


def test_the_dummy_backend_accepts_everything(make_app: MakeApp) -> None:
    assert Mail(make_app(MAIL_BACKEND="dummy")).send_message(**MESSAGE).accepted


def test_a_custom_backend_gets_checked_messages(make_app: MakeApp) -> None:
    mail = Mail(make_app(MAIL_BACKEND=Pigeons))
    with pytest.raises(ValueError, match="no recipients"):
        mail.send_message("Hello", [], body="Hi")
    mail.send_message("Hello", ["Ada <ada@example.com>"], bcc=["b@example.com"], body="Hi")
    backend = mail.backend
    assert isinstance(backend, Pigeons)
    posting = backend.sent[0]
    assert (posting.from_addr, posting.to_addrs) == (
        "shop@example.com",
        ("ada@example.com", "b@example.com"),
    )
    mail.close()
    assert backend.is_closed


def test_testing_suppresses_a_custom_backend(make_app: MakeApp) -> None:
    mail = Mail(make_app(MAIL_BACKEND=Pigeons, TESTING=True))
    mail.send_message(**MESSAGE)
    assert mail.state is not None
    with mail.state.lease_backend() as backend:
        assert backend is None


def test_a_backend_can_be_given_as_a_dotted_path() -> None:
    assert find_backend("flask_integration.backends.FileBackend") is FileBackend
    assert find_backend("FILE") is FileBackend
    with pytest.raises(ConfigurationError, match="cannot be found"):
        find_backend("flask_integration.nowhere.Backend")


def test_a_custom_backend_may_fail_for_one_message_of_a_batch(make_app: MakeApp) -> None:
    class Storm(Pigeons):
        def send(self, posting: Posting) -> Receipt:
            if "bob@example.com" in posting.to_addrs:
                raise OSError("lost at sea")
            return super().send(posting)

    mail = Mail(make_app(MAIL_BACKEND=Storm))
    outcomes = list(
        mail.send_many(
            Message("Hello", [f"{name}@example.com"], body="Hi") for name in ("ada", "bob", "eve")
        )
    )
    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, False, True]
