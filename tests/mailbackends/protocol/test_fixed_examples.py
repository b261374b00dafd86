"""Fixed messages, for cases that generated ones rarely produce."""

from __future__ import annotations

import email.policy
import random
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage, Message, MIMEPart
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP
from typing import Any

import pytest

from mailbackends import InvalidMessageError
from mailbackends.integration import FilePart, Part, TextPart, composed, written_message
from mailbackends.mime import content
from mailbackends.mime.folding import header_line
from mailbackends.mime.pieces import BLOCK, Encoded
from mailbackends.mime.serializer import StreamedPart, serialized

NARROW = SMTP.clone(max_line_length=30)
ENDLESS = SMTP.clone(max_line_length=0)
COMPAT32 = email.policy.compat32.clone(linesep="\r\n")


def joined(pieces: Any) -> bytes:
    return b"".join(p if isinstance(p, bytes) else b"".join(p.pieces()) for p in pieces)


# Header fields


@pytest.mark.parametrize("policy", [SMTP, ENDLESS, SMTP.clone(refold_source="all")])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Subject", "Your order"),
        ("Subject", ""),
        ("Subject", "words that go on for longer than a line of thirty"),
        ("To", "Ann Example <ann@example.com>"),
        ("To", "ann@example.com (who is the one that orders the most)"),
        ("Date", "Mon, 23 Nov 2026 16:37:00 +0000"),
        ("Message-ID", "<1234.5678@example.com>"),
        ("Content-Type", 'text/plain; charset="utf-8"'),
        ("MIME-Version", "1.0"),
    ],
)
def test_a_short_ascii_header_object_is_as_the_policy_folds_it(
    policy: Any, name: str, text: str
) -> None:
    stored = policy.header_store_parse(name, text)[1]
    assert header_line(policy, name, stored) == policy.fold_binary(name, stored)


@pytest.mark.parametrize("policy", [SMTP, NARROW, ENDLESS, COMPAT32])
@pytest.mark.parametrize("text", ["plain words", "", " a", "a  b", "=?utf-8?q?x?=", "a\r\n b"])
def test_a_short_text_is_as_the_policy_folds_it(policy: Any, text: str) -> None:
    assert header_line(policy, "X-Note", text) == policy.fold_binary("X-Note", text)


@pytest.mark.parametrize("policy", [NARROW, ENDLESS, COMPAT32])
@pytest.mark.parametrize("text", ["x" * 120, "words " * 19 + "words", "Grüße"])
def test_a_long_text_is_the_same_text_when_unfolded(policy: Any, text: str) -> None:
    stored = SMTP.header_store_parse("X-Note", text)[1]
    for value in (stored, text):
        line = header_line(policy, "X-Note", value)
        read = message_from_bytes(line + b"\r\n", policy=SMTP)["X-Note"]
        assert read.strip() == text


def test_a_header_object_under_the_legacy_policy_is_written_by_that() -> None:
    stored: Any = SMTP.header_store_parse("Subject", "Your order")[1]
    assert header_line(COMPAT32, "Subject", stored) == COMPAT32.fold_binary("Subject", stored)


# Message objects


class Twice(Encoded):
    """One line, twice."""

    size = 8

    def pieces(self) -> Iterator[bytes]:
        yield from (b"aa\r\n", b"aa\r\n")

    def holds(self, text: str) -> bool:
        return text in "aa\r\naa\r\n"


class Streamed(StreamedPart):
    def encoded(self) -> Encoded:
        return Twice()


def test_a_streamed_part_is_written_as_if_it_had_its_text() -> None:
    streamed, plain = Streamed(policy=SMTP), MIMEPart(policy=SMTP)
    plain.set_payload("aa\naa\n")
    for part in (streamed, plain):
        part["Content-Type"] = "text/plain"
    pieces = serialized(streamed, SMTP)
    assert pieces is not None
    assert isinstance(pieces[-1], Twice)
    assert joined(pieces) == plain.as_bytes(policy=SMTP)


def test_a_streamed_part_among_others() -> None:
    messages = []
    for part in (Streamed(policy=SMTP), MIMEPart(policy=SMTP)):
        if not isinstance(part, Streamed):
            part.set_payload("aa\naa\n")
        part["Content-Type"] = "text/plain"
        message = EmailMessage(policy=SMTP)
        message["Content-Type"] = 'multipart/mixed; boundary="between"'
        message.set_payload([part])
        messages.append(message)
    pieces = serialized(messages[0], SMTP)
    assert pieces is not None
    assert joined(pieces) == messages[1].as_bytes(policy=SMTP)


def test_a_multipart_with_a_part_that_is_left_to_the_generator_is_left_as_a_whole() -> None:
    inner: Message[Any, Any] = Message()
    inner["Content-Type"] = "message/rfc822"
    inner.set_payload([MIMEText("forwarded\n")])
    outer = MIMEMultipart(_subparts=[MIMEText("before\n"), inner], boundary="between")
    assert serialized(outer, SMTP) is None
    made = content.from_message(outer)
    assert joined(made.pieces) == outer.as_bytes(policy=COMPAT32)


@pytest.mark.parametrize("text", ["no end", "an end\n", ".", "", "a\r\n.b"])
def test_the_last_line_of_any_content_has_an_end(text: str) -> None:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = "Your order"
    message.set_payload(text)
    written = message.as_bytes(policy=SMTP)
    expected = written if written.endswith(b"\r\n") else written + b"\r\n"
    for fast in (True, False):
        assert joined(content.from_message(message, fast=fast).pieces) == expected


def test_the_last_line_of_a_large_text_has_an_end() -> None:
    message = EmailMessage(policy=SMTP)
    message.set_payload("x\n" * 200_000 + "no end")
    made = content.from_message(message)
    assert joined(made.pieces) == message.as_bytes(policy=SMTP) + b"\r\n"
    assert made.size == len(joined(made.pieces))


@pytest.mark.parametrize("data", [b"a\nb\n", b"a\rb\r", b"a\r\nb", b"a\n\r\rb\r\n"])
def test_each_line_end_of_a_serialised_message_becomes_crlf(data: bytes) -> None:
    sent = joined(content.from_bytes(data).pieces)
    assert sent == "".join(f"{line}\r\n" for line in data.decode().splitlines()).encode()


# Messages that are written without being built

FIELDS: list[tuple[str, Any]] = [
    ("Subject", "Your order"),
    ("From", ["The Shop <shop@example.com>"]),
    ("To", ["ada@example.com", "Bob <bob@example.com>"]),
    ("Date", "Mon, 05 May 2025 09:30:00 +0000"),
    ("Message-ID", "<1.2@example.com>"),
]
HTML = ("<p>It is on its way.</p>\n", "text/html")
CALENDAR = (b"BEGIN:VCALENDAR\r\n", "application/ics")
PDF = ("a.pdf", b"%PDF" * 100, "application/pdf")
LARGE = ("ä.bin", bytes(BLOCK + 1), "application/octet-stream")
NOTES = ("notes.txt", "Grüße\n", "text/plain")


def built(text: str | None, alternatives: Any, attachments: Any) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    if text is not None:
        message.set_content(text)
    for body, kind in alternatives:
        maintype, _, subtype = kind.partition("/")
        if isinstance(body, str):
            message.add_alternative(body, subtype=subtype)
        else:
            message.add_alternative(body, maintype=maintype, subtype=subtype)
    if attachments:
        message.make_mixed()
    for name, data, kind in attachments:
        maintype, _, subtype = kind.partition("/")
        if isinstance(data, str):
            message.add_attachment(data, subtype=subtype, filename=name)
        else:
            message.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    for name, value in FIELDS:
        message[name] = value if isinstance(value, str) else ", ".join(value)
    return message


def parts_of(text: str | None, alternatives: Any, attachments: Any) -> Part | None:
    """The same as values: what `built` has as objects."""

    def part(content: str | bytes, kind: str, name: str | None = None) -> Part:
        if isinstance(content, str):
            return TextPart(content, kind.partition("/")[2], name)
        return FilePart(content, kind, name, "attachment" if name else None)

    return composed(
        None if text is None else TextPart(text),
        [part(content, kind) for content, kind in alternatives],
        [part(content, kind, name) for name, content, kind in attachments],
    )


@pytest.mark.parametrize(
    ("text", "alternatives", "attachments"),
    [
        ("It is on its way.\n", [], []),
        ("Grüße\n", [], []),
        ("x" * 200, [], []),
        ("It is on its way.\n", [HTML], []),
        (None, [HTML], []),
        ("It is on its way.\n", [HTML, CALENDAR], []),
        ("It is on its way.\n", [], [PDF]),
        (None, [], [PDF]),
        (None, [], [PDF, NOTES]),
        ("It is on its way.\n", [HTML], [PDF, NOTES, LARGE]),
    ],
)
def test_each_kind_of_message_is_written_as_it_is_built(
    text: str | None, alternatives: Any, attachments: Any
) -> None:
    random.seed(1)
    message = built(text, alternatives, attachments)
    expected = joined(content.from_message(message).pieces)
    random.seed(1)
    written = written_message(FIELDS, parts_of(text, alternatives, attachments), lambda: message)
    assert written is not None
    made = content.from_written(written)
    assert joined(made.pieces) == expected
    assert made.size == len(expected)


def test_a_message_without_a_body_is_built() -> None:
    assert written_message(FIELDS, None, lambda: built(None, [], [])) is None


@pytest.mark.parametrize("text", ["\ud800", "a\ud800b"])
def test_a_text_that_cannot_be_encoded_in_utf8_is_refused(text: str) -> None:
    def build() -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["Subject"] = "Your order"
        message.set_payload(text)
        return message

    assert written_message(FIELDS, TextPart(text), build) is None
    with pytest.raises(InvalidMessageError):
        content.from_message(build())
