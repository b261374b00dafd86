"""A message as it is stored, and as the worker sends it."""

from __future__ import annotations

import email
import email.charset
import email.policy
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailbackends import (
    ConfigurationError,
    FileAttachment,
    InvalidAddressError,
    InvalidMessageError,
    Mailer,
    Submission,
)
from mailbackends.outbox import (
    DirectoryBlobs,
    OnUnknown,
    Priority,
    outbox_message,
    source_of,
    submission_of,
)
from support.sink import Sink


@pytest.fixture(autouse=True)
def charsets_of_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Flask-Mail changes how the whole process encodes UTF-8 for 7 bits."""
    utf_8 = (email.charset.SHORTEST, email.charset.BASE64, "utf-8")
    monkeypatch.setitem(email.charset.CHARSETS, "utf-8", utf_8)


def plain(**fields: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = "ada@example.org"
    message["Bcc"] = "audit@example.com"
    message["Subject"] = "Your order is on its way, übermorgen"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content("Grüße\n.dot\n")
    return message


def test_the_stored_content_is_7_bit_and_has_no_bcc() -> None:
    row = outbox_message(Submission(plain()))
    assert row.content.isascii()
    assert b"audit@example.com" not in row.content
    assert row.pending == ("ada@example.org", "audit@example.com")
    assert row.sender == "shop@example.com"
    assert row.subject == "Your order is on its way, übermorgen"
    assert row.size == len(row.content)


def test_date_and_message_id_are_fixed_before_the_first_attempt() -> None:
    row = outbox_message(Submission(plain()))
    parsed = email.message_from_bytes(row.content, policy=email.policy.default)
    assert parsed["Message-ID"] == row.message_id
    assert parsed["Date"].datetime.tzinfo is not None
    own = outbox_message(Submission(plain(Message_ID="<own@example.com>")))
    assert own.message_id == "<own@example.com>"
    assert own.content.count(b"Message-ID") == 1


def test_recipients_do_not_see_the_id_by_which_a_report_settles_the_message() -> None:
    row = outbox_message(Submission(b"x: y\r\n\r\n", "a@example.com", ["b@example.com"]))
    assert row.message_id.endswith("@example.com>")
    assert str(row.id) not in row.message_id
    assert str(row.id).encode() not in row.content


def test_equal_messages_have_equal_fingerprints_and_others_do_not() -> None:
    def row(text: str, to: str = "ada@example.org") -> str:
        message = plain()
        message.set_content(text)
        message.add_attachment(b"data", maintype="image", subtype="png", filename="a.png")
        return outbox_message(Submission(message, to_addrs=[to]), key="k").fingerprint

    assert row("same") == row("same")
    assert row("same") != row("other")
    assert row("same") != row("same", "bob@example.org")
    assert outbox_message(Submission(plain())).fingerprint == ""


def test_what_cannot_be_sent_is_refused_when_it_is_enqueued() -> None:
    with pytest.raises(InvalidMessageError, match="no recipients"):
        outbox_message(Submission(plain(), to_addrs=[]))
    with pytest.raises(InvalidAddressError):
        outbox_message(Submission(plain(), to_addrs=["a b@example.org"]))
    with pytest.raises(InvalidMessageError, match=r"email\.message\.Message or bytes"):
        outbox_message(Submission("text"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": datetime(2030, 1, 1)},
        {"expires": "tomorrow"},
        {"expires": timedelta(-1)},
        {"priority": "now"},
        {"on_unknown": "retry"},
        {"key": ""},
    ],
    ids=lambda given: next(iter(given)),
)
def test_a_wrong_argument_is_refused_by_its_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(wrong))} must be"):
        outbox_message(Submission(plain()), **wrong)  # type: ignore[arg-type]


def test_times_are_from_now_or_absolute() -> None:
    at = datetime(2050, 1, 1, tzinfo=UTC)
    row = outbox_message(Submission(plain()), at=at, priority="high")
    assert row.not_before == at
    assert row.expires_at == at + timedelta(days=3)
    assert row.priority is Priority.HIGH


def test_large_parts_are_in_blobs_and_the_worker_sends_the_same_message(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    file = tmp_path / "report.pdf"
    file.write_bytes(bytes(range(256)) * 4000)
    message = plain()
    message.make_mixed()
    message.attach(FileAttachment(file))
    message.add_attachment("x" * 70 + "\r\n.\r\n" * 99_999, filename="long.txt")
    row = outbox_message(Submission(message), blobs=blobs)
    assert len(row.content) < 5000
    assert [each.encoding for each in row.blobs] == ["base64", "7bit"]
    file.unlink()
    whole = b"".join(source_of(row, blobs))
    assert len(whole) == row.size
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        for _ in range(2):  # by DATA or a probe, then by BDAT
            submission = submission_of(row, blobs)
            mailer.send_messages([submission])
        assert [each.content for each in sink.messages] == [whole, whole]
    parsed = email.message_from_bytes(whole, policy=email.policy.default)
    pdf = next(p for p in parsed.iter_attachments() if p.get_filename() == "report.pdf")
    assert pdf.get_content() == bytes(range(256)) * 4000


def test_a_missing_or_damaged_blob_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    message = plain()
    message.add_attachment(b"x" * 300_000, maintype="image", subtype="png", filename="a.png")
    row = outbox_message(Submission(message), blobs=blobs)
    with pytest.raises(InvalidMessageError, match="no blob store was given"):
        submission_of(row)
    assert list(blobs.digests(older_than=-60)) == [row.blobs[0].digest]
    assert not list(blobs.digests(older_than=60))
    assert not blobs.delete(row.blobs[0].digest, older_than=60)
    assert blobs.delete(row.blobs[0].digest, older_than=0)
    assert not blobs.delete(row.blobs[0].digest, older_than=0)
    with pytest.raises(InvalidMessageError, match="cannot be read"):
        submission_of(row, blobs)


def test_a_25_mb_file_costs_a_mebibyte_to_store_and_to_send(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    file = tmp_path / "film.mp4"
    with file.open("wb") as out:
        for _ in range(25):
            out.write(b"0123456789abcdef" * 65536)
    outbox_message(Submission(plain()), blobs=blobs)
    tracemalloc.start()
    message = plain()
    message.make_mixed()
    message.attach(FileAttachment(file))
    row = outbox_message(Submission(message), blobs=blobs)
    stored = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    size = sum(map(len, source_of(row, blobs)))
    sent = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == row.size > 35_000_000
    assert stored < 2**20
    assert sent < 2**20


def test_addresses_that_need_smtputf8_are_stored_in_utf8() -> None:
    row = outbox_message(Submission(plain(), to_addrs=["jürgen@example.org"]))
    assert row.pending == ("jürgen@example.org",)
    message = plain()
    message.replace_header("To", "jürgen@example.org")
    row = outbox_message(Submission(message, "shop@example.com", ["a@example.org"]))
    assert "jürgen@example.org".encode() in row.content
    assert row.mail_options == ("SMTPUTF8",)


def test_on_unknown_ask_asks_for_a_notification_that_names_the_row() -> None:
    row = outbox_message(Submission(plain()), on_unknown="ask")
    assert row.on_unknown is OnUnknown.ASK
    submission = submission_of(row)
    assert f"ENVID={row.id}" in list(submission.mail_options)
    assert "NOTIFY=SUCCESS,FAILURE,DELAY" in list(submission.rcpt_options)
    assert not submission_of(row, asks=False).mail_options
