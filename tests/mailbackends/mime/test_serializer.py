"""The fast serialiser gives byte for byte what the email package's generator gives.

Both write header fields by the same function, which test_folding.py is about.
"""

from __future__ import annotations

import copy
import email
import email.policy
import io
import random
from email.generator import BytesGenerator
from email.message import EmailMessage, Message, MIMEPart
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import Policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbackends.mime import pieces as mime_pieces
from mailbackends.mime.folding import checked_policy
from mailbackends.mime.pieces import EncodedText
from mailbackends.mime.serializer import serialized

SMTP = checked_policy(email.policy.SMTP)
COMPAT32 = checked_policy(email.policy.compat32, linesep="\r\n")
POLICIES = [
    SMTP,
    checked_policy(email.policy.SMTPUTF8),
    SMTP.clone(cte_type="7bit"),
    SMTP.clone(max_line_length=40),
    SMTP.clone(max_line_length=0),
    SMTP.clone(refold_source="all"),
    SMTP.clone(refold_source="none"),
    COMPAT32,
    COMPAT32.clone(cte_type="7bit"),
]

words = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30),
    st.text("abc déf 語 <>@,;:\"'()[]=?_-.\\ ", max_size=90),
    st.sampled_from(["=?utf-8?q?x?=", "a  b", " a", "a ", "x" * 120, "word " * 40, "<i@d>"]),
)
lines = st.one_of(
    st.text(max_size=200).filter(lambda text: _encodes(text)),
    st.text("ab\r\n.-=ü ", max_size=300),
    st.sampled_from(["", "\n", "no end", "a\n" * 500, "x" * 1200, "From here\n", ".\n..\n"]),
)
names = st.sampled_from(["Subject", "X-Note", "Comments", "List-Id", "Keywords"])
mailboxes = st.lists(
    st.builds(
        lambda name, user: f'"{name}" <{user}@example.com>' if name else f"{user}@example.com",
        st.text("Ab cdé語.", max_size=20).map(str.strip),
        st.text("abc.", min_size=1, max_size=12).map(lambda text: "u" + text.strip(".")),
    ),
    min_size=1,
    max_size=6,
).map(", ".join)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def slow(message: Message[Any, Any], policy: Policy) -> bytes:
    random.seed(1)
    buffer = io.BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(copy.deepcopy(message))
    return buffer.getvalue()


def fast(message: Message[Any, Any], policy: Policy) -> bytes | None:
    random.seed(1)
    pieces = serialized(copy.deepcopy(message), policy)
    if pieces is None:
        return None
    data = b"".join(p if isinstance(p, bytes) else b"".join(p.pieces()) for p in pieces)
    assert len(data) == sum(len(p) if isinstance(p, bytes) else p.size for p in pieces)
    return data


@st.composite
def modern(draw: st.DrawFn) -> EmailMessage:
    message = EmailMessage(policy=draw(st.sampled_from([email.policy.default, email.policy.SMTP])))
    for name in draw(st.lists(names, max_size=3)):
        value = draw(words)
        if name not in message:
            message[name] = value
    message["From"] = draw(mailboxes)
    message["To"] = draw(mailboxes)
    message["Date"] = "Mon, 23 Nov 2026 16:37:00 +0000"
    message["Message-ID"] = "<1234.5678@example.com>"
    cte = draw(st.sampled_from([None, None, "quoted-printable", "base64"]))
    message.set_content(draw(lines), cte=cte)
    if draw(st.booleans()):
        message.add_alternative(draw(lines), subtype="html")
        if draw(st.booleans()):
            html = message.get_payload()[-1]
            html.add_related(draw(st.binary(max_size=300)), "image", "png", cid="<logo>")
    for name in draw(st.lists(words, max_size=2)):
        data = draw(st.binary(max_size=500))
        message.add_attachment(data, "application", "pdf", filename=name or None)
    if draw(st.booleans()):
        message.add_attachment(draw(lines), filename="notes.txt")
    return message


@st.composite
def legacy(draw: st.DrawFn) -> Message[Any, Any]:
    body = draw(lines)
    charset = draw(st.sampled_from(["utf-8", "utf-8", None]))
    text = MIMEText(body, "plain", charset if charset or not body.isascii() else "us-ascii")
    message: Message[Any, Any] = text
    if draw(st.booleans()):
        message = MIMEMultipart(draw(st.sampled_from(["mixed", "alternative"])))
        message.attach(text)
        for _ in range(draw(st.integers(0, 2))):
            message.attach(MIMEImage(draw(st.binary(max_size=200)), "png"))
    message["Subject"] = draw(words)
    message["To"] = draw(mailboxes)
    return message


@settings(max_examples=400, deadline=None)
@given(message=st.one_of(modern(), legacy()), policy=st.sampled_from(POLICIES))
def test_it_writes_what_the_generator_writes(message: Message[Any, Any], policy: Policy) -> None:
    try:
        expected = slow(message, policy)
    except Exception:  # what the generator cannot write is not ours to judge
        return
    written = fast(message, policy)
    assert written is None or written == expected


@settings(max_examples=200, deadline=None)
@given(source=modern(), policy=st.sampled_from(POLICIES), parser=st.sampled_from([SMTP, COMPAT32]))
def test_it_writes_parsed_messages_too(
    source: Message[Any, Any], policy: Policy, parser: Policy
) -> None:
    message = email.message_from_bytes(source.as_bytes(policy=SMTP), policy=parser)
    written = fast(message, policy)
    assert written is None or written == slow(message, policy)


@pytest.mark.parametrize("make", [EmailMessage, MIMEPart, Message])
def test_a_simple_message_takes_the_fast_path(make: type[Message[Any, Any]]) -> None:
    message = make()
    message["Subject"] = "Your order"
    message["To"] = "Ann Example <ann@example.com>"
    message.set_payload("text\n")
    assert fast(message, SMTP) == slow(message, SMTP)
    assert fast(message, SMTP) is not None


def test_a_multipart_takes_the_fast_path() -> None:
    message = EmailMessage()
    message["Subject"] = "Größe"
    message.set_content("text\n")
    message.add_alternative("<p>text</p>\n", subtype="html")
    message.add_attachment(b"%PDF" * 100, "application", "pdf", filename="a.pdf")
    assert fast(message, SMTP) == slow(message, SMTP)
    assert fast(message, SMTP) is not None


def test_a_large_text_is_encoded_piece_by_piece() -> None:
    message = EmailMessage()
    message.add_attachment(bytes(1_000_000), "application", "x", filename="zeros")
    pieces = serialized(message, SMTP)
    assert pieces is not None
    assert any(isinstance(piece, EncodedText) for piece in pieces)
    assert fast(message, SMTP) == slow(message, SMTP)


class Shouting(EmailMessage):
    def get_payload(self, *args: Any, **kwargs: Any) -> Any:
        return str(super().get_payload(*args, **kwargs)).upper()


def test_a_class_that_overrides_a_method_is_left_to_the_generator() -> None:
    message = Shouting()
    message.set_content("text\n")
    assert fast(message, SMTP) is None


def test_an_instance_that_overrides_a_method_is_left_to_the_generator() -> None:
    message = EmailMessage()
    message.set_content("text\n")
    message.raw_items = lambda: iter([("Subject", "mine")])  # type: ignore[method-assign]
    assert serialized(message, SMTP) is None


def test_a_policy_that_overrides_a_method_is_left_to_the_generator() -> None:
    class Mine(email.policy.EmailPolicy):
        def fold_binary(self, name: str, value: str) -> bytes:
            return b"mine"

    message = EmailMessage()
    message.set_content("text\n")
    assert serialized(message, Mine(linesep="\r\n")) is None


@pytest.mark.parametrize(
    "content_type",
    ["message/rfc822", "multipart/signed", "message/delivery-status"],
)
def test_messages_in_messages_and_signed_parts_are_left_to_the_generator(content_type: str) -> None:
    outer: Message[Any, Any] = MIMEBase(*content_type.split("/"))
    outer.attach(MIMEText("text"))
    assert fast(outer, SMTP) is None


@pytest.mark.parametrize("broken", [None, object(), ["no message"], "\udc00\u1234"])
def test_an_invalid_payload_is_left_to_the_generator(broken: Any) -> None:
    message = Message()
    message._payload = broken  # type: ignore[attr-defined]
    result = serialized(message, SMTP)
    assert (result is None) == (broken is not None)


def test_a_preamble_is_left_to_the_generator() -> None:
    message = MIMEMultipart()
    message.preamble = "This is MIME"
    assert fast(message, SMTP) is None


def test_the_boundary_occurs_in_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime_pieces.random, "randrange", lambda limit: 7)
    width = len(repr(mime_pieces.sys.maxsize - 1))
    taken = f"--{'=' * 15}{7:0{width}d}=="
    message = MIMEMultipart(_subparts=[MIMEText(f"{taken}\n")])
    pieces = serialized(message, COMPAT32)
    assert pieces is not None
    written = email.message_from_bytes(b"".join(pieces))
    assert written.get_boundary() == f"{taken[2:]}.0"
    assert message.get_boundary() is None
