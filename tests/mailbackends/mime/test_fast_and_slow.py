"""Reading the email package's objects directly gives the same as calling their methods."""

from __future__ import annotations

import contextlib
import copy
import email
import email.policy
import random
from email.header import Header
from email.headerregistry import HeaderRegistry, UniqueUnstructuredHeader
from email.message import EmailMessage, Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mailer.submission import Job, Submission
from mailbackends.mime import content, email_internals
from mailbackends.mime.headers import (
    HeaderIndex,
    check_headers,
    field_that_needs_utf8,
    outgoing_fields,
)
from mailbackends.mime.pieces import EncodedText
from mailbackends.mime.plain import plain_message
from mailbackends.mime.serializer import StreamedPart
from mailbackends.protocol import envelope

POLICIES = [email.policy.compat32, email.policy.default, email.policy.SMTP, email.policy.SMTPUTF8]
ADDRESSES = ["From", "Sender", "To", "Cc", "Bcc", "Reply-To"]
NAMES = [
    *(*ADDRESSES, "to", "BCC", "Resent-Date", "Resent-From", "Resent-To", "Resent-Bcc"),
    *("Subject", "Date", "Message-ID", "X-Note", "List-Id"),
]
texts = st.one_of(
    st.text(st.characters(max_codepoint=0x600, exclude_categories=["Cs"]), max_size=30),
    st.text('ab é語 <>@,;:"()[]=?_-.\\\t', max_size=60),
    st.sampled_from(
        [
            *("a@x.example", "Ann <a@x.example>", "a@bücher.example", "jörg@x.example"),
            *("a@x.example, b@y.example", "team: a@x.example, b@y.example;", "undisclosed:;"),
            *('"Doe, Ann" <a@x.example>', "=?utf-8?q?J=C3=B6rg?= <a@x.example>", "a@x (Ann)"),
            *("Mon, 23 Nov 2026 16:37:00 +0000", "yesterday", "<1@x.example>", "word " * 30),
            *("x" * 100, ", ".join(f"reader{n}@example.com" for n in range(12)), "a@x b@y"),
        ]
    ),
)


@st.composite
def messages(draw: st.DrawFn) -> Message[Any, Any]:
    policy = draw(st.sampled_from(POLICIES))
    message: Message[Any, Any] = EmailMessage(policy=policy)
    if policy is email.policy.compat32:
        message = Message(policy=policy)
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=8)):
        value: Any = draw(texts)
        if policy is email.policy.compat32 and draw(st.integers(0, 9)) == 0:
            value = Header(value, "utf-8")
        # Only one such field may be there; and the parser has faults of its own.
        with contextlib.suppress(Exception):
            message[name] = value
    body = draw(st.sampled_from(["text\n", "a\r.\nb", "Grüße\n", "x" * 1200, ""]))
    if isinstance(message, EmailMessage):
        try:
            message.set_content(body)
        except Exception:  # the version does not know how to encode it
            message.set_payload("text")
        if draw(st.booleans()):
            message.add_alternative("<p>hi</p>", subtype="html")
    else:
        message.set_payload(body, "utf-8")
    return message


def parsed(message: Message[Any, Any]) -> Message[Any, Any]:
    """The same message, parsed, as a recipient has it."""
    try:
        return email.message_from_bytes(message.as_bytes(), policy=message.policy)
    except Exception:  # the generator's own faults
        return message


def outcome(call: Any, *args: Any, **kwargs: Any) -> Any:
    random.seed(1)
    try:
        return call(*args, **kwargs)
    except (InvalidAddressError, InvalidMessageError) as error:
        return type(error)


def written(message: Message[Any, Any], **options: bool) -> bytes:
    return b"".join(content.from_message(message, **options).chunk())


@settings(max_examples=600, deadline=None)
@given(messages(), st.booleans(), st.booleans(), st.booleans())
def test_the_content_is_that_of_the_generator_and_the_message_is_not_changed(
    message: Message[Any, Any], is_parsed: bool, utf8: bool, allow_8bit: bool
) -> None:
    message = parsed(message) if is_parsed else message
    before = list(message.raw_items()), message.policy, copy.copy(message.__dict__)
    sent = [
        outcome(written, message, utf8=utf8, allow_8bit=allow_8bit, fast=is_fast)
        for is_fast in (True, False)
    ]
    assert sent[0] == sent[1]
    assert before == (list(message.raw_items()), message.policy, message.__dict__)


@settings(max_examples=600, deadline=None)
@given(messages(), st.booleans())
def test_the_envelope_is_the_one_read_by_the_messages_own_methods(
    message: Message[Any, Any], is_parsed: bool
) -> None:
    message = parsed(message) if is_parsed else message
    try:
        assert message.items() == message.items()
    except Exception:  # a field that the parser cannot read
        return
    fast = outcome(envelope.from_message, message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "is_standard", lambda message: False)
        assert fast == outcome(envelope.from_message, message)
    header = HeaderIndex(message)
    for name in NAMES:
        assert header[name] == message[name]
        assert header.get_all(name) == message.get_all(name)


@settings(max_examples=800, deadline=None)
@given(messages(), st.booleans(), st.booleans())
def test_a_plain_message_read_in_one_pass_has_the_same_addresses_and_the_same_bytes(
    message: Message[Any, Any], is_short: bool, allow_8bit: bool
) -> None:
    if is_short and message.is_multipart():  # its text alone
        del message["Content-Type"]
        message.set_content("text\n")  # type: ignore[attr-defined]
    before = list(message.raw_items()), message.policy, copy.copy(message.__dict__)
    plain = plain_message(message)
    if plain is None:
        return
    for is_fast in (True, False):
        [piece] = plain.written.pieces
        assert piece == outcome(written, message, allow_8bit=allow_8bit, fast=is_fast)
    check_headers(message)
    assert field_that_needs_utf8(message) is None
    one_pass = outcome(envelope.from_message, None, plain.sender, plain.recipients)
    assert one_pass == outcome(envelope.from_message, message)
    assert plain.written.message_id == (
        message["Message-ID"] and str(message["Message-ID"]).strip()
    )
    assert before == (list(message.raw_items()), message.policy, message.__dict__)


def usual() -> EmailMessage:
    """A message as most applications build it."""
    message = EmailMessage()
    message["From"] = "Example Shop <shop@example.com>"
    message["To"] = "Ann <a@x.example>, b@y.example"
    message["Bcc"] = "archive@example.com"
    message["Subject"] = "Your order"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("It is on its way.\n")
    return message


def test_the_usual_message_is_read_in_one_pass() -> None:
    plain = plain_message(usual())
    assert plain is not None
    assert plain.sender == "shop@example.com"
    assert plain.recipients == ["a@x.example", "b@y.example", "archive@example.com"]
    assert plain.written.message_id == "<1@example.com>"
    assert plain.written.pieces[0].startswith(b"From: Example Shop <shop@example.com>\r\nTo: Ann <")
    assert b"archive" not in plain.written.pieces[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Subject", "Grüße aus Köln " * 8),
        ("Reply-To", '"Doe, Ann" <ann@example.com>'),
        ("Cc", "Jörg Müller <j@example.com>"),
        ("Cc", ", ".join(f"reader{number}@example.com" for number in range(40))),
        ("Cc", "a@example.com (Ann)"),
    ],
)
def test_fields_that_are_folded_or_encoded_are_read_in_one_pass_too(field: str, value: str) -> None:
    message = usual()
    del message[field]
    message[field] = value
    plain = plain_message(message)
    assert plain is not None
    assert plain.written.pieces == (written(message),)
    assert plain.recipients == list(envelope.from_message(message).forward_paths)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Resent-Date", "Mon, 23 Nov 2026 16:37:00 +0000"),
        ("Cc", "a@bücher.example"),
        ("Cc", "jörg@example.com"),
        ("Cc", "a@example.com b@example.com"),
        ("Return-Receipt-To", "a@example.com"),
        ("X-Note", "a\tb"),
        ("X Note", "a"),
    ],
)
def test_other_fields_are_left_to_the_full_reading(field: str, value: str) -> None:
    message = usual()
    message[field] = value
    assert plain_message(message) is None


def test_an_address_field_of_another_class_is_left_to_the_full_reading() -> None:
    registry = HeaderRegistry()
    registry.map_to_type("to", UniqueUnstructuredHeader)
    message = EmailMessage(policy=email.policy.default.clone(header_factory=registry))
    message["From"], message["To"] = "a@example.com", "b@example.com"
    message.set_content("text\n")
    assert plain_message(message) is None
    assert Job(Submission(message)).envelope.forward_paths == ("b@example.com",)


def test_other_messages_are_left_to_the_full_reading() -> None:
    multipart, binary, long_line = usual(), usual(), usual()
    multipart.add_alternative("<p>hi</p>", subtype="html")
    binary.set_content(b"data", "application", "octet-stream")
    long_line.set_payload("x" * 1200)
    legacy = Message()
    legacy.set_payload("text")
    streamed = Streamed()
    for message in (multipart, binary, long_line, parsed(usual()), legacy, streamed, Sparing()):
        assert plain_message(message) is None


class Sparing(EmailMessage):
    """A message whose methods return another sender and recipient."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name) or ("me@x.example" if name == "From" else None)

    def get_all(self, name: str, failobj: Any = None) -> Any:
        return super().get_all(name, failobj) or (["you@x.example"] if name == "To" else failobj)


def test_a_message_that_overrides_methods_is_asked_for_sender_and_recipients() -> None:
    assert envelope.from_message(Sparing()) == envelope.Envelope("me@x.example", ("you@x.example",))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("Date", text) for text in ("Mon, 23 Nov 2026 16:37:00 +0000", "")),
        *(("MIME-Version", text) for text in ("1.0", "1.0 (made by hand)", "one")),
        *(("Content-Type", text) for text in ("text/plain", "text", 'a/b; c="d e"; f*0=g')),
        *(("Message-ID", text) for text in ("<a@b>", "<a@b> (c)", "none")),
        *(("To", text) for text in ('"a" <b@c>', "a@b (c)", "<@r:a@b>", "a . b@c", "a@b;", "")),
        *(("Subject", text) for text in ("=?utf-8?q?a?= =?utf-8?q?b?=", "a\tb", "")),
    ],
)
@pytest.mark.parametrize("policy", POLICIES[1:])
def test_a_short_ascii_field_is_as_the_package_writes_it(name: str, text: str, policy: Any) -> None:
    policy = policy.clone(linesep="\r\n")
    value = policy.header_store_parse(name, text)[1]
    assert email_internals.parsed_text(value) == str(value._parse_tree)
    assert content.serialized(with_field(name, value), policy) == [
        policy.fold_binary(name, value) + b"\r\n"
    ]


def with_field(name: str, value: Any) -> EmailMessage:
    message = EmailMessage()
    message[name] = value
    return message


def test_a_header_object_keeps_the_case_of_its_name() -> None:
    message = with_field("subject", with_field("Subject", "Hi")["Subject"])
    assert written(message) == b"Subject: Hi\r\n\r\n" == written(message, fast=False)


def test_a_parsed_field_with_undecoded_bytes_is_sent_unchanged() -> None:
    message = email.message_from_bytes(b"Subject: caf\xe9\n more\nTo: a@x\n\nhi\n")
    assert written(message) == b"Subject: caf\xe9\r\n more\r\nTo: a@x\r\n\r\nhi\r\n"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("value", ["x\nBcc: a@evil.example", "x\x0bBcc: a@evil.example"])
@pytest.mark.parametrize("field", ["Subject", "To", "Content-Type"])
def test_a_line_break_added_after_the_check_is_refused_too(
    field: str, value: str, fast: bool
) -> None:
    message = Message()
    message["X-First"] = "x"
    message.set_payload("hi")
    check_headers(message)
    message[field] = f"text/plain; ü={value}"
    with pytest.raises(
        InvalidMessageError, match=f"the header field {field} contains a line break"
    ):
        written(message, fast=fast)


def test_a_field_on_which_the_parser_fails_is_named() -> None:
    def trip(name: str, value: str) -> str:
        raise IndexError("list index out of range")

    policy = email.policy.default.clone(header_factory=trip)
    message = email.message_from_bytes("To: <ü@x.example".encode(), policy=policy)
    words = "the header field To cannot be read: '<.+@x.example': list index out of range"
    with pytest.raises(InvalidMessageError, match=words):
        envelope.from_message(message, "a@x.example")
    with pytest.raises(InvalidMessageError, match=words):
        field_that_needs_utf8(message)
    with pytest.raises(InvalidMessageError, match=words):
        outgoing_fields(message, utf8=False)


class Streamed(StreamedPart):
    def encoded(self) -> EncodedText:
        return EncodedText("encoded\n")

    @property
    def _payload(self) -> str:
        return "encoded\n"

    @_payload.setter
    def _payload(self, value: object) -> None:
        pass


@pytest.mark.parametrize(
    "content_type",
    ["multipart/mixed", "Multipart/Mixed", 'multipart/mixed; x="y z"', "multipart/x; boundary=b"],
)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("width", [30, 78])
def test_the_boundary_of_any_multipart_is_as_the_generator_writes_it(
    content_type: str, policy: Any, width: int
) -> None:
    message = Message(policy=policy.clone(max_line_length=width))
    message["Subject"] = "x"
    message["Content-Type"] = content_type
    message["X-Behind"] = "y"
    before = message["Content-Type"]
    message.attach(with_field("Subject", "in it"))
    message.attach(Streamed())
    fast, slow = (outcome(written, message, fast=is_fast) for is_fast in (True, False))
    assert fast == slow
    assert content.serialized(message, policy.clone(linesep="\r\n")) is not None
    assert message["Content-Type"] == before


def test_a_boundary_with_a_line_break_is_left_to_the_generator() -> None:
    message = Message(policy=email.policy.compat32)
    message["Content-Type"] = 'multipart/mixed; boundary="a\n b"'
    message.attach(with_field("Subject", "x"))
    assert email_internals.is_standard(message)
    policy = email.policy.compat32.clone(linesep="\r\n")
    assert content.serialized(message, policy) is None
    sent = written(message)
    assert sent.count(b"\n") == sent.count(b"\r\n") == sent.count(b"\r")
