"""The dialogue around a message: greeting, EHLO, STARTTLS, QUIT; right and wrong."""

import pytest

from mailbackends.errors import (
    SMTPConnectError,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
    SMTPTLSError,
)
from mailbackends.protocol.command import Command
from mailbackends.protocol.dialogue import ask, greeting, hello, quit_now, starttls
from mailbackends.protocol.session import Session, State, Want
from support.runner import Runner, ready_session

EHLO = b"250-there\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"


def greeted(**options):
    session = Session(**options)
    Runner(session, [b"220 there\r\n"]).run(greeting(session))
    return session


# --- the greeting ---------------------------------------------------------------------


def test_a_220_greeting_is_accepted():
    session = Session()
    reply = Runner(session, [b"220-there\r\n220 ESMTP\r\n"]).run(greeting(session))
    assert reply.message == b"there\nESMTP"
    assert session.state is State.GREETED


@pytest.mark.parametrize("reply", [b"554 no service", b"421 busy", b"250 hello", b"221 bye"])
def test_any_other_greeting_is_a_refusal(reply):
    session = Session()
    with pytest.raises(SMTPConnectError) as caught:
        Runner(session, [reply + b"\r\n"]).run(greeting(session))
    assert caught.value.smtp_code == int(reply[:3])
    assert session.state is State.CLOSED


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"* OK IMAP\r\n", b"\r\n"])
def test_the_greeting_of_another_protocol_is_an_error(data):
    session = Session()
    with pytest.raises(SMTPProtocolError):
        Runner(session, [data]).run(greeting(session))
    assert session.state is State.CLOSED


@pytest.mark.parametrize("kind", [SMTPTimeoutError, SMTPServerDisconnected])
@pytest.mark.parametrize(
    ("is_tls", "is_lmtp", "is_suggested"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
def test_without_a_greeting_tls_from_the_first_byte_is_suggested(
    kind, is_tls, is_lmtp, is_suggested
):
    session = Session(is_lmtp=is_lmtp)
    session.is_tls = is_tls
    with pytest.raises(kind) as caught:
        Runner(session, ending=lambda: kind("no reply")).run(greeting(session))
    assert ("set security='tls'" in str(caught.value.hint)) is is_suggested


def test_a_second_greeting_does_not_answer_ehlo():
    session = Session()
    Runner(session, [b"220 there\r\n220 there\r\n"]).run(greeting(session))
    with pytest.raises(SMTPProtocolError, match="before its command"):
        Runner(session).run(hello(session, "here"))


# --- EHLO -----------------------------------------------------------------------------


def test_the_reply_to_ehlo_lists_the_extensions():
    session = greeted()
    runner = Runner(session, [EHLO])
    runner.run(hello(session, "here"))
    assert runner.lines == [b"EHLO here"]
    assert session.extensions.max_size == 1000
    assert session.state is State.READY


@pytest.mark.parametrize("reply", [b"500 what", b"502 no", b"550 no", b"450 later"])
def test_helo_follows_a_refused_ehlo(reply):
    session = greeted()
    runner = Runner(session, [reply + b"\r\n", b"250-there\r\n250 PIPELINING\r\n"])
    runner.run(hello(session, "here"))
    assert runner.lines == [b"EHLO here", b"HELO here"]
    # The reply to HELO announces nothing.
    assert session.extensions.keywords == {}
    assert session.state is State.READY


def test_after_helo_the_extensions_of_an_earlier_ehlo_are_forgotten():
    session = ready_session("PIPELINING", "AUTH PLAIN")
    Runner(session, [b"502 no\r\n", b"250 there\r\n"]).run(hello(session, "here"))
    assert session.extensions.keywords == {}


def test_both_refused_ends_the_session():
    session = greeted()
    with pytest.raises(SMTPHeloError) as caught:
        Runner(session, [b"500 what\r\n", b"550 go away\r\n"]).run(hello(session, "here"))
    assert caught.value.smtp_error == b"go away"
    assert session.state is State.CLOSED


def test_a_421_to_ehlo_is_not_followed_by_helo():
    session = greeted()
    runner = Runner(session, [b"421 bye\r\n"])
    with pytest.raises(SMTPHeloError):
        runner.run(hello(session, "here"))
    assert runner.lines == [b"EHLO here"]


def test_lmtp_sends_lhlo_and_nothing_else():
    session = greeted(is_lmtp=True)
    runner = Runner(session, [EHLO])
    runner.run(hello(session, "here"))
    assert runner.lines == [b"LHLO here"]
    session = greeted(is_lmtp=True)
    runner = Runner(session, [b"500 what\r\n"])
    with pytest.raises(SMTPHeloError):
        runner.run(hello(session, "here"))
    assert runner.lines == [b"LHLO here"]


@pytest.mark.parametrize("name", ["here\r\nMAIL FROM:<>", "here\0", "\ud800"])
def test_a_name_that_would_be_more_than_one_command_is_not_sent(name):
    session = greeted()
    runner = Runner(session, [EHLO])
    with pytest.raises(ValueError, match="control characters"):
        runner.run(hello(session, name))
    assert runner.sent == b""


# --- STARTTLS -------------------------------------------------------------------------


def before_tls(*replies, **options):
    session = greeted()
    Runner(session, [EHLO]).run(hello(session, "here"))
    return session, Runner(session, replies, **options)


def test_starttls_is_followed_by_a_second_ehlo():
    session, runner = before_tls(b"220 go\r\n", b"250-there\r\n250 AUTH PLAIN\r\n")
    runner.run(starttls(session, "here"))
    assert runner.lines == [b"STARTTLS", b"EHLO here"]
    assert runner.wants == [Want.REPLY, Want.TLS, Want.REPLY]
    assert session.is_tls
    assert dict(session.extensions.keywords) == {"AUTH": "PLAIN"}


def test_after_a_refused_ehlo_under_tls_extensions_announced_in_clear_are_forgotten():
    session, runner = before_tls(b"220 go\r\n", b"500 what\r\n", b"250 there\r\n")
    runner.run(starttls(session, "here"))
    assert session.extensions.keywords == {}


def test_nothing_more_is_sent_to_a_server_that_does_not_offer_tls():
    session = ready_session("SIZE 1000")
    runner = Runner(session)
    with pytest.raises(SMTPNotSupportedError, match="STARTTLS extension not supported"):
        runner.run(starttls(session, "here"))
    assert runner.sent == b""
    assert session.state is State.CLOSED


@pytest.mark.parametrize("reply", [b"454 not now", b"502 what", b"250 ok", b"421 bye"])
def test_tls_refused_ends_the_session(reply):
    session, runner = before_tls(reply + b"\r\n")
    with pytest.raises(SMTPResponseException) as caught:
        runner.run(starttls(session, "here"))
    assert caught.value.smtp_code == int(reply[:3])
    assert Want.TLS not in runner.wants
    assert session.state is State.CLOSED


@pytest.mark.parametrize("injected", [b"250 there\r\n", b"2", b"\n"])
def test_bytes_in_clear_after_the_reply_to_starttls_close_the_session_before_the_handshake(
    injected,
):
    session, runner = before_tls(b"220 go\r\n" + injected)
    with pytest.raises(SMTPProtocolError, match="in clear followed the reply to STARTTLS"):
        runner.run(starttls(session, "here"))
    assert Want.TLS not in runner.wants
    assert session.state is State.CLOSED


def test_a_reply_to_starttls_before_the_command_closes_the_session():
    session, runner = before_tls()
    session.receive_data(b"220 go\r\n")
    with pytest.raises(SMTPProtocolError, match="before its command"):
        runner.run(starttls(session, "here"))
    assert runner.sent == b""


def test_after_a_failed_handshake_nothing_more_is_sent():
    def fail():
        raise SMTPTLSError("no TLS")

    session, runner = before_tls(b"220 go\r\n", tls=fail)
    with pytest.raises(SMTPTLSError):
        runner.run(starttls(session, "here"))
    assert runner.lines == [b"STARTTLS"]
    assert (session.is_tls, session.state) == (False, State.CLOSED)


# --- the rest -------------------------------------------------------------------------


def test_a_single_command_gets_its_reply():
    session = ready_session()
    reply = Runner(session, [b"252 maybe\r\n"]).run(ask(session, Command("VRFY", "a")))
    assert reply.code == 252


def test_quit_is_queued_and_its_reply_is_not_awaited():
    session = ready_session()
    runner = Runner(session)
    quit_now(session)
    runner.write()
    assert runner.lines == [b"QUIT"]


def test_the_end_of_the_connection_reaches_the_dialogue():
    session = greeted()
    with pytest.raises(SMTPServerDisconnected):
        Runner(session, [b"250-half a rep"]).run(hello(session, "here"))
    assert session.state is State.CLOSED
