"""The writers of messages leave unusual cases to the email package."""

from email.message import EmailMessage, Message
from email.policy import SMTP, EmailPolicy, compat32

import pytest

from mailbackends.mime import fields, pieces
from mailbackends.mime.fields import address_field, date_or_identifier, text_field
from mailbackends.mime.folding import header_line
from mailbackends.mime.layout import MODERN, NotPlain
from mailbackends.mime.parts import FilePart, Multipart, TextPart
from mailbackends.mime.serializer import serialized


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Date", "yesterday"),
        ("Date", "Mon, 05 May 2025 09:30:00 +0000\r\nBcc: a@x"),
        ("Message-ID", "no identifier"),
        ("Message-ID", "<1@x> (comment)"),
    ],
)
def test_unusual_dates_and_message_ids_are_left_to_the_package(name, text):
    assert date_or_identifier(name, text) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [("Subject", "a\r\nBcc: a@x"), ("Subject", "a\x0bb"), ("Sub ject", "a"), ("Sub\nject", "ü"),
     ("Sender", "a@x"), ("Content-Type", "text/plain"), ("Resent-Date", "x")],
)  # fmt: skip
def test_structured_fields_and_line_breaks_are_left_to_the_package(name, text):
    assert text_field(name, text) is None


@pytest.mark.parametrize("mailbox", ["jörg@x.example", "a@bücher.example", "a\r\nBcc: <b@x>"])
def test_international_addresses_are_left_to_the_package(mailbox):
    assert address_field("To", [mailbox]) is None


def test_a_mailbox_on_which_the_parser_fails_is_left_to_the_package(monkeypatch):
    def trip(*args):
        raise IndexError

    monkeypatch.setattr(fields, "header_line", trip)
    assert address_field("To", ["Somebody who has tripped it, <never@seen.example>"]) is None


@pytest.mark.parametrize(
    ("text", "subtype", "filename"),
    [("\ud800", "plain", None), ("hi", "pl ain", None), ("hi", "plain\r\nX: y", None),
     ("hi", "plain; x=y", None), ("hi", "", None), ("hi", "plain", "a\r\nb.txt")],
)  # fmt: skip
def test_a_text_with_an_invalid_type_or_a_lone_surrogate_is_left_to_the_package(
    text, subtype, filename
):
    with pytest.raises(NotPlain):
        MODERN.write(TextPart(text, subtype, filename))


@pytest.mark.parametrize(
    ("maintype", "subtype", "filename"),
    [("multipart", "mixed", None), ("message", "rfc822", None), ("image", "", None),
     ("image", "png\r\nX: y", None), ("image", "png", "a\nb.png")],
)  # fmt: skip
def test_an_attachment_with_an_invalid_type_or_name_is_left_to_the_package(
    maintype, subtype, filename
):
    with pytest.raises(NotPlain):
        MODERN.write(FilePart(b"x", f"{maintype}/{subtype}", filename))


def test_a_longer_boundary_is_written_where_the_first_was_taken(monkeypatch):
    longer = pieces.SAMPLE_BOUNDARY + ".1"
    monkeypatch.setattr(pieces, "new_boundary", lambda parts: longer)
    made = MODERN.write(Multipart("mixed", [TextPart("x")], wraps_body=False))
    head = f'Content-Type: multipart/mixed;\r\n boundary="{longer}"\r\n'
    assert made.head == head.encode()
    body = b"".join(made.body)
    assert body.startswith(f"--{longer}\r\nContent-Type: text/plain".encode())
    assert body.endswith(f"\r\n\r\nx\r\n\r\n--{longer}--\r\n".encode())


def test_a_field_whose_source_is_longer_than_its_text_is_folded_by_the_policy():
    policy = EmailPolicy(max_line_length=30, linesep="\r\n")
    made = EmailMessage(policy=policy)
    made["From"] = "=?utf-8?q?Ann?= =?utf-8?q?Bob?= <a@x>"
    value = made["From"]
    assert str(value) in ("Ann Bob <a@x>", "AnnBob <a@x>")  # as the version has it
    assert header_line(policy, "From", value) == policy.fold_binary("From", value)


def in_parts(boundary, *parts):
    made = Message(policy=compat32)
    made["Content-Type"] = f"multipart/mixed; boundary={boundary}"
    made.set_payload(list(parts))
    return made


def test_a_boundary_that_is_not_ascii_is_left_to_the_package():
    assert serialized(in_parts("ü"), SMTP) is None


def test_a_multipart_without_parts_is_written_as_the_package_does():
    made = in_parts("between")
    policy = compat32.clone(linesep="\r\n")
    assert b"".join(serialized(made, policy)) == made.as_bytes(policy=policy)
