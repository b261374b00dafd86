"""Content: nothing in it can end it early, and none of it is lost."""

import re
from email import message_from_bytes
from email.charset import BASE64, CHARSETS, SHORTEST
from email.errors import MessageError
from email.header import Header
from email.message import EmailMessage, Message
from email.mime.text import MIMEText
from email.policy import Compat32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.content import (
    Content,
    from_bytes,
    from_message,
)
from mailbackends.mime.pieces import Encoded, has_lone_line_end

# Pieces of SMTP smuggling.
pieces = st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\0", b"\xff", b"DATA"])
texts = st.lists(pieces, max_size=30).map(b"".join) | st.binary(max_size=200)


def chunk(content):
    return b"".join(content.chunk())


def stuffed(content):
    return b"".join(content.dot_stuffed())


def unstuffed(data):
    """The content as a server reads it (RFC 5321 section 4.5.2): line by line, up to the lone
    dot.
    """
    lines = data.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""], "the content ended early"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])


@given(texts)
@example(b".\r\n")
@example(b"a\n.\r\nMAIL FROM:<x>\r\n")
@example(b"a\r.\r\nMAIL FROM:<x>\r\n")
@example(b"a\r\r\n.\r\n")
def test_stuffing_can_be_undone_and_nothing_ends_the_content_early(data):
    content = from_bytes(data)
    assert unstuffed(stuffed(content)) == chunk(content)


@given(texts)
def test_no_lone_cr_or_lf_is_sent(data):
    content = from_bytes(data)
    for sent in (chunk(content), stuffed(content)):
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", sent)
        assert sent.endswith(b"\r\n")


@given(texts)
def test_only_the_line_ends_change(data):
    lines = re.split(rb"\r\n|\r|\n", data)
    expected = b"\r\n".join(lines if lines[-1] == b"" and len(lines) > 1 else [*lines, b""])
    assert chunk(from_bytes(data)) == expected


@given(texts)
def test_the_size_is_that_of_the_chunk(data):
    content = from_bytes(data)
    assert content.size == len(chunk(content))
    assert content.is_8bit is not chunk(content).isascii()


@given(texts)
def test_lone_line_ends_are_detected(data):
    assert has_lone_line_end(data) is bool(re.search(rb"\r(?!\n)|(?<!\r)\n", data))


@given(st.lists(texts.map(lambda data: chunk(from_bytes(data))) | st.just(b""), max_size=4))
@example([b"a\r\n", b"", b".\r\n"])
def test_stuffing_does_not_depend_on_where_the_pieces_are_cut(parts):
    parts = [*parts, b"end\r\n"]
    in_pieces = Content(tuple(parts), False, sum(map(len, parts)))
    assert stuffed(in_pieces) == stuffed(from_bytes(b"".join(parts)))


@pytest.mark.parametrize("line", [b".dot\r\n", b"a\r\n", b"." * 80 + b"\r\n"])
def test_a_large_content_is_stuffed_window_by_window(line):
    data = line * (1_000_000 // len(line))
    content = from_bytes(data)
    buffers = list(content.dot_stuffed())
    assert unstuffed(b"".join(buffers)) == data
    if line.startswith(b"."):
        assert max(map(len, buffers)) < 600_000


def test_the_repr_shows_the_size_and_not_the_text():
    assert repr(from_bytes(b"secret")) == "<Content of 8 bytes>"


# --- from a message -------------------------------------------------------------------


def letter(kind=EmailMessage, text="Hello\n.\nworld\n", **fields):
    made = kind()
    made["From"] = "me@x.example"
    made["To"] = "you@x.example"
    for name, value in fields.items():
        made[name] = value
    made.set_payload(text)
    return made


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("kind", [EmailMessage, Message])
def test_bcc_is_not_sent_and_the_message_is_not_changed(kind, fast):
    made = letter(kind, Bcc="hidden@x.example")
    made["Resent-Bcc"] = "hidden@x.example"
    before = made.as_bytes()
    sent = chunk(from_message(made, fast=fast))
    assert b"hidden" not in sent
    assert b"bcc" not in sent.lower()
    assert made.as_bytes() == before


@pytest.mark.parametrize("fast", [True, False])
def test_line_ends_are_crlf_whatever_the_message_contains(fast):
    sent = chunk(from_message(letter(text="a\r.\nb\r\nc"), fast=fast))
    assert sent.endswith(b"\r\n\r\na\r\n.\r\nb\r\nc\r\n")


@pytest.mark.parametrize("fast", [True, False])
def test_no_from_line_is_mangled(fast):
    assert b"\r\nFrom here\r\n" in chunk(from_message(letter(text="From here\n"), fast=fast))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("allow_8bit", [True, False])
def test_8bit_bodies_are_encoded_if_8_bits_are_not_allowed(fast, allow_8bit):
    made = EmailMessage()
    made.set_content("Grüße\n", cte="8bit")
    content = from_message(made, allow_8bit=allow_8bit, fast=fast)
    assert content.is_8bit is allow_8bit
    assert ("Grüße".encode() in chunk(content)) is allow_8bit


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", ["Grüße\n", "Grüße " * 80 + "\n"])
def test_8bit_bodies_are_encoded_even_if_the_charset_registry_was_changed(monkeypatch, fast, text):
    """Flask-Mail changes it for the whole process when it is imported."""
    made = letter()
    made.add_attachment(text, cte="8bit", filename="a.txt")
    made.set_boundary("between")
    monkeypatch.setitem(CHARSETS, "utf-8", (SHORTEST, BASE64, "utf-8"))
    before = chunk(from_message(made, allow_8bit=False, fast=fast))
    monkeypatch.setitem(CHARSETS, "utf-8", (SHORTEST, None, "utf-8"))
    assert chunk(from_message(made, allow_8bit=False, fast=fast)) == before
    assert before.isascii()
    (part,) = message_from_bytes(before).get_payload()
    assert part.get_payload(decode=True) == text.encode()


@pytest.mark.parametrize("kind", [EmailMessage, Message])
def test_fields_are_utf8_if_allowed_also_for_the_legacy_policy(kind):
    made = letter(kind, Cc="Jörg <jörg@bücher.example>", Subject="Grüße")
    sent = chunk(from_message(made, utf8=True)).decode()
    assert "Cc: Jörg <jörg@bücher.example>\r\n" in sent
    assert "Subject: Grüße\r\n" in sent


def test_a_legacy_header_object_is_utf8_as_well():
    made = MIMEText("hi", "plain", "utf-8")
    made["Subject"] = Header("Grüße", "utf-8")
    assert "Subject: Grüße\r\n" in chunk(from_message(made, utf8=True)).decode()


def test_domains_are_a_labels_and_names_are_encoded_if_utf8_is_not_allowed():
    sent = chunk(from_message(letter(Cc="Jörg <j@bücher.example>")))
    assert b"<j@xn--bcher-kva.example>" in sent
    assert sent.isascii()


def test_a_large_attachment_is_encoded_while_it_is_sent():
    made = EmailMessage()
    made.set_content("hi")
    made.add_attachment(bytes(range(256)) * 4000, maintype="image", subtype="png")
    made.set_boundary("=between=")
    content = from_message(made)
    assert any(isinstance(piece, Encoded) for piece in content.pieces)
    assert chunk(content) == made.as_bytes(policy=made.policy.clone(linesep="\r\n"))
    assert unstuffed(stuffed(content)) == chunk(content)


# --- invalid messages -----------------------------------------------------------


def nested(depth):
    outermost = part = Message()
    for _ in range(depth):
        part["Content-Type"] = "multipart/mixed"
        inner = Message()
        part.set_payload([inner])
        part = inner
    part.set_payload("deep")
    return outermost


def with_payload(payload, content_type="text/plain"):
    made = Message()
    made["Content-Type"] = content_type
    made._payload = payload
    return made


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "made",
    [
        nested(3000),
        with_payload(["no message"], "multipart/mixed"),
        with_payload(7),
        with_payload(object(), "message/rfc822"),
        with_payload("\ud800"),
    ],
    ids=["too deep", "no parts", "a number", "an object", "half a character"],
)
def test_a_message_that_cannot_be_serialised_is_refused(made, fast):
    with pytest.raises(InvalidMessageError, match="the message cannot be"):
        from_message(made, fast=fast)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("error", [MessageError, TypeError, LookupError])
def test_a_field_that_the_policy_cannot_fold_is_refused(error, fast):
    class Unfolding(Compat32):
        def fold_binary(self, name, value):
            raise error("no")

    made = Message(policy=Unfolding())
    made["Subject"] = "x"
    with pytest.raises(InvalidMessageError, match="cannot be serialised: no") as caught:
        from_message(made, fast=fast)
    assert isinstance(caught.value.__cause__, error)
