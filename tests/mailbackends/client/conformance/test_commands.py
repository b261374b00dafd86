"""Each command, its reply and the state after it, compared with the standard library."""

from __future__ import annotations

from typing import Any

import pytest

from support.conformance import Raised, Scenario, World, on_client
from support.talk import HANG_UP, Talk

BAD = "bad\r\nRSET"
TEXT = "Subject: hi\n\nhi\n.\n..\r\nend"


def both(*calls: Any) -> Any:
    """Each of these calls on one client, and what they return."""
    return on_client(lambda client: [call(client) for call in calls])


def after_hello(call: Any) -> Any:
    return on_client(lambda client: (client.ehlo(), call(client)))


def features(*lines: str) -> Talk:
    return Talk(ehlo="\r\n".join([*(f"250-{line}" for line in ("mail.test", *lines)), "250 HELP"]))


SCENARIOS = [
    # EHLO and HELO
    Scenario("helo", on_client(lambda c: c.helo())),
    Scenario("helo with a name", on_client(lambda c: c.helo("other.test"))),
    Scenario("helo refused", on_client(lambda c: c.helo()), Talk(helo="550 no")),
    Scenario("ehlo", on_client(lambda c: c.ehlo())),
    Scenario("ehlo with a name", on_client(lambda c: c.ehlo("other.test"))),
    Scenario("ehlo of one line", on_client(lambda c: c.ehlo()), Talk(ehlo="250 mail.test")),
    Scenario("ehlo without a text", on_client(lambda c: c.ehlo()), Talk(ehlo="250")),
    Scenario("ehlo refused", on_client(lambda c: c.ehlo()), Talk(ehlo="502 what?")),
    Scenario(
        "ehlo refused after it was taken",
        both(lambda c: c.ehlo(), lambda c: c.ehlo(), lambda c: c.mail("a@b.test", ["X=1"])),
        Talk(ehlo=["250-mail.test\r\n250 SIZE", "502 no more"]),
    ),
    Scenario("a name with a line break", on_client(lambda c: c.ehlo(BAD))),
    Scenario("a local host name with a line break", lambda w: w.client(local_hostname=BAD).ehlo()),
    Scenario("helo with a line break", on_client(lambda c: c.helo(BAD))),
    Scenario("ehlo if needed", both(*[lambda c: c.ehlo_or_helo_if_needed()] * 2)),
    Scenario(
        "helo where ehlo is refused",
        both(*[lambda c: c.ehlo_or_helo_if_needed()] * 2),
        Talk(ehlo="500 what?"),
    ),
    Scenario(
        "helo refused as well",
        on_client(lambda c: c.ehlo_or_helo_if_needed()),
        Talk(ehlo="500 what?", helo="501 no"),
    ),
    Scenario(
        "HELO sent by the program",
        both(lambda c: c.helo(), lambda c: c.ehlo_or_helo_if_needed(), lambda c: c.noop()),
    ),
    Scenario(
        "a positive reply to ehlo that is not 250",
        both(lambda c: c.ehlo_or_helo_if_needed(), lambda c: c.has_extn("size")),
        Talk(ehlo="251-mail.test\r\n251 SIZE"),
    ),
    # What EHLO announces
    Scenario("features", after_hello(lambda c: c.has_extn("size")), features("SIZE 1", "x-Y z")),
    Scenario("no feature", after_hello(lambda c: c.has_extn("chunking"))),
    Scenario("has_extn in any case", after_hello(lambda c: c.has_extn("8BitMime"))),
    Scenario("has_extn before ehlo", on_client(lambda c: c.has_extn("size"))),
    Scenario("auth in the new style", on_client(lambda c: c.ehlo()), features("AUTH PLAIN LOGIN")),
    Scenario("auth in the old style", on_client(lambda c: c.ehlo()), features("AUTH=PLAIN LOGIN")),
    Scenario(
        "auth in both styles",
        on_client(lambda c: c.ehlo()),
        features("AUTH=LOGIN", "AUTH PLAIN  LOGIN", "auth CRAM-MD5"),
    ),
    Scenario("auth without mechanisms", on_client(lambda c: c.ehlo()), features("AUTH", "AUTH=")),
    Scenario(
        "odd features",
        on_client(lambda c: c.ehlo()),
        features("", " SIZE 1", "-X", "1A b", "SIZE=7", "A_B c", "SIZE 2", "X\tY", "\xe9 z", "X:y"),
    ),
    Scenario(
        "spaces around features",
        on_client(lambda c: c.ehlo()),
        features("SIZE   10  ", "8BITMIME \t", "DSN\t"),
    ),
    # The simple ones
    *(
        Scenario(f"{name} answered {code}", call, Talk(**{name: f"{code} text"}))
        for name, call in [
            ("noop", on_client(lambda c: c.noop())),
            ("rset", on_client(lambda c: c.rset())),
            ("help", on_client(lambda c: c.help())),
            ("vrfy", on_client(lambda c: c.verify("a@b.test"))),
            ("vrfy", on_client(lambda c: c.vrfy("A <a@b.test>"))),
            ("expn", on_client(lambda c: c.expn("list"))),
            ("mail", on_client(lambda c: c.mail("a@b.test"))),
            ("rcpt", on_client(lambda c: c.rcpt("a@b.test"))),
            ("quit", on_client(lambda c: c.quit())),
        ]
        for code in (250, 214, 252, 354, 450, 502, 550, 999)
    ),
    Scenario("help with an argument", on_client(lambda c: c.help("MAIL"))),
    Scenario(
        "help of many lines", on_client(lambda c: c.help()), Talk(help="214-a\r\n214-b\r\n214 c")
    ),
    Scenario("vrfy with a line break", on_client(lambda c: c.vrfy(BAD))),
    Scenario("expn with a line break", on_client(lambda c: c.expn(BAD))),
    Scenario("VRFY with something that is not an address", on_client(lambda c: c.vrfy("@"))),
    Scenario("vrfy with nothing", on_client(lambda c: c.vrfy(""))),
    # MAIL and RCPT
    Scenario("mail with options before ehlo", on_client(lambda c: c.mail("a@b.test", ["SIZE=1"]))),
    Scenario(
        "mail with options", after_hello(lambda c: c.mail("a@b.test", ["SIZE=1", "BODY=7BIT"]))
    ),
    Scenario(
        "rcpt with options before ehlo", on_client(lambda c: c.rcpt("a@b.test", ["NOTIFY=NEVER"]))
    ),
    Scenario("rcpt with options", after_hello(lambda c: c.rcpt("a@b.test", ["NOTIFY=NEVER"]))),
    Scenario("mail with the null path", on_client(lambda c: c.mail("<>"))),
    Scenario("mail with an empty sender", on_client(lambda c: c.mail(""))),
    Scenario("mail with a line break", on_client(lambda c: c.mail(f"a@b.test>{BAD}"))),
    Scenario("rcpt with a line break", on_client(lambda c: c.rcpt(f"a@b.test>{BAD}"))),
    Scenario("mail options with a line break", after_hello(lambda c: c.mail("a@b.test", [BAD]))),
    Scenario("rcpt options with a line break", after_hello(lambda c: c.rcpt("a@b.test", [BAD]))),
    Scenario("mail that is not ASCII", on_client(lambda c: c.mail("é@b.test"))),
    Scenario("rcpt that is not ASCII", on_client(lambda c: c.rcpt("é@b.test"))),
    Scenario(
        "SMTPUTF8 that the server lacks", after_hello(lambda c: c.mail("a@b.test", ["smtputf8"]))
    ),
    Scenario("SMTPUTF8 before ehlo", on_client(lambda c: c.mail("a@b.test", ["SMTPUTF8"]))),
    Scenario(
        "SMTPUTF8",
        both(
            lambda c: c.ehlo(),
            lambda c: c.mail("é@b.test", ["BODY=8BITMIME", "SMTPUTF8"]),
            lambda c: c.rcpt("ü@b.test"),
            lambda c: c.command_encoding,
            lambda c: c.rset(),
        ),
        features("SMTPUTF8"),
    ),
    Scenario(
        "the encoding after an SMTPUTF8 message",
        both(
            lambda c: c.ehlo(),
            lambda c: c.mail("é@b.test", ["SMTPUTF8"]),
            lambda c: c.rcpt("ü@b.test"),
            lambda c: c.data(b"x"),
        ),
        features("SMTPUTF8"),
        differs="utf8-ends",
        ours={"command_encoding": "ascii"},
    ),
    # DATA
    *(
        Scenario(f"data of {content!r}", on_client(lambda c, content=content: c.data(content)))
        for content in (
            TEXT,
            TEXT.encode(),
            "",
            b"",
            ".",
            b".",
            "\n",
            b"\n",
            b"a\r\n",
            "a\r\n.",
            b"\r\n.\r\n",
            b"a\n.\r\nNOOP <x>\r\n",
            "a\r.\rb",
            b"a\r",
            b"\xff\x00\r\n",
            "a\r\n\r\n",
            b"..",
        )
    ),
    Scenario("data refused", on_client(lambda c: c.data(TEXT)), Talk(data="503 no recipients")),
    Scenario("content refused", on_client(lambda c: c.data(TEXT)), Talk(content="554 spam")),
    Scenario("data answered 250", on_client(lambda c: c.data(TEXT)), Talk(data="250 and now?")),
    Scenario(
        "a dot after a bare CR",
        on_client(lambda c: c.data(b"a\r.\r\nNOOP <x>\r\n")),
        differs="lone-cr-dot",
        ours={"wire": [b"data\r\na\r..\r\nNOOP <x>\r\n.\r\n"]},
    ),
    Scenario(
        "data of text that is not ASCII",
        on_client(lambda c: c.data("é")),
        differs="text-first",
        ours={"wire": [b""]},
    ),
    # docmd, putcmd, getreply, send
    Scenario("docmd", on_client(lambda c: c.docmd("XCLIENT", "NAME=a b"))),
    Scenario("docmd without an argument", on_client(lambda c: c.docmd("XYZZY"))),
    Scenario("docmd with a line break", on_client(lambda c: c.docmd("NOOP", "a\nb\rc"))),
    Scenario("docmd with a line break in the verb", on_client(lambda c: c.docmd("NOOP\r\nRSET"))),
    Scenario("docmd with None", on_client(lambda c: c.docmd("NOOP", None))),
    Scenario("docmd that is not ASCII", on_client(lambda c: c.docmd("NOOP", "é"))),
    Scenario("docmd with an empty command", on_client(lambda c: c.docmd(""))),
    Scenario(
        "a NUL",
        on_client(lambda c: c.docmd("NOOP", "a\0b")),
        differs="nul",
        ours={
            "result": Raised(
                "ValueError",
                (),
                "command and arguments contain prohibited NUL characters: NOOP a\\0b",
            ),
            "wire": [b""],
        },
    ),
    Scenario("putcmd and getreply", both(lambda c: c.putcmd("noop", "x"), lambda c: c.getreply())),
    Scenario(
        "commands in one go",
        both(
            *[lambda c: c.putcmd("mail", "FROM:<>"), lambda c: c.putcmd("rcpt", "TO:<a>")],
            *[lambda c: c.getreply()] * 2,
        ),
        Talk(mail="250 one", rcpt="550 two"),
    ),
    Scenario("send of text", both(lambda c: c.send("noop\r\n"), lambda c: c.getreply())),
    Scenario("send of bytes", both(lambda c: c.send(b"noop\r\n"), lambda c: c.getreply())),
    Scenario(
        "a line in pieces",
        both(
            lambda c: c.send("no"),
            lambda c: c.send("op\r\n"),
            lambda c: c.getreply(),
            lambda c: c.noop(),
        ),
    ),
    Scenario("send of text that is not ASCII", on_client(lambda c: c.send("é"))),
    Scenario(
        "send in an encoding of the program's",
        both(lambda c: setattr(c, "command_encoding", "utf-8"), lambda c: c.docmd("NOOP", "é")),
    ),
    # The shape of replies
    *(
        Scenario(f"the reply {reply!r}", on_client(lambda c: c.noop()), Talk(noop=reply))
        for reply in (
            b"250 ok\n",
            b"250\r\n",
            b"250 \r\n",
            b"250\tok\r\n",
            b"250ok\r\n",
            b"250 a \t \r\n",
            b"250-a\r\n250-b\r\n250 c\r\n",
            b"250-a\r\n250\r\n",
            b"250-\r\n250 c\r\n",
            b"250   a\r\n",
            b"250 \xff\xfe\x00\r\n",
            b"250-a\n250 b\n",
            b"250 a\rb\r\n",
            b"250_x\r\n",
            b"2500 x\r\n",
            b"250 " + b"x" * 8186 + b"\r\n",
            b"550 5.1.1 a\r\n",
            b"000 a\r\n",
            b"199 a\r\n",
        )
    ),
    # The end of the connection
    Scenario("quit", both(lambda c: c.ehlo(), lambda c: c.quit())),
    Scenario("quit twice", both(lambda c: c.quit(), lambda c: Raised.by(c.quit))),
    Scenario("close", both(lambda c: c.ehlo(), lambda c: c.close(), lambda c: c.close())),
    Scenario("a command after close", both(lambda c: c.close(), lambda c: c.noop())),
    *(
        Scenario(
            f"the end in place of the reply to {name}", on_client(call), Talk(**{name: HANG_UP})
        )
        for name, call in [
            ("ehlo", lambda c: c.ehlo()),
            ("ehlo", lambda c: c.ehlo_or_helo_if_needed()),
            ("helo", lambda c: c.helo()),
            ("noop", lambda c: c.noop()),
            ("mail", lambda c: c.mail("a@b.test")),
            ("rcpt", lambda c: c.rcpt("a@b.test")),
            ("data", lambda c: c.data("x")),
            ("quit", lambda c: c.quit()),
        ]
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_command_does_what_it_does_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


@pytest.mark.parametrize("method", ["noop", "ehlo", "quit", "rset", "help", "helo"])
def test_a_call_before_connect_is_an_error_with_the_same_text(method: str) -> None:
    def call(world: World) -> Any:
        return getattr(world.keep(world.lib.SMTP(local_hostname="a.test")), method)()

    Scenario(method, call).check()


def test_getreply_before_connect_raises_the_same_error() -> None:
    def call(world: World) -> Any:
        return world.keep(world.lib.SMTP(local_hostname="a.test")).getreply()

    Scenario(
        "getreply before connect",
        call,
        differs="not-connected",
        ours={
            "result": Raised(
                "SMTPServerDisconnected",
                ("please run connect() first",),
                "please run connect() first",
            )
        },
    ).check()
