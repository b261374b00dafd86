"""A message that cannot be sent is refused before a byte is sent, with the value and a fix."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import Any

import pytest

from mailbackends import (
    InvalidAddressError,
    InvalidMessageError,
    Mailer,
    Outcome,
    Receipt,
    SMTPNotSupportedError,
    Submission,
)
from support.sink import Sink

FROM, TO = "from@example.com", "to@example.com"
BREAKS = ["\r\n", "\n", "\r"]


def legacy(**fields: str) -> Message:
    """A message of the legacy policy, which takes any text into a field."""
    message = Message()
    for name, value in {"From": FROM, "To": TO, "Subject": "hello", **fields}.items():
        message[name] = value
    message.set_payload("Hello.\n")
    return message


def without(*names: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": FROM, "To": TO}.items():
        if name not in names:
            message[name] = value
    message.set_content("Hello.\n")
    return message


BadAddress, BadMessage = InvalidAddressError, InvalidMessageError

# (the arguments, the exception, what its text must contain)
BAD: list[tuple[str, dict[str, Any], type[ValueError], list[str]]] = [
    ("no sender", {"msg": without("From")}, BadMessage, ["no sender", "from_addr"]),
    ("no recipients", {"msg": without("To")}, BadMessage, ["no recipients", "to_addrs"]),
    ("an empty list", {"to_addrs": []}, BadMessage, ["no recipients"]),
    ("bytes without sender", {"msg": b"x", "to_addrs": TO}, BadMessage, ["from_addr"]),
    ("bytes without recipients", {"msg": b"x", "from_addr": FROM}, BadMessage, ["to_addrs"]),
    ("text", {"msg": "Subject: x"}, BadMessage, ["email.message.Message or bytes", "str"]),
    ("nothing", {"msg": None}, BadMessage, ["NoneType"]),
    ("a word", {"to_addrs": ["a b"]}, BadAddress, ["'a b'", "name@example.com"]),
    ("two in one", {"to_addrs": ["a@b, c@d"]}, BadAddress, ["a@b, c@d"]),
    ("an empty one", {"to_addrs": [""]}, BadAddress, ["''"]),
    ("a bad sender", {"from_addr": "me you"}, BadAddress, ["sender", "'me you'"]),
    ("a bad parameter", {"mail_options": ["RET=HDRS BODY=8BITMIME"]}, BadMessage, ["RET=HDRS"]),
    ("a bad rcpt parameter", {"rcpt_options": ["NOTIFY=\r\nDATA"]}, BadMessage, ["NOTIFY="]),
    ("a nameless field", {"msg": legacy(**{"X Y": "z"})}, BadMessage, ["'X Y'", "RFC 5322"]),
]  # fmt: skip
BAD += [
    (f"a {place} with {brk!r}", {given: value(f"a@b.test{brk}RCPT TO:<x@y.test>")},
     BadAddress, [place, "line break", "remove it"])
    for brk in BREAKS
    for place, given, value in (
        ("sender", "from_addr", str), ("recipient", "to_addrs", lambda text: [text]),
    )
]  # fmt: skip
BAD += [
    (f"a field with {brk!r}", {"msg": legacy(Subject=f"hello{brk}Bcc: x@y.test")},
     BadMessage, ["Subject", "line break", "Bcc: x@y.test", "remove it"])
    for brk in BREAKS
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_it_is_refused_before_anything_connects(
    sink: Sink, given: dict[str, Any], kind: type[ValueError], words: list[str]
) -> None:
    with Mailer(sink.url) as mailer:
        with pytest.raises(kind) as caught:
            mailer.send_message(**{"msg": without(), **given})
        text = str(caught.value)
        for word in words:
            assert word in text
        assert "\n" not in text
        assert "\r" not in text
        assert caught.value.outcome is Outcome.NOT_SENT  # type: ignore[attr-defined]
        assert mailer.stats().messages == {Outcome.NOT_SENT: 1}
    assert sink.connections == 0


def test_a_message_that_cannot_be_sent_does_not_stop_a_batch(sink: Sink) -> None:
    items = [
        Submission(b"1", FROM, TO),
        Submission(b"2", FROM, "two words"),
        without("From"),
        Submission(b"3", FROM, TO),
    ]
    with Mailer(sink.url) as mailer:
        results = list(mailer.stream_messages(items))
    kinds = [type(result) for result in results]
    assert kinds == [Receipt, InvalidAddressError, InvalidMessageError, Receipt]
    assert [m.content for m in sink.messages] == [b"1\r\n", b"3\r\n"]


@pytest.mark.parametrize("item", [None, "text", 5, ("a", "b")], ids=repr)
def test_an_item_that_is_not_a_message_does_not_end_a_batch(sink: Sink, item: Any) -> None:
    with Mailer(sink.url) as mailer:
        results = list(mailer.stream_messages([item, without()]))
    assert [type(result) for result in results] == [InvalidMessageError, Receipt]


def tripping_over(field: str) -> Message:
    """A parsed message with a field that the email package's parser cannot read."""

    def read(name: str, value: str) -> str:
        if name == field:
            raise IndexError("string index out of range")
        return str(policy.default.header_factory(name, value))

    data = f"From: {FROM}\r\nTo: {TO}\r\nMessage-ID: <a@\r\n\r\nHello.\r\n".encode()
    return message_from_bytes(data, policy=policy.default.clone(header_factory=read))


def test_recipients_that_the_parser_cannot_read_do_not_end_a_batch(
    sink: Sink,
) -> None:
    with Mailer(sink.url) as mailer:
        results = list(mailer.stream_messages([tripping_over("To"), without()]))
    assert [type(result) for result in results] == [InvalidMessageError, Receipt]


def test_a_message_whose_message_id_cannot_be_parsed_is_sent_and_reported(sink: Sink) -> None:
    with Mailer(sink.url) as mailer:
        receipt = mailer.send_message(tripping_over("Message-ID"))
    assert receipt.message_id is None
    assert [m.content.count(b"Message-ID: <a@\r\n") for m in sink.messages] == [1]


def test_a_message_that_a_server_cannot_take_is_refused_before_a_command() -> None:
    with Sink(extensions=("PIPELINING", "8BITMIME")) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(without())
        before = list(sink.commands[0])
        with pytest.raises(SMTPNotSupportedError, match="SMTPUTF8") as caught:
            mailer.send_message(without(), to_addrs=["jürgen@example.com"])
        assert caught.value.outcome is Outcome.NOT_SENT
        assert sink.commands[0] == before
        mailer.send_message(without())
        assert mailer.stats().pool.made == 1


# Characters that could be taken for a line end cannot inject a command.


@pytest.mark.parametrize("extensions", [("PIPELINING", "CHUNKING"), ("PIPELINING",), ()], ids=str)
@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r\n", b"\r.\n"]
)
def test_content_cannot_end_itself(extensions: tuple[str, ...], end: bytes) -> None:
    smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\nHa\r\n.\r\n"
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(b"Subject: hello\r\n\r\nfirst" + end + smuggled, FROM, TO)
        mailer.send_message(b"second", FROM, TO)
    assert len(sink.messages) == 2
    assert {m.mail_from for m in sink.messages} == {FROM}
    content = sink.messages[0].content
    assert content.replace(b"\r\n", b"").count(b"\n") == 0
    assert content.replace(b"\r\n", b"").count(b"\r") == 0
    assert b"evil@example.com" in content
