"""`Message` and `Attachment`, and the email that they become."""

from __future__ import annotations

import copy
import email
import email.policy
import pickle
import re
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_integration import Attachment, BadHeaderError, Mail, Message
from mailbackends import InvalidMessageError
from support.server import MailServer

from .conftest import MakeApp


def parsed(message: Message) -> EmailMessage:
    return email.message_from_bytes(message.as_bytes(), policy=email.policy.default)


def types(message: Message) -> list[str]:
    return [part.get_content_type() for part in parsed(message).walk()]


def message(**arguments: Any) -> Message:
    given: dict[str, Any] = {
        "subject": "Hello",
        "recipients": ["ada@example.com"],
        "sender": "shop@example.com",
        "body": "Hi",
    }
    return Message(**{**given, **arguments})


# --- recipients ---------------------------------------------------------------------------


def test_the_default_sender_comes_from_the_application(app: Flask) -> None:
    Mail(app)
    with app.app_context():
        assert Message("Hello").sender == "Shop <shop@example.com>"
        app.extensions["mail"].default_sender = ("Love, Ada", "ada@example.com")
        assert Message("Hello").sender == '"Love, Ada" <ada@example.com>'


def test_a_message_can_be_created_without_an_application() -> None:
    assert Message("Hello").sender is None
    assert "From" not in parsed(Message("Hello", ["ada@example.com"], body="Hi"))


def test_send_to_has_all_recipients_in_order_without_duplicates() -> None:
    sample = message(recipients=["z@x.com", "a@x.com"], cc=["m@x.com", "z@x.com"], bcc=["b@x.com"])
    assert list(sample.send_to) == ["z@x.com", "a@x.com", "m@x.com", "b@x.com"]
    assert sample.send_to == {"a@x.com", "b@x.com", "m@x.com", "z@x.com"}
    sample.add_recipient("m@x.com")
    assert len(sample.send_to) == 4


def test_bcc_is_not_in_any_header() -> None:
    assert b"secret@example.com" not in message(bcc=["secret@example.com"]).as_bytes()


def test_without_recipients_in_to_there_is_no_to_field() -> None:
    assert parsed(message(recipients=[], bcc=["ada@example.com"]))["To"] is None


def test_cc_is_in_its_header_in_order() -> None:
    sample = parsed(message(cc=["Zoë <z@x.com>", ("A", "a@x.com")]))
    assert [(a.display_name, a.addr_spec) for a in sample["Cc"].addresses] == [
        ("Zoë", "z@x.com"),
        ("A", "a@x.com"),
    ]


def test_reply_to_may_be_one_address_or_several() -> None:
    assert parsed(message(reply_to="a@x.com"))["Reply-To"] == "a@x.com"
    assert parsed(message(reply_to=("Ada", "a@x.com")))["Reply-To"] == "Ada <a@x.com>"
    assert parsed(message(reply_to=["a@x.com", "b@x.com"]))["Reply-To"] == "a@x.com, b@x.com"


# --- headers -----------------------------------------------------------------------


def test_the_date_may_be_a_number_or_a_datetime() -> None:
    moment = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    for date in (moment, moment.timestamp()):
        assert parsed(message(date=date))["Date"].datetime == moment


def test_the_message_id_is_stable_and_does_not_contain_the_host_name() -> None:
    sample = message()
    assert re.fullmatch(r"<[^\s@]+@example\.com>", sample.msgId)
    assert parsed(sample)["Message-ID"] == parsed(sample)["Message-ID"] == sample.msgId
    sample.msgId = "<mine@example.com>"
    assert parsed(sample)["Message-ID"] == "<mine@example.com>"


def test_an_extra_header_replaces_that_of_the_message() -> None:
    sample = parsed(message(extra_headers={"X-Kind": "Grüße", "message-id": "<mine@x.com>"}))
    assert sample["X-Kind"] == "Grüße"
    assert sample.get_all("Message-ID") == ["<mine@x.com>"]


@pytest.mark.parametrize("name", ["Content-Type", "MIME-Version", "Content-Transfer-Encoding"])
def test_an_extra_header_cannot_make_the_body_unreadable(name: str) -> None:
    assert message(extra_headers={name: "x"}).has_bad_headers()


def test_a_long_subject_is_folded_and_arrives_unchanged() -> None:
    for subject in ("Many words " * 30, "Größe " * 60, "x" * 900):
        sample = message(subject=subject.strip())
        assert parsed(sample)["Subject"] == subject.strip()
        assert all(len(line) <= 998 for line in sample.as_bytes().split(b"\r\n"))


def test_a_folded_subject_is_left_alone() -> None:
    subject = "one\r\n two\r\n three \r\n \tfour"
    sample = message(subject=subject, extra_headers={"X-Kind": "a\r\n b"})
    assert f"Subject: {subject}\r\n" in sample.as_string()
    assert "X-Kind: a\r\n b\r\n" in sample.as_string()
    assert not sample.has_bad_headers()


@pytest.mark.parametrize("blank", ["", " ", "\t "])
def test_a_blank_value_is_not_a_bad_header(blank: str) -> None:
    assert not message(subject=blank, extra_headers={"X-Kind": blank}).has_bad_headers()


def test_long_headers_are_folded_at_spaces_and_no_line_is_blank() -> None:
    people = [(f'Person "{n}", the Great', f"person.{n}@example.com") for n in range(30)]
    wide = "a" + " " * 300 + "b " * 60 + "c"
    sample = message(recipients=people, extra_headers={"X-Wide": wide})
    headers = dict(sample.as_email().raw_items())
    for name in ("To", "X-Wide"):
        first, *others = headers[name].split("\r\n")
        assert others
        assert all(line.strip() for line in [first, *others])
        assert all(line.startswith(" ") for line in others)
    assert all(len(line) <= 78 for line in headers["To"].split("\r\n"))
    assert headers["X-Wide"].replace("\r\n", "") == wide


def test_without_a_subject_there_is_no_subject_field() -> None:
    assert "Subject" not in parsed(message(subject=""))


@pytest.mark.parametrize(
    "bad",
    [
        {"subject": "one\r\n"},
        {"subject": "one\n\r"},
        {"subject": "one\r\nBcc: eve@x.com"},
        {"subject": "one\r\n two\r\n "},
        {"subject": "one\r\n two\r\n\t"},
        {"subject": "one\n two"},
        {"subject": "\r\n two"},
        {"sender": "a@x.com\r\n"},
        {"sender": ("A\nB", "a@x.com")},
        {"recipients": ["a@x.com", "b\r\n@x.com"]},
        {"recipients": [("A\rB", "a@x.com")]},
        {"cc": ["a@x.com\n"]},
        {"bcc": ["a@x.com\r"]},
        {"reply_to": "a@x.com\r"},
        {"reply_to": ["a@x.com", "b@x.com\r"]},
        {"extra_headers": {"X-Kind": "a\r\nBcc: eve@x.com"}},
        {"extra_headers": {"X-Kind\r\nBcc": "eve@x.com"}},
        {"extra_headers": {"X Kind": "a"}},
        {"attachments": [Attachment("a\r\nb.txt", data="x")]},
        {"attachments": [Attachment("a.txt", "text/plain\r\nX: y", "x")]},
        {"attachments": [Attachment("a.txt", data="x", disposition="inline\r\nX: y")]},
        {"attachments": [Attachment("a.txt", data="x", headers={"X-A": "b\r\nc"})]},
    ],
)
def test_a_line_break_in_a_header_is_found_before_anything_is_sent(
    app: Flask, bad: dict[str, Any]
) -> None:
    mail = Mail(app)
    assert message(**bad).has_bad_headers()
    with pytest.raises(BadHeaderError, match=r"remove it|is invalid"):
        mail.send(message(**bad))


def test_line_breaks_in_headers_are_not_in_the_bytes_either() -> None:
    sample = message(sender="a\r\n@x.com", recipients=["b\r\n@x.com"], reply_to="c@x.com\r")
    assert "From: a@x.com\r\n" in sample.as_string()
    assert "To: b@x.com\r\n" in sample.as_string()
    assert "Reply-To: c@x.com\r\n" in sample.as_string()


def test_the_old_name_of_the_check_warns() -> None:
    with pytest.warns(DeprecationWarning, match="has_bad_headers"):
        assert message().is_bad_headers() is False


# --- text --------------------------------------------------------------------------


def test_a_text_alone_is_a_single_part() -> None:
    assert types(message()) == ["text/plain"]
    assert str(message(date=1, body="Hi")).endswith("\r\n\r\nHi")
    sample = message(date=1)
    assert bytes(sample) == sample.as_bytes() == str(sample).encode()


def test_html_comes_after_the_text() -> None:
    sample = message(html="<p>Hi</p>", alts={"x-amp-html": "<html ⚡4email></html>"})
    assert types(sample) == ["multipart/alternative", "text/plain", "text/x-amp-html", "text/html"]
    assert sample.html == "<p>Hi</p>"
    sample.html = None
    assert "html" not in sample.alts


def test_a_body_is_sent_as_utf_8_without_base64() -> None:
    sample = parsed(message(body="Grüße"))
    assert sample["Content-Transfer-Encoding"] == "8bit"
    assert sample.get_content() == "Grüße"


def test_a_line_of_998_bytes_is_sent_unchanged() -> None:
    assert parsed(message(body="x" * 998))["Content-Transfer-Encoding"] == "7bit"
    assert parsed(message(body="x" * 999))["Content-Transfer-Encoding"] == "quoted-printable"


def test_a_line_of_more_than_998_bytes_is_encoded() -> None:
    sample = message(body="ü" * 600 + "\n")
    assert parsed(sample)["Content-Transfer-Encoding"] == "quoted-printable"
    assert parsed(sample).get_content().strip() == "ü" * 600


@pytest.mark.parametrize(
    ("charset", "body", "arrives_as"),
    [
        ("us-ascii", "plain", "us-ascii"),
        ("us-ascii", "Grüße", "utf-8"),
        ("latin-1", "Grüße", "iso-8859-1"),
        ("latin-1", "送信者", "utf-8"),
        ("shift_jis", "内容", "iso-2022-jp"),
        ("no-such-charset", "Grüße", "utf-8"),
        (None, "plain", "utf-8"),
    ],
)
def test_the_requested_charset_is_used_if_it_can_encode_the_text(
    charset: str | None, body: str, arrives_as: str
) -> None:
    sample = parsed(message(charset=charset, body=body))
    assert sample.get_content_charset() == arrives_as
    assert sample.get_content().strip() == body


# --- attachments -------------------------------------------------------------------


def test_an_attachment_is_a_part_next_to_the_text() -> None:
    sample = message(html="<p>Hi</p>")
    sample.attach("a b.csv", "text/csv", "größe;preis")
    sample.attach(data=b"\x00\x01")
    assert types(sample) == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/csv",
        "application/octet-stream",
    ]
    assert not sample.has_bad_headers()
    first, second = parsed(sample).iter_attachments()
    assert first.get_filename() == "a b.csv"
    assert first.get_content() == "größe;preis"
    assert second.get_content() == b"\x00\x01"
    assert second["Content-Disposition"] == "attachment"


def test_an_attachment_needs_data() -> None:
    with pytest.raises(ValueError, match=r"'a\.txt' has no data"):
        Attachment("a.txt")
    with Path(__file__).open("rb") as file, pytest.raises(TypeError, match=r"read\(\)"):
        Attachment("a.txt", data=file)  # type: ignore[arg-type]
    assert Attachment("a.txt", data=bytearray(b"x")).data == b"x"


def test_the_type_is_guessed_from_the_name_and_from_the_data() -> None:
    assert Attachment("a.pdf", data=b"x").content_type == "application/pdf"
    assert Attachment(data="x").content_type == "text/plain"
    assert Attachment(data=b"x").content_type == "application/octet-stream"


@pytest.mark.parametrize("content_type", ["text", "text/", "/plain", "text plain", "a/b/c"])
def test_an_invalid_content_type_is_reported(content_type: str) -> None:
    sample = message(attachments=[Attachment("a.txt", content_type, "x")])
    with pytest.raises(InvalidMessageError, match=f"'{content_type}'"):
        sample.as_bytes()


def test_parameters_of_a_content_type_are_kept() -> None:
    part = next(
        parsed(
            message(attachments=[Attachment("a.ics", "text/calendar; method=REQUEST", "x")])
        ).iter_attachments()
    )
    assert part["Content-Type"].params == {"method": "REQUEST", "charset": "utf-8"}


def test_a_file_is_attached_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "größe.bin").write_bytes(b"x" * 200)
    sample = message()
    sample.attach_file(tmp_path / "größe.bin")
    part = next(parsed(sample).iter_attachments())
    assert part.get_filename() == "größe.bin"
    assert part.get_content() == b"x" * 200


def test_file_names_can_be_reduced_to_ascii(app: Flask) -> None:
    app.config["MAIL_ASCII_ATTACHMENTS"] = True
    Mail(app)
    sample = message(attachments=[Attachment("ünicödeß ←.→ ✓.txt", data="x")])
    with app.app_context():
        assert 'filename="unicode . .txt"' in sample.as_string()


def test_attach_path_reads_the_file_when_the_message_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "größe.bin"
    path.write_bytes(b"x")
    sample = message(html="<p>Hi</p>")
    sample.attach_path(path)
    sample.attach_path(path, "application/pdf", filename="a.pdf")
    path.write_bytes(b"later" * 100)
    first, second = parsed(sample).iter_attachments()
    assert (first.get_filename(), first.get_content()) == ("größe.bin", b"later" * 100)
    assert (second.get_filename(), second.get_content_type()) == ("a.pdf", "application/pdf")
    assert message(attachments=sample.attachments).as_string().count("a.pdf") == 1
    with pytest.raises(FileNotFoundError):
        sample.attach_path(tmp_path / "none")


def test_an_attached_message_is_readable() -> None:
    sample = message()
    sample.attach("forwarded.eml", "message/rfc822", b"Subject: Inner\r\n\r\nHi\r\n")
    part = next(parsed(sample).iter_attachments())
    assert part["Content-Transfer-Encoding"] is None
    assert part.get_content()["Subject"] == "Inner"


def test_an_inline_image_is_related_to_the_html_by_its_content_id() -> None:
    sample = message()
    source = sample.attach_inline("logo.png", b"png", content_id="logo")
    sample.html = f'<img src="{source}">'
    sample.attach("terms.pdf", data=b"pdf")
    assert source == "cid:logo"
    assert types(sample) == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    image = next(p for p in parsed(sample).walk() if p.get_content_type() == "image/png")
    assert image["Content-ID"] == "<logo>"
    assert image.get_content_disposition() == "inline"


def test_a_content_id_given_as_a_header_does_the_same() -> None:
    sample = message(html='<img src="cid:logo">')
    sample.attach("logo.png", "image/png", b"png", "inline", headers={"Content-ID": "<logo>"})
    assert "multipart/related" in types(sample)
    (image,) = sample.attachments
    assert isinstance(image, Attachment)
    assert image.content_id == "logo"


@pytest.mark.parametrize(
    ("disposition", "headers", "is_related"),
    [
        ("inline", {"Content-ID": "<logo>"}, True),
        ("INLINE", {"content-id": "logo"}, True),
        ("inline", {}, False),
        ("attachment", {"Content-ID": "<logo>"}, False),
    ],
)
def test_an_inline_attachment_with_a_content_id_belongs_to_the_html(
    disposition: str, headers: dict[str, str], is_related: bool
) -> None:
    image = Attachment("a.png", "image/png", b"x", disposition, headers)
    sample = message(html="<p>Hi</p>", attachments=[image])
    assert ("multipart/related" in types(sample)) is is_related
    assert ("multipart/mixed" in types(sample)) is not is_related


def test_an_inline_image_without_html_is_an_ordinary_attachment() -> None:
    sample = message()
    assert sample.attach_inline("logo.png", b"png").endswith("@example.com")
    assert types(sample) == ["multipart/mixed", "text/plain", "image/png"]


def test_the_repr_of_a_message_does_not_show_its_content() -> None:
    sample = message(attachments=[Attachment("a.txt", data="secret")])
    assert repr(sample) == "<Message 'Hello' to 1 recipients>"
    assert "secret" not in repr(sample.attachments)


def test_base64_lines_have_76_columns() -> None:
    data = bytes(range(256)) * 500  # more than one block
    sample = message(attachments=[Attachment("a.bin", data=data)])
    part = next(parsed(sample).iter_attachments())
    assert part.get_content() == data
    assert max(map(len, sample.as_bytes().split(b"\r\n"))) <= 78


def test_sending_sets_a_date_that_was_missing(app: Flask) -> None:
    mail = Mail(app)
    sample = message()
    before = time.time()
    mail.send(sample)
    assert isinstance(sample.date, float)
    assert before <= sample.date <= time.time()


def test_html_may_be_given_as_an_alternative() -> None:
    sample = message(alts={"html": "<p>Hi</p>"})
    assert sample.html == "<p>Hi</p>"
    assert "text/html" in types(sample)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"date": "today"}, "or seconds since the epoch, got 'today'"),
        ({"subject": "a\udcff"}, "cannot be encoded"),
        ({"body": "a\udcff"}, "cannot be encoded"),
        ({"recipients": [("a\udcff", "a@x.com")]}, "cannot be encoded"),
        ({"alts": {"x y": "text"}}, "alts has the invalid type 'x y'"),
        ({"alts": {"x\r\ny": "text"}}, "alts has the invalid type"),
        ({"attachments": ["a.txt"]}, "'a.txt' is not an attachment"),
        (
            {"attachments": [("a.txt", "text/plain", "x")]},
            "not an attachment: write Attachment(",
        ),
        ({"sender": "a@x.com, b@x.com"}, "sender must be one address, got 'a@x.com, b@x.com'"),
    ],
)
def test_a_value_that_cannot_be_sent_is_reported(
    app: Flask, bad: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Mail(app).send(message(**bad))


def test_lists_from_json_and_generators_are_accepted(app: Flask) -> None:
    mail = Mail(app)
    sample = message(recipients=(["Ada", f"{name}@x.com"] for name in "ba"), cc={"c@x.com"})
    assert mail.send(sample).accepted == ("b@x.com", "a@x.com", "c@x.com")
    assert list(sample.send_to) == [("Ada", "b@x.com"), ("Ada", "a@x.com"), "c@x.com"]


def test_alternatives_and_headers_with_the_value_none_are_left_out() -> None:
    sample = message(alts={"x-amp-html": None}, extra_headers={"X-Kind": None})
    assert "x-amp-html" not in sample.as_string()
    assert "X-Kind" not in parsed(sample)


@pytest.mark.parametrize("content_id", ["a b", "<a>", "größe", "a\r\nb", "", '"a"'])
def test_a_content_id_must_be_usable_in_html(content_id: str) -> None:
    with pytest.raises(ValueError, match="content_id"):
        Attachment("a.png", data=b"x", content_id=content_id)


@pytest.mark.parametrize("data", [b"%PDF", bytearray(b"%PDF"), memoryview(b"%PDF")])
def test_the_order_of_arguments_of_flask_mailman_works_for_bytes(data: Any) -> None:
    message = Message("Hello", ["ada@example.com"], body="Hi")
    message.attach("x.pdf", data, "application/pdf")
    message.attach("y.pdf", data)
    for attachment in message.attachments:
        assert isinstance(attachment, Attachment)
        assert (attachment.content_type, attachment.data) == ("application/pdf", b"%PDF")


def test_the_order_of_arguments_of_flask_mailman_is_reported_for_text() -> None:
    message = Message("Hello", ["ada@example.com"], body="Hi")
    with pytest.raises(ValueError, match="the order is filename, content_type, data"):
        message.attach("notes.txt", "Some notes.", "text/plain")
    message.attach("type.txt", "text/plain", "text/html")  # a text that is a content type


@pytest.mark.parametrize(
    "how",
    [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],  # noqa: S301
)
def test_a_message_that_was_sent_can_be_copied_and_pickled(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any], how: Any, tmp_path: Path
) -> None:
    (tmp_path / "terms.txt").write_text("Be kind.")
    mail = Mail(make_app(**settings))
    message = Message("Hello", ["ada@example.com"], body="Hi", html="<p>Hi</p>")
    message.attach("a.txt", "text/plain", "data")
    message.attach_path(tmp_path / "terms.txt")
    with mail.connect() as connection:
        receipt = connection.send(message)
    again = how(message)
    assert again is not message
    assert how(receipt) == receipt
    mail.send(again)
    assert again.msgId == message.msgId
    assert len(mail_server.messages) == 2
