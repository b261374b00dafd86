"""LMTP: as the standard library has it, but for the replies to the content."""

from __future__ import annotations

from typing import Any

import pytest

from support.conformance import OURS, Raised, Scenario, World
from support.talk import HANG_UP, SILENCE, Talk, TalkServer

A, B, C, D = "a@a.test", "b@b.test", "c@c.test", "d@d.test"
OK, NO, LATER, BYE = "250 2.0.0 Ok", "550 5.1.1 No", "452 4.2.2 Full", "421 4.3.2 Bye"
HELLO = b"lhlo client.test\r\n"


def over_tcp(call: Any, **changes: Any) -> Any:
    return lambda world: call(world.keep(world.lib.LMTP(**world.options(changes))))


def at_path(call: Any, **options: Any) -> Any:
    def run(world: World) -> Any:
        given = {"local_hostname": "client.test", "timeout": 5, **options}
        return call(world.keep(world.lib.LMTP(world.path, **given)))

    return run


def sent(*args: Any) -> Any:
    given = args or (A, [B], "x")
    return over_tcp(lambda client: client.sendmail(*given))


def content(*replies: str) -> Talk:
    return Talk(content=["\r\n".join(replies)])


SCENARIOS = [
    Scenario("lhlo", over_tcp(lambda c: c.ehlo())),
    Scenario("lhlo refused", over_tcp(lambda c: c.ehlo_or_helo_if_needed()), Talk(ehlo="500 x")),
    Scenario("lhlo and helo refused", sent(), Talk(ehlo="500 x", helo="500 x")),
    Scenario("one recipient", sent()),
    Scenario(
        "a second message", over_tcp(lambda c: [c.sendmail(A, B, "x"), c.sendmail(A, C, "y")])
    ),
    Scenario("all refused by RCPT", sent(A, [B, C], "x"), Talk(rcpt=[NO, LATER])),
    Scenario("one of two refused by RCPT", sent(A, [B, C], "x"), Talk(rcpt=[NO])),
    Scenario("the sender refused", sent(), Talk(mail=NO)),
    Scenario(
        "a login", over_tcp(lambda c: c.login("u", "p")), Talk(ehlo="250-a\r\n250 AUTH PLAIN")
    ),
    Scenario("quit", over_tcp(lambda c: c.quit())),
    Scenario("timeout 0", over_tcp(lambda c: c.noop(), timeout=0)),
    Scenario(
        "the default port", lambda w: w.keep(w.lib.LMTP(local_hostname="a.test")).default_port
    ),
    Scenario(
        "positional arguments",
        lambda w: w.keep(w.lib.LMTP(w.host, w.port, "a.test", None, 5)).noop(),
    ),
    Scenario("a unix socket", at_path(lambda c: c.sendmail(A, B, "x")), unix=True),
    Scenario(
        "a unix socket, and its timeout",
        at_path(lambda c: c.sock.gettimeout(), timeout=3),
        unix=True,
    ),
    Scenario(
        "a unix socket without timeout",
        at_path(lambda c: c.sock.gettimeout(), timeout=None),
        unix=True,
    ),
    Scenario(
        "a unix socket, connect",
        lambda w: w.keep(w.lib.LMTP(local_hostname="a.test")).connect(w.path),
        unix=True,
    ),
    Scenario("a unix socket with timeout 0", at_path(lambda c: c.noop(), timeout=0), unix=True),
    Scenario(
        "a unix socket that is not there",
        lambda w: w.keep(w.lib.LMTP(local_hostname="a.test")).connect("/no/such"),
    ),
    Scenario("a unix socket that refuses", at_path(lambda c: 0), Talk(connect="554 no"), unix=True),
    Scenario("the end at the greeting", at_path(lambda c: 0), Talk(connect=HANG_UP), unix=True),
    # Deliberate differences
    Scenario(
        "two recipients, one refused after the content",
        over_tcp(lambda c: [c.sendmail(A, [B, C], "x"), c.noop()]),
        content(OK, LATER),
        differs="lmtp-replies",
        ours={"result": [{C: (452, b"4.2.2 Full")}, (250, b"2.0.0 Ok")]},
    ),
    Scenario(
        "the refused of both phases",
        sent(A, [B, C, D], "x"),
        Talk(rcpt=[OK, NO, OK], content=["\r\n".join((LATER, OK))]),
        differs="lmtp-replies",
        ours={
            "result": {B: (452, b"4.2.2 Full"), C: (550, b"5.1.1 No")},
            "wire": [
                HELLO + b"mail from:<a@a.test> size=1\r\nrcpt to:<b@b.test>\r\n"
                b"rcpt to:<c@c.test>\r\nrcpt to:<d@d.test>\r\ndata\r\nx\r\n.\r\n"
            ],
        },
    ),
    Scenario(
        "the only recipient refused after the content",
        sent(),
        content(LATER),
        differs="lmtp-replies",
        ours={
            "result": Raised(
                "SMTPRecipientsRefused",
                ({B: (452, b"4.2.2 Full")},),
                "{'b@b.test': (452, b'4.2.2 Full')}",
            )
        },
    ),
    Scenario(
        "all refused after the content, and the next message",
        over_tcp(lambda c: [Raised.by(lambda: c.sendmail(A, [B, C], "x")), c.sendmail(A, D, "y")]),
        Talk(content=[f"{LATER}\r\n{NO}"]),
        differs="lmtp-replies",
        ours={
            "result": [
                Raised(
                    "SMTPRecipientsRefused",
                    ({B: (452, b"4.2.2 Full"), C: (550, b"5.1.1 No")},),
                    "{'b@b.test': (452, b'4.2.2 Full'), 'c@c.test': (550, b'5.1.1 No')}",
                ),
                {},
            ],
            "wire": [
                HELLO + b"mail from:<a@a.test> size=1\r\nrcpt to:<b@b.test>\r\n"
                b"rcpt to:<c@c.test>\r\ndata\r\nx\r\n.\r\nrset\r\n"
                b"mail from:<a@a.test> size=1\r\nrcpt to:<d@d.test>\r\ndata\r\ny\r\n.\r\n"
            ],
        },
    ),
    Scenario(
        "421 between the replies",
        sent(A, [B, C, D], "x"),
        content(OK, BYE),
        differs="lmtp-replies",
        ours={
            "result": {C: (421, b"4.3.2 Bye"), D: (421, b"4.3.2 Bye")},
            "closed": True,
        },
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_lmtp_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


# What only ours does; docs/smtplib.md: `lmtp-replies`


@pytest.mark.parametrize("rest", [HANG_UP, SILENCE], ids=["end", "silence"])
def test_recipients_without_a_reply_are_unknown_if_the_connection_ends_between_the_replies(
    rest: Any,
) -> None:
    def answer(peer: Any) -> None:
        peer.send(b"250 for b\r\n550 for c\r\n")
        rest(peer)

    with TalkServer(Talk(content=answer)) as server:
        client = OURS.LMTP(server.host, server.port, "a.test", timeout=0.3)
        with pytest.raises(OURS.SMTPDeliveryUnknown) as caught:
            client.sendmail(A, [B, C, D], "x")
        assert caught.value.accepted == (B,)
        assert str(caught.value.refused[C]) == "550 for c"
        assert client.sock is None
        assert client.recipient_replies == [(B, (250, b"for b")), (C, (550, b"for c"))]


def test_the_same_recipient_twice_has_two_replies() -> None:
    with TalkServer(content(OK, NO)) as server:
        client = OURS.LMTP(server.host, server.port, "a.test", timeout=5)
        assert client.sendmail(A, [B, B], "x") == {B: (550, b"5.1.1 No")}
        assert client.noop()[0] == 250
        client.close()


def test_a_transaction_by_single_commands_reads_one_reply_for_each_accepted_recipient() -> None:
    with TalkServer(Talk(rcpt=[OK, NO, OK], content=[f"{NO}\r\n{OK}"])) as server:
        client = OURS.LMTP(server.host, server.port, "a.test", timeout=5)
        client.ehlo()
        client.mail(A)
        for recipient in (B, C, D):
            client.rcpt(recipient)
        assert client.data("x") == (250, b"2.0.0 Ok")
        assert client.recipient_replies == [(B, (550, b"5.1.1 No")), (D, (250, b"2.0.0 Ok"))]
        assert client.noop()[0] == 250
        client.close()


def test_rset_and_a_new_mail_forget_the_recipients() -> None:
    with TalkServer(Talk()) as server:
        client = OURS.LMTP(server.host, server.port, "a.test", timeout=5)
        for forget in (client.rset, lambda: client.mail(A)):
            client.mail(A)
            client.rcpt(B)
            client.rcpt(C)
            forget()
            client.rcpt(D)
            assert client.data("x")[0] == 250
            assert [who for who, _ in client.recipient_replies] == [D]
        client.close()


def test_after_recipients_sent_with_docmd_one_reply_is_read() -> None:
    with TalkServer(Talk()) as server:
        client = OURS.LMTP(server.host, server.port, "a.test", timeout=5)
        client.docmd("MAIL", "FROM:<>")
        client.docmd("RCPT", "TO:<b@b.test>")
        assert client.data("x") == (250, b"2.0.0 Queued")
        client.close()
