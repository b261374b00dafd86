"""sendmail(): as the standard library has it, and where it is better."""

from __future__ import annotations

from email.message import Message
from typing import Any

import pytest

from support.conformance import Raised, Scenario, World, on_client
from support.talk import HANG_UP, SILENCE, Talk

A, B, C, D = "a@a.test", "b@b.test", "c@c.test", "d@d.test"
TEXT = "Subject: hi\n\n.dot\nend\n"
UTF8 = "250-mail.test\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250 SIZE 1000"
NO, LATER, BYE = "550 5.1.1 No", "450 4.2.0 Later", "421 4.3.2 Bye"
HELLO = b"ehlo client.test\r\n"


def sent(*args: Any, **options: Any) -> Any:
    given = args or (A, [B], TEXT)
    return on_client(lambda client: client.sendmail(*given, **options))


def twice(*args: Any) -> Any:
    """What one message and the next one give."""

    def call(world: World) -> Any:
        client = world.client()
        return [
            Raised.by(lambda given=given: client.sendmail(*given))
            for given in (args or (A, [B], TEXT), (A, [D], "second"))
        ]

    return call


def to_each(reply: str, *, at: int) -> list[str]:
    return ["250 ok"] * at + [reply]


TOO_LARGE = b"5.3.4 the content has 6 bytes, and the server takes at most 5 (SIZE)"

SCENARIOS = [
    Scenario("one recipient", sent()),
    Scenario("a recipient as text", sent(A, B, TEXT)),
    Scenario("recipients as a tuple", sent(A, (B, C), TEXT)),
    Scenario("the content as bytes", sent(A, [B], TEXT.encode())),
    Scenario("8-bit bytes", sent(A, [B], b"\xc3\xa9\r\n")),
    Scenario("no content", sent(A, [B], "")),
    Scenario("display names", sent("A <a@a.test>", ["B <b@b.test>", '"C, D" <c@c.test>'], TEXT)),
    Scenario("the null sender", sent("<>", [B], TEXT)),
    Scenario("an empty sender", sent("", [B], TEXT)),
    Scenario(
        "keyword arguments", on_client(lambda c: c.sendmail(from_addr=A, to_addrs=B, msg="x"))
    ),
    Scenario("two messages", twice()),
    Scenario("after helo", sent(), Talk(ehlo="500 what?")),
    Scenario(
        "after helo, with options",
        sent(A, B, TEXT, ["BODY=8BITMIME"], ["NOTIFY=NEVER"]),
        Talk(ehlo="500 what?"),
    ),
    Scenario("neither ehlo nor helo", sent(), Talk(ehlo="500 what?", helo="500 what?")),
    Scenario(
        "EHLO sent by the program", on_client(lambda c: (c.ehlo("x"), c.sendmail(A, B, TEXT)))
    ),
    Scenario("mail options", sent(A, B, TEXT, ["BODY=8BITMIME", "RET=HDRS"])),
    Scenario("mail options as a tuple", sent(A, B, TEXT, ("BODY=8BITMIME",))),
    Scenario("rcpt options", sent(A, [B, C], TEXT, [], ["NOTIFY=NEVER"])),
    Scenario("size without a number", sent(), Talk(ehlo="250-a\r\n250 SIZE")),
    Scenario("size zero", sent(), Talk(ehlo="250-a\r\n250 SIZE 0")),
    Scenario("size that is not a number", sent(), Talk(ehlo="250-a\r\n250 SIZE many")),
    Scenario("size just enough", sent(A, B, "12345"), Talk(ehlo="250-a\r\n250 SIZE 5")),
    Scenario("no size", sent(), Talk(ehlo="250-a\r\n250 8BITMIME")),
    Scenario("size refused by the server", twice(), Talk(mail=["552 5.3.4 too large"])),
    Scenario("SMTPUTF8 that the server lacks", sent(A, B, TEXT, ["SMTPUTF8"])),
    Scenario("SMTPUTF8 that the server lacks, and then another", twice(A, B, TEXT, ["SMTPUTF8"])),
    Scenario("text that is not ASCII", sent(A, B, "é")),
    Scenario("a sender that is not ASCII", sent("é@a.test", B, TEXT)),
    Scenario("a sender with a line break", sent("a@a.test\r\nDATA", B, TEXT)),
    Scenario("mail options with a line break", sent(A, B, TEXT, ["X\r\nDATA"])),
    # Refusals, and what follows them
    *(
        Scenario(f"the sender refused with {code}", twice(), Talk(mail=[f"{code} no"]))
        for code in (251, 354, 450, 501, 550, 552)
    ),
    *(
        Scenario(f"the only recipient refused with {code}", twice(), Talk(rcpt=[f"{code} no"]))
        for code in (252, 354, 450, 501, 550)
    ),
    Scenario("a recipient forwarded", twice(), Talk(rcpt="251 forwarded")),
    Scenario(
        "some recipients refused", twice(A, [B, C, D], TEXT), Talk(rcpt=[NO, "250 ok", LATER])
    ),
    Scenario("all recipients refused", twice(A, [B, C, D], TEXT), Talk(rcpt=[NO, LATER, NO])),
    Scenario("no recipients", twice(A, [], TEXT)),
    Scenario("the content refused", twice(), Talk(content=["554 5.7.1 spam"])),
    Scenario("the content answered 251", twice(), Talk(content=["251 hm"])),
    Scenario("rset refused", twice(), Talk(mail=[NO], rset="500 what?")),
    # 421 and the end at each step
    Scenario("421 to mail", sent(), Talk(mail=BYE)),
    *(
        Scenario(f"421 to recipient {at}", sent(A, [B, C, D], TEXT), Talk(rcpt=to_each(BYE, at=at)))
        for at in range(3)
    ),
    Scenario("421 to a recipient after a refused one", sent(A, [B, C], TEXT), Talk(rcpt=[NO, BYE])),
    Scenario("421 to the content", sent(), Talk(content=BYE)),
    Scenario("the end at ehlo", sent(), Talk(ehlo=HANG_UP)),
    Scenario("the end at mail", sent(), Talk(mail=HANG_UP)),
    Scenario("the end at rcpt", sent(), Talk(rcpt=HANG_UP)),
    Scenario("the end at data", sent(), Talk(data=HANG_UP)),
    Scenario("the end at rset", sent(), Talk(mail=NO, rset=HANG_UP)),
    Scenario(
        "the end at the second recipient", sent(A, [B, C], TEXT), Talk(rcpt=["250 ok", HANG_UP])
    ),
    # Deliberate differences
    Scenario("421 to data", sent(), Talk(data=BYE), differs="421-closes", ours={"closed": True}),
    Scenario(
        "data refused, and the next message",
        twice(),
        Talk(data=["451 4.3.0 Try later"]),
        differs="data-refused",
        ours={
            "wire": [
                HELLO + b"mail from:<a@a.test> size=26\r\nrcpt to:<b@b.test>\r\ndata\r\nrset\r\n"
                b"mail from:<a@a.test> size=6\r\nrcpt to:<d@d.test>\r\ndata\r\nsecond\r\n.\r\n"
            ]
        },
    ),
    *(
        Scenario(
            f"{what}, and the next message",
            twice(A, [B], TEXT, (), options) if options else twice(A, [B, "é@b.test"], TEXT),
            differs="transaction-ended",
            ours={
                "wire": [
                    HELLO + b"mail from:<a@a.test> size=26\r\n" + named + b"rset\r\n"
                    b"mail from:<a@a.test> size=6\r\nrcpt to:<d@d.test>\r\n"
                    b"data\r\nsecond\r\n.\r\n"
                ]
            },
        )
        for what, options, named in [
            ("a recipient that is not ASCII", None, b"rcpt to:<b@b.test>\r\n"),
            ("a line break in rcpt options", ["X\r\nDATA"], b""),
        ]
    ),
    Scenario(
        "the same recipient twice, refused",
        sent(A, [B, B], TEXT),
        Talk(rcpt=NO, data="503 no recipients"),
        differs="refused-twice",
        ours={
            "result": Raised(
                "SMTPRecipientsRefused",
                ({B: (550, b"5.1.1 No")},),
                f"{{'{B}': (550, b'5.1.1 No')}}",
            ),
            "wire": [
                HELLO + b"mail from:<a@a.test> size=26\r\n"
                b"rcpt to:<b@b.test>\r\nrcpt to:<b@b.test>\r\nrset\r\n"
            ],
        },
    ),
    Scenario(
        "recipients from an iterator",
        on_client(lambda c: c.sendmail(A, iter([B, C]), TEXT)),
        differs="recipients-iterable",
        ours={
            "result": {},
            "wire": [
                HELLO + b"mail from:<a@a.test> size=26\r\n"
                b"rcpt to:<b@b.test>\r\nrcpt to:<c@c.test>\r\n"
                b"data\r\nSubject: hi\r\n\r\n..dot\r\nend\r\n.\r\n"
            ],
        },
    ),
    Scenario("the content as a bytearray", sent(A, B, bytearray(b".a\r\n"))),
    Scenario("the content as a memoryview", sent(A, B, memoryview(b".a\r\n"))),
    Scenario("data of a bytearray", on_client(lambda c: c.data(bytearray(b".a\n.b")))),
    Scenario("data of a memoryview", on_client(lambda c: c.data(memoryview(b".a\n.b")))),
    Scenario(
        "data of nothing",
        on_client(lambda c: c.data(None)),
        differs="text-first",
        ours={"wire": [b""]},
    ),
    Scenario(
        "a message object",
        sent(A, B, Message()),
        differs="text-first",
        ours={
            "result": Raised(
                "TypeError",
                (),
                "expected string or bytes-like object, got 'Message'; "
                "send_message() takes message objects",
            ),
            "wire": [HELLO],
        },
    ),
    Scenario(
        "a message larger than the server takes",
        twice(A, [B], "123456"),
        Talk(ehlo="250-a\r\n250 SIZE 5", mail=["552 5.3.4 too large"]),
        differs="size-checked",
        ours={
            "result": [
                Raised("SMTPSenderRefused", (552, TOO_LARGE, A), f"(552, {TOO_LARGE!r}, {A!r})"),
            ]
            * 2,
            "wire": [HELLO],
        },
    ),
    Scenario(
        "the end in place of the reply to the content",
        sent(),
        Talk(content=HANG_UP),
        differs="delivery-unknown",
        ours={
            "result": Raised(
                "SMTPDeliveryUnknown",
                ("Connection unexpectedly closed",),
                "Connection unexpectedly closed: the message may or may not have been delivered: "
                "do not send it again blindly",
            )
        },
    ),
    Scenario(
        "no reply to the content in time",
        lambda w: w.client(timeout=0.2).sendmail(A, B, TEXT),
        Talk(content=SILENCE),
        differs="delivery-unknown",
        ours={
            "result": Raised(
                "SMTPDeliveryUnknown",
                ("Connection unexpectedly closed: timed out",),
                "Connection unexpectedly closed: timed out: the message may or may not have been "
                "delivered: do not send it again blindly",
            )
        },
    ),
    Scenario(
        "a message with SMTPUTF8 in its options, and one without",
        twice("é@a.test", [B], TEXT, ["SMTPUTF8"]),
        Talk(ehlo=UTF8),
        differs="utf8-ends",
        ours={"command_encoding": "ascii"},
    ),
    Scenario(
        "a lone CR in the content",
        sent(A, B, b"a\r.\r\nb"),
        differs="lone-cr-dot",
        ours={
            "wire": [
                HELLO + b"mail from:<a@a.test> size=6\r\nrcpt to:<b@b.test>\r\n"
                b"data\r\na\r..\r\nb\r\n.\r\n"
            ]
        },
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_sendmail_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()
