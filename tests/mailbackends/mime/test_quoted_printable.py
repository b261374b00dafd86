"""Texts with long lines are encoded byte for byte as by the email package."""

from __future__ import annotations

import email.policy
import random
from email import quoprimime
from email.message import EmailMessage

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailbackends.mime.layout import MODERN, NotPlain
from mailbackends.mime.legacy import LegacyLayout
from mailbackends.mime.parts import TextPart
from mailbackends.mime.quoted_printable import quoted_lines
from mailbackends.mime.serializer import serialized

# Lines of about the length of an encoded one, or of two, with and without octets to quote.
lines = st.one_of(
    st.binary(max_size=170),
    st.lists(
        st.sampled_from([b"a", b"=", b" ", b"\t", b".", b"\xc3\xa9", b"\x7f", b"x" * 70, b"y" * 9]),
        max_size=40,
    ).map(b"".join),
    st.builds(
        lambda size, end: b"x" * size + end,
        st.integers(60, 170),
        st.sampled_from([b" ", b"\t", b"  ", b"=", b"==", b"a=", b"=a", b"= ", b"."]),
    ),
).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
pieces = ["a", "é", "語", "=", " ", "\t", ".", "\r\n", "\n", "\r", "\x0b", "\x85", "\u2028"]
texts = st.lists(
    st.one_of(st.sampled_from([*pieces, "word " * 17, "<p>" * 40, "é" * 30]), st.text(max_size=30)),
    max_size=60,
).map("".join)


@settings(max_examples=1500, deadline=None)
@given(st.lists(lines, max_size=12), st.sampled_from([76, 78, 4, 20]))
def test_lines_are_those_of_the_email_package(given_lines: list[bytes], width: int) -> None:
    text = "".join(line.decode("latin-1") + "\n" for line in given_lines)
    encoded = "".join(line.decode() + "\n" for line in quoted_lines(given_lines, width))
    assert encoded == quoprimime.body_encode(text, width)


@settings(max_examples=800, deadline=None)
@given(texts)
@example("")
@example("é" * 40 + "\n" + "plain words " * 60)
@example("\n".join(["é" * 40] * 10 + ["plain words " * 60]))
@example("\n".join(["plain words " * 10] * 10 + ["é" * 600]))
def test_a_text_part_is_that_of_the_email_package(text: str) -> None:
    message = EmailMessage(policy=email.policy.SMTP)
    try:
        message.set_content(text.replace("\0", ""), subtype="html")
    except UnicodeEncodeError:  # a lone surrogate
        return
    written = MODERN.write(TextPart(text.replace("\0", ""), "html"))
    assert b"".join(piece for piece in written.pieces if isinstance(piece, bytes)) == bytes(message)


def test_a_large_text_in_base64_is_that_of_the_email_package() -> None:
    text = "".join(random.Random(1).choices("語漢字 \n", k=90_000))
    text = "語" * 50 + text
    message = EmailMessage(policy=email.policy.SMTP)
    message.set_content(text)
    head, body = MODERN.write(TextPart(text)).pieces
    assert isinstance(head, bytes)
    assert not isinstance(body, bytes)
    assert head + b"".join(body.pieces()) == bytes(message)


@settings(max_examples=600, deadline=None)
@given(texts, st.sampled_from(["", "word " * 210, "x" * 1200, "é " * 600]))
@example("", "word " * 210 + "\r")
@example("", "x" * 1200 + "\n")
def test_a_text_part_of_the_older_classes_is_that_of_the_email_package(
    text: str, long: str
) -> None:
    layout = LegacyLayout(email.policy.compat32)
    part = TextPart(f"{text}{long}{text}", "html")
    try:
        written = layout.write(part)
    except NotPlain:
        return
    built = serialized(layout.build(part), layout.policy)
    assert built is not None
    assert written.pieces == built
