"""A plain message is written byte for byte as the email package makes it."""

from __future__ import annotations

import base64
import email.policy
import random
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbackends import Submission
from mailbackends.integration import (
    FilePart,
    Part,
    TextPart,
    WrittenMessage,
    composed,
    written_message,
)
from mailbackends.mailer.submission import Job
from mailbackends.mime import content
from mailbackends.mime.pieces import BLOCK, base64_lines, encoded_size
from mailbackends.protocol.extensions import Extensions

FIELDS: list[tuple[str, Any]] = [
    ("Subject", "Your order"),
    ("From", ["The Shop <shop@example.com>"]),
    ("To", ["ada@example.com", "Bob <bob@example.com>"]),
    ("Date", "Mon, 05 May 2025 09:30:00 +0000"),
    ("Message-ID", "<1.2@example.com>"),
]


def content_of(text: str, alternatives: Any = (), attachments: Any = ()) -> Part:
    made = composed(
        TextPart(text),
        [TextPart(body, kind.removeprefix("text/")) for body, kind in alternatives],
        [FilePart(data, kind, name, "attachment") for name, data, kind in attachments],
    )
    assert made is not None
    return made


def built(
    fields: list[tuple[str, Any]], text: str, alternatives: Any = (), attachments: Any = ()
) -> EmailMessage:
    message = EmailMessage(policy=email.policy.SMTP)
    message.set_content(text)
    for body, kind in alternatives:
        message.add_alternative(body, subtype=kind.partition("/")[2])
    for name, data, kind in attachments:
        maintype, _, rest = kind.partition("/")
        message.add_attachment(data, maintype=maintype, subtype=rest, filename=name)
    for name, value in fields:
        message[name] = value if isinstance(value, str) else ", ".join(value)
    return message


def joined(made: content.Content) -> bytes:
    return b"".join(made.chunk())


texts = st.one_of(st.text(max_size=120), st.lists(st.text(max_size=30)).map("\n".join))


@settings(max_examples=60, deadline=None)
@given(
    texts,
    st.lists(st.tuples(texts, st.just("text/html")), max_size=2),
    st.lists(
        st.tuples(st.sampled_from(["a.pdf", "ä.pdf", "a b"]), st.binary(), st.just("a/b")),
        max_size=2,
    ),
)
def test_a_message_is_written_as_the_package_builds_it(
    text: str, alternatives: Any, attachments: Any
) -> None:
    random.seed(1)
    message = built(FIELDS, text, alternatives, attachments)
    expected = joined(content.from_message(message))
    random.seed(1)
    body = content_of(text, alternatives, attachments)
    written = written_message(FIELDS, body, lambda: message)
    if written is None:
        assert any("\0" in part for part in (text, *(body for body, _ in alternatives)))
        return
    assert joined(content.from_written(written)) == expected


def test_a_lone_line_feed_in_a_written_message_is_sent_as_crlf() -> None:
    written = WrittenMessage(
        (b"Subject: hi\n\none\n.\r\ntwo\r.\nthree",), None, lambda: built(FIELDS, "b")
    )
    made = content.from_written(written)
    assert joined(made) == b"Subject: hi\r\n\r\none\r\n.\r\ntwo\r\n.\r\nthree\r\n"
    assert made.size == len(joined(made))


@pytest.mark.parametrize("utf8", [False, True])
def test_a_written_message_is_built_for_a_server_that_needs_another_form(utf8: bool) -> None:
    written = written_message(FIELDS, TextPart("Grüße"), lambda: built(FIELDS, "Grüße"))
    assert written is not None
    assert content.from_written(written).is_8bit
    made = content.from_written(written, utf8=utf8, allow_8bit=False)
    assert not made.is_8bit
    assert b"quoted-printable" in joined(made) or b"base64" in joined(made)


@pytest.mark.parametrize(
    "field",
    [
        ("Subject", "again"),
        ("Sender", "shop@example.com"),
        ("Content-Language", "en"),
        ("X-A", "one\r\nBcc: eve@example.com"),
        ("X-A", "one\x0btwo"),
        ("X A", "b"),
        ("Cc", ["åsa@example.se"]),
        ("Cc", ["ada@bücher.example"]),
        ("Cc", ["a\r\nBcc: eve@example.com"]),
        ("Bcc", ["eve@example.com"]),
    ],
)
def test_what_is_not_plain_is_left_to_the_email_package(field: tuple[str, Any]) -> None:
    assert written_message([*FIELDS, field], TextPart("b"), lambda: built([], "b")) is None


@pytest.mark.parametrize("kind", ["message/rfc822", "multipart/mixed", "a b/c", "a"])
def test_attachments_with_an_unusual_type_are_left_to_the_email_package(kind: str) -> None:
    body = content_of("b", attachments=[("a", b"data", kind)])
    assert written_message(FIELDS, body, lambda: built([], "b")) is None


def test_a_written_message_has_a_message_id_and_a_size() -> None:
    written = written_message(FIELDS, TextPart("b"), lambda: built(FIELDS, "b"))
    assert isinstance(written, WrittenMessage)
    job = Job(Submission(written, "shop@example.com", ["ada@example.com"]))
    assert job.message_id == "<1.2@example.com>"
    assert job.prepare(Extensions()).content.size == job.size


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 1000, BLOCK - 1, BLOCK])
def test_base64_has_lines_of_76_characters(size: int) -> None:
    data = random.Random(1).randbytes(size)
    lines = base64_lines(data)
    assert lines == base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert len(lines) == encoded_size(size)
