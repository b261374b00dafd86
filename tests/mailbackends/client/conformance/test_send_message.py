"""send_message(): as the standard library has it, byte for byte."""

from __future__ import annotations

import copy
import email
import email.policy
import random
import re
from collections.abc import Callable
from email.message import EmailMessage, Message
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest

from support.conformance import OURS, THEIRS, Raised, Scenario, on_client
from support.talk import Talk, TalkServer

ALL = "250-mail.test\r\n250-SMTPUTF8\r\n250 8BITMIME"
HELLO = b"ehlo client.test\r\n"
NO_SENDER = "the message has no sender: give from_addr, or a From field with an address"
RESENT_TWICE = "message has more than one 'Resent-' header block"

Maker = Callable[[], Message]


def made(body: str = "hello\n", **fields: Any) -> Maker:
    """A modern message. ``resent_to`` is the field Resent-To."""

    def make() -> EmailMessage:
        message = EmailMessage()
        for name, value in {"from": "A <a@a.test>", "to": "b@b.test", **fields}.items():
            if value is not None:
                message[name.replace("_", "-").title()] = value
        message.set_content(body)
        return message

    return make


def legacy(*fields: tuple[str, str], body: str = "hello\n") -> Maker:
    def make() -> Message:
        message = MIMEText(body)
        for name, value in fields:
            message[name] = value
        return message

    return make


def parsed(data: bytes, policy: Any = email.policy.default) -> Maker:
    return lambda: email.message_from_bytes(data, policy=policy)


def mixed() -> Message:
    message = MIMEMultipart("mixed", boundary="=-=-=")
    message["From"], message["To"], message["Subject"] = "a@a.test", "b@b.test", "Grüße"
    message.attach(MIMEText("From here\n.\nFrom there\n"))
    message.attach(MIMEImage(bytes(range(256)), "png"))
    return message


def with_utf8_policy() -> Message:
    message = EmailMessage(policy=email.policy.SMTPUTF8)
    message["From"], message["To"] = "A <a@a.test>", "J\u00f6rg <b@b.test>"
    message.set_payload("hello\n")
    return message


def sent(make: Maker, *args: Any, **options: Any) -> Any:
    """What comes back, and that the message is as it was."""

    def call(client: Any) -> Any:
        message = make()
        before = message.as_bytes()
        return client.send_message(message, *args, **options), message.as_bytes() == before

    return on_client(call)


RESENT = {
    "resent_date": "Thu, 1 Jan 1970 17:42:00 +0000",
    "resent_from": "holy@grail.test",
    "resent_to": "martha@my.test, jeff@x.test",
    "resent_bcc": "doe@losthope.test",
}
SAME: dict[str, Maker] = {
    "a plain message": made(),
    "to, cc and bcc": made(to="b@b.test, C <c@c.test>", cc="d@d.test", bcc="e@e.test, f@f.test"),
    "bcc alone": made(to=None, bcc="e@e.test"),
    "a sender field": made(sender="S <s@s.test>"),
    "several in from": made(**{"from": "a@a.test, b@b.test"}, sender="s@s.test"),
    "several in from, no sender": made(**{"from": "a@a.test, b@b.test"}),
    "a resent message": made(**RESENT),
    "a resent message with a sender": made(**RESENT, resent_sender="s@s.test"),
    "no recipients": made(to=None),
    "undisclosed recipients": made(to="undisclosed-recipients:;", bcc="e@e.test"),
    "a group": made(to="friends: b@b.test, c@c.test;"),
    "display names that are not ASCII": made(to="Jörg <b@b.test>", subject="Grüße"),
    "a body that is not ASCII": made("Grüße\n.\n..x\n"),
    "long lines": made("x" * 2000 + "\n"),
    "dots": made(".\n..\n.x\n"),
    "From at the head of a line": made("From here\n"),
    "legacy": legacy(("From", "a@a.test"), ("To", "b@b.test"), ("Bcc", "c@c.test")),
    "legacy, From at the head of a line": legacy(
        ("From", "a@a.test"), ("To", "b@b.test"), body="x\nFrom here\n"
    ),
    "legacy with two To fields": legacy(
        ("From", "a@a.test"), ("To", "b@b.test"), ("To", "c@c.test")
    ),
    "legacy with an encoded name": legacy(
        ("From", "=?utf-8?q?J=C3=B6rg?= <a@a.test>"), ("To", "b@b.test")
    ),
    "multipart": mixed,
    "a parsed message": parsed(b"From: a@a.test\nTo: b@b.test\nBCC: c@c.test\n\nhi\n"),
    "a parsed message with CRLF": parsed(b"From: a@a.test\r\nTo: b@b.test\r\n\r\nhi\r\n"),
    "a parsed 8-bit message": parsed(
        b"From: a@a.test\nTo: b@b.test\nContent-Type: text/plain; charset=latin-1\n"
        b"Content-Transfer-Encoding: 8bit\n\n\xe9\n",
        email.policy.compat32,
    ),
    "folded fields": parsed(b"From: a@a.test\nTo: b@b.test,\n c@c.test\nSubject: a\n b\n\nhi\n"),
}

SCENARIOS = [
    *(Scenario(name, sent(make)) for name, make in SAME.items()),
    *(Scenario(f"{name}, by helo", sent(make), Talk(ehlo="500 no")) for name, make in SAME.items()),
    Scenario("addresses given", sent(made(bcc="e@e.test"), "x@x.test", ["y@y.test", "z@z.test"])),
    Scenario("a recipient given as text", sent(made(), "x@x.test", "y@y.test")),
    Scenario("only the sender given", sent(made(), from_addr="x@x.test")),
    Scenario("only the recipients given", sent(made(), to_addrs=["y@y.test"])),
    Scenario("the null sender given", sent(made(), from_addr="")),
    Scenario(
        "options", sent(made(), mail_options=["BODY=8BITMIME"], rcpt_options=["NOTIFY=NEVER"])
    ),
    Scenario("some refused", sent(made(cc="c@c.test")), Talk(rcpt=["550 no"])),
    Scenario("all refused", sent(made(cc="c@c.test")), Talk(rcpt="550 no")),
    Scenario(
        "resent twice",
        on_client(lambda c: c.send_message(resent_twice())),
        differs="resent-twice",
        ours={"result": Raised("InvalidMessageError", (RESENT_TWICE,), RESENT_TWICE)},
    ),
    Scenario("an address that is not ASCII", sent(made(to="jörg@b.test"))),
    Scenario(
        "an address that is not ASCII, by helo", sent(made(to="jörg@b.test")), Talk(ehlo="500 x")
    ),
    Scenario("a given address that is not ASCII", sent(made(), "é@a.test", ["b@b.test"])),
    *(
        Scenario(
            f"SMTPUTF8: {name}",
            sent(make, *args),
            Talk(ehlo=ALL),
            differs="utf8-ends",
            ours={"command_encoding": "ascii"},
        )
        for name, make, args in [
            ("the recipient", made(to="jörg@b.test", subject="Grüße"), ()),
            ("a given sender", made(subject="Grüße"), ("é@a.test", ["b@b.test"])),
        ]
    ),
    Scenario(
        "SMTPUTF8: no need", sent(made(to="Jörg <b@b.test>", subject="Grüße")), Talk(ehlo=ALL)
    ),
    # Deliberate differences
    Scenario(
        "no sender",
        sent(made(**{"from": None})),
        differs="no-sender",
        ours={
            "result": Raised(
                "InvalidMessageError",
                (NO_SENDER,),
                NO_SENDER,
            ),
            "wire": [HELLO],
        },
    ),
    Scenario(
        "recipients from an iterator",
        on_client(lambda c: c.send_message(made()(), to_addrs=iter(["b@b.test", "c@c.test"]))),
        Talk(ehlo="250 mail.test"),
        differs="recipients-iterable",
        ours={
            "result": {},
            "wire": [
                HELLO + b"mail from:<a@a.test>\r\nrcpt to:<b@b.test>\r\nrcpt to:<c@c.test>\r\n"
                b"data\r\nFrom: A <a@a.test>\r\nTo: b@b.test\r\nContent-Type: text/plain; "
                b'charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\nMIME-Version: 1.0\r\n'
                b"\r\nhello\r\n.\r\n"
            ],
        },
    ),
    Scenario(
        "a message id longer than a line",
        sent(made(in_reply_to=f"<{'a' * 100}@a.test>")),
        Talk(ehlo="250 mail.test"),
        differs="header-folding",
        ours={
            "wire": [
                HELLO + b"mail from:<a@a.test>\r\nrcpt to:<b@b.test>\r\n"
                b"data\r\nFrom: A <a@a.test>\r\nTo: b@b.test\r\nIn-Reply-To:\r\n <"
                + b"a"
                * 100
                + b"@a.test>\r\nContent-Type: text/plain; "
                b'charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\nMIME-Version: 1.0\r\n'
                b"\r\nhello\r\n.\r\n"
            ],
        },
    ),
    Scenario(
        "a policy with UTF-8, and no need for it",
        sent(with_utf8_policy),
        Talk(ehlo=ALL),
        differs="header-utf8",
        ours={
            "wire": [
                HELLO + b"mail from:<a@a.test>\r\nrcpt to:<b@b.test>\r\n"
                b"data\r\nFrom: A <a@a.test>\r\nTo: =?utf-8?q?J=C3=B6rg?= <b@b.test>\r\n"
                b"\r\nhello\r\n.\r\n"
            ],
        },
    ),
    Scenario(
        "a legacy message for SMTPUTF8",
        sent(legacy(("From", "a@a.test"), ("To", "b@b.test")), "é@a.test"),
        Talk(ehlo=ALL),
        differs="utf8-legacy",
        ours={
            "result": ({}, True),
            "wire": [
                HELLO
                + "mail from:<é@a.test> SMTPUTF8 BODY=8BITMIME\r\n".encode()
                + b"rcpt to:<b@b.test>\r\ndata\r\n"
                b'Content-Type: text/plain; charset="us-ascii"\r\nMIME-Version: 1.0\r\n'
                b"Content-Transfer-Encoding: 7bit\r\nFrom: a@a.test\r\nTo: b@b.test\r\n"
                b"\r\nhello\r\n.\r\n"
            ],
        },
    ),
]


def resent_twice() -> Message:
    message = made(**RESENT)()
    message["Resent-Date"] = "Thu, 1 Jan 1970 17:42:01 +0000"
    return message


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_send_message_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


# What only ours does; docs/smtplib.md: `header-line-break`


@pytest.mark.parametrize("text", ["a\nX-Injected: b", "a\r\nX-Injected: b", "a\r\n\r\nb", "a\rb"])
def test_a_line_break_in_a_header_field_is_refused_before_anything_is_sent(text: str) -> None:
    message = legacy(("From", "a@a.test"), ("To", "b@b.test"), ("Subject", text))()
    with TalkServer(Talk()) as server:
        client = OURS.SMTP(server.host, server.port, "client.test", 5)
        with pytest.raises(OURS.InvalidMessageError, match="Subject"):
            client.send_message(message)
        assert client.noop()[0] == 250
        client.close()
        assert server.received() == [HELLO + b"noop\r\n"]


@pytest.mark.parametrize("boundary", [None, "between"])
@pytest.mark.parametrize("make", [MIMEMultipart, EmailMessage])
@pytest.mark.parametrize("text", ["plain\n", "From here\n", "a\rFrom here", "Grüße\n", ""])
def test_a_message_with_attachments_is_written_as_the_generator_writes_it(
    monkeypatch: pytest.MonkeyPatch, boundary: str | None, make: type[Message], text: str
) -> None:
    message: Any = make()
    message["From"], message["To"], message["Subject"] = "a@a.test", "b@b.test", "Grüße"
    if isinstance(message, EmailMessage):
        message.set_content(text)
        message.add_alternative(f"<p>{text}</p>", subtype="html")
        message.add_attachment(bytes(200_000), "application", "pdf", filename="a.pdf")
    else:
        message.attach(MIMEText(text))
        message.attach(MIMEImage(bytes(range(256)), "png"))
    if boundary:
        message.set_boundary(boundary)
    written = []
    # The boundaries are dice; the same for both, then.
    for lib in (THEIRS, OURS):
        client = lib.SMTP(local_hostname="client.test")
        client.helo_resp = b""
        monkeypatch.setattr(client, "sendmail", lambda *args: written.append(args[2]))
        random.seed(1)
        sent = copy.deepcopy(message)
        client.send_message(sent)
        assert sent.items() == message.items()
    theirs, ours = (with_numbered_boundaries(content) for content in written)
    assert ours == theirs


def with_numbered_boundaries(content: bytes) -> bytes:
    """With the dice in them replaced by their order: they may have been thrown twice."""
    seen = list(dict.fromkeys(re.findall(rb"={15}\d{19}==", content)))
    for number, boundary in enumerate(seen):
        content = content.replace(boundary, b"%d" % number)
    return content
