"""Bodies with NUL or with lines that are too long are encoded, and signed ones are left alone."""

from __future__ import annotations

import email
import email.policy
import re
from email.charset import BASE64, CHARSETS, SHORTEST
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends import FileAttachment
from mailbackends.mime.content import from_message
from mailbackends.mime.pieces import has_long_line


def sent(message: Message, **options: bool) -> bytes:
    return b"".join(from_message(message, **options).chunk())


def read(data: bytes) -> EmailMessage:
    """The message as a mailbox file has it, with LF."""
    data = data.replace(b"\r\n", b"\n")
    return email.message_from_bytes(data, policy=email.policy.default)  # type: ignore[return-value]


def modern(text: str) -> EmailMessage:
    message = EmailMessage()
    message.set_content(text)
    return message


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("make", [modern, MIMEText])
@pytest.mark.parametrize("text", ["a\0b\n", "Gr\u00fc\u00dfe\0\n"])
def test_nul_in_a_text_is_encoded(make: Any, text: str, fast: bool) -> None:
    data = sent(make(text), fast=fast)
    assert b"\0" not in data
    assert data.lower().count(b"content-transfer-encoding: base64") == 1
    assert read(data).get_content() == text


@pytest.mark.parametrize("fast", [True, False])
def test_nul_in_one_part_changes_no_other(fast: bool) -> None:
    message = modern("plain\n")
    message.add_alternative("<p>\0</p>\n", subtype="html")
    message.add_attachment(b"\0\1", "application", "octet-stream", filename="a.bin")
    data = sent(message, fast=fast)
    assert b"\0" not in data
    assert b"\r\nplain\r\n" in data
    [plain, html] = read(data).get_payload()[0].iter_parts()  # type: ignore[union-attr]
    assert html.get_content() == "<p>\0</p>\n"
    assert plain.get_content() == "plain\n"
    assert "\0" in message.get_payload()[0].get_payload()[1].get_payload()  # as it was


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", ["x" * 5000, "short\n" + "word " * 400 + "\n", "=" * 1000])
def test_a_line_that_is_too_long_is_encoded(text: str, fast: bool) -> None:
    data = sent(MIMEText(text), fast=fast)
    assert max(map(len, data.splitlines())) <= 78
    assert b"quoted-printable" in data
    assert read(data).get_content().rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("text", ["x" * 998 + "\n" + "y" * 998, "x\n" * 2000])
def test_lines_of_998_characters_are_sent_as_they_are(text: str) -> None:
    data = sent(MIMEText(text))
    assert b"Content-Transfer-Encoding: 7bit" in data
    assert data.endswith(text.rstrip("\n").replace("\n", "\r\n").encode() + b"\r\n")


@given(st.lists(st.sampled_from(["x" * 499, "\n", "\r", "\r\n"]), max_size=12).map("".join))
def test_long_lines_are_found(text: str) -> None:
    assert has_long_line(text) is any(len(line) > 998 for line in re.split("\r\n|\r|\n", text))


def test_a_large_attachment_is_not_searched_for_long_lines() -> None:
    message = MIMEMultipart()
    message.attach(MIMEApplication(bytes(100_000)))
    assert sent(message).count(b"base64") == 1


@pytest.mark.parametrize("rules", [email.policy.default, email.policy.compat32])
def test_a_signed_message_is_not_changed(rules: Any) -> None:
    data = (
        b"DKIM-Signature: v=1; b=x\r\nFrom: a@example.com\r\nContent-Type: text/plain\r\n\r\n"
        + b"x" * 2000
        + b"\r\n"
    )
    assert sent(email.message_from_bytes(data, policy=rules)) == data


def test_the_parts_of_a_signed_multipart_are_not_changed() -> None:
    message = MIMEMultipart("signed", boundary="between")
    message.attach(MIMEText("x" * 2000))
    assert b"x" * 2000 in sent(message)


MESSAGE = "From: a@example.com\nSubject: {}\nContent-Type: text/plain; charset=utf-8\n{}\n{}\n"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("body", "encoding"), [("Hello", "7bit"), ("Gr\u00fc\u00dfe", "8bit")])
def test_an_attached_message_is_not_base64(
    tmp_path: Path, body: str, encoding: str, fast: bool
) -> None:
    path = tmp_path / "mail.eml"
    path.write_text(MESSAGE.format("Hi", f"Content-Transfer-Encoding: {encoding}\n", body))
    message = modern("see the attached message\n")
    message.make_mixed()
    message.attach(FileAttachment(path))
    content = from_message(message, fast=fast)
    data = b"".join(content.chunk())
    assert content.size == len(data)
    assert content.is_8bit is (encoding == "8bit")
    assert b"base64" not in data
    assert path.read_bytes().replace(b"\n", b"\r\n") in data
    [part] = read(data).iter_attachments()
    assert part.get_content_type() == "message/rfc822"
    assert part["Content-Transfer-Encoding"] == encoding
    assert part.get_content()["Subject"] == "Hi"
    assert part.get_filename() == "mail.eml"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("encoding", [BASE64, None])  # None is what Flask-Mail sets
def test_an_attached_8bit_message_is_encoded_within_for_7_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fast: bool, encoding: int | None
) -> None:
    monkeypatch.setitem(CHARSETS, "utf-8", (SHORTEST, encoding, "utf-8"))
    path = tmp_path / "mail.eml"
    path.write_text(MESSAGE.format("Hi", "Content-Transfer-Encoding: 8bit\n", "Gr\u00fc\u00dfe"))
    message = modern("see the attached message\n")
    message.make_mixed()
    message.attach(FileAttachment(path))
    data = sent(message, allow_8bit=False, fast=fast)
    assert data.isascii()
    [part] = read(data).iter_attachments()
    assert part["Content-Transfer-Encoding"] == "7bit"
    assert part.get_content().get_content() == "Gr\u00fc\u00dfe\n"


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("Gr\u00fc\u00dfe".encode(), "utf-8"),
        (b"ascii", "utf-8"),
        (b"", "utf-8"),
        ("Gr\u00fc\u00dfe".encode("latin-1"), None),
        ("\u00fc".encode()[:1], None),
        (b"x" * 58367 + "\u00fc".encode() + b"x", "utf-8"),  # across two blocks
    ],
)
def test_a_text_file_that_is_utf8_says_so(tmp_path: Path, data: bytes, charset: str | None) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(data)
    part = FileAttachment(path)
    assert part.get_param("charset") == charset
    assert part.get_payload(decode=True) == data
    assert FileAttachment(path, mimetype="text/csv; charset=x").get_param("charset") == "x"
    assert FileAttachment(path, mimetype="image/x").get_param("charset") is None
