"""Parts and fields are written as the email package writes them."""

import base64
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP

import pytest

from mailbackends.mime.fields import date_or_identifier, text_field
from mailbackends.mime.layout import MODERN
from mailbackends.mime.parts import FilePart, TextPart
from mailbackends.mime.pieces import BLOCK, EncodedBytes


def as_the_package(part):
    return b"".join(SMTP.fold_binary(name, value) for name, value in part.raw_items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Subject", "Your order"),
        ("Subject", "long " * 40),
        ("Subject", "=?utf-8?q?already?="),
        ("X-Order", "4711"),
    ],
)
def test_an_unstructured_field_is_written_as_the_package_writes_it(name, text):
    message = EmailMessage(policy=SMTP)
    message[name] = text
    assert text_field(name, text) == as_the_package(message)


@pytest.mark.parametrize("text", ["<1@x.example>", "<179000000025.8017.174680@x.example>"])
def test_a_message_id_of_any_length_is_written_as_the_package_writes_it(text):
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = text
    assert date_or_identifier("Message-ID", text) == as_the_package(message)


@pytest.mark.parametrize("text", ["short\n", "Grüße\n", "a" * 200, "ü" * 200 + "\n.\n", "a\r\nb"])
def test_a_text_part_is_written_as_the_package_writes_it(text):
    part = MIMEPart(policy=SMTP)
    part.set_content(text)
    made = MODERN.write(TextPart(text), version=False)
    written = b"".join([made.head, b"\r\n", *made.body])
    assert written == part.as_bytes(policy=SMTP).replace(b"MIME-Version: 1.0\r\n", b"")


@pytest.mark.parametrize("size", [0, 1, 57, BLOCK, BLOCK + 1, 3 * BLOCK + 100])
def test_binary_parts_are_base64_and_large_ones_are_encoded_while_sent(size):
    data = bytes(range(256)) * (size // 256 + 1)
    made = MODERN.write(FilePart(data[:size], "image/png"), version=False)
    (body,) = made.body
    is_large = size > BLOCK
    assert isinstance(body, EncodedBytes) is is_large
    written = b"".join(body.pieces()) if is_large else body
    assert written == base64.encodebytes(data[:size]).replace(b"\n", b"\r\n")
    if is_large:
        assert body.size == len(written)
        assert not body.holds("==")
