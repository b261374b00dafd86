"""Parts and fields are written as the email package writes them."""

import base64
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP

import pytest

from mailbackends.mime.base64_lines import BLOCK
from mailbackends.mime.parts import (
    EncodedBytes,
    binary_part,
    date_or_identifier,
    text_field,
    text_part,
)


def as_the_package(part):
    return b"".join(SMTP.fold_binary(name, value) for name, value in part.raw_items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Subject", "Your order"),
        ("Subject", "Grüße aus Köln"),
        ("Subject", "long " * 40),
        ("Subject", "=?utf-8?q?already?="),
        ("X-Order", "4711"),
    ],
)
def test_a_field_without_a_structure(name, text):
    message = EmailMessage(policy=SMTP)
    message[name] = text
    assert text_field(name, text) == as_the_package(message)


@pytest.mark.parametrize("text", ["<1@x.example>", f"<{'1' * 90}@x.example>"])
def test_an_identifier_short_or_long(text):
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = text
    assert date_or_identifier("Message-ID", text) == as_the_package(message)


@pytest.mark.parametrize("text", ["short\n", "Grüße\n", "a" * 200, "ü" * 200 + "\n.\n", "a\r\nb"])
def test_a_text_whatever_its_lines(text):
    part = MIMEPart(policy=SMTP)
    part.set_content(text)
    made = text_part(text, "plain", version=False)
    written = b"".join([made.head, b"\r\n", *made.body])
    assert written == part.as_bytes(policy=SMTP).replace(b"MIME-Version: 1.0\r\n", b"")


@pytest.mark.parametrize("size", [0, 1, 57, BLOCK, BLOCK + 1, 3 * BLOCK + 100])
def test_bytes_small_and_large(size):
    data = bytes(range(256)) * (size // 256 + 1)
    made = binary_part(data[:size], "image", "png", version=False)
    (body,) = made.body
    is_large = size > BLOCK
    assert isinstance(body, EncodedBytes) is is_large
    written = b"".join(body.pieces()) if is_large else body
    assert written == base64.encodebytes(data[:size]).replace(b"\n", b"\r\n")
    if is_large:
        assert body.size == len(written)
        assert not body.holds("==")
