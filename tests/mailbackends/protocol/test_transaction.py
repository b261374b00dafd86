"""One message: the commands of each way to send it, and the recipients refused."""

import pytest

from mailbackends.errors import (
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from mailbackends.mime.content import from_bytes
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import State, Want
from mailbackends.protocol.transaction import deliver
from mailbackends.reply import Reply
from support.runner import Runner, ready_session
from support.sent import CHUNK, CONTENT, FLIGHT, GO, GROUP, LARGE, LOCK_STEP, NO, OK, ONE, TWO, Sent

WAYS = [FLIGHT, GROUP, LOCK_STEP, CHUNK]
each_way = pytest.mark.parametrize("keywords", WAYS, ids=["flight", "group", "lock-step", "chunk"])


# --- commands ---------------------------------------------------------------------


def test_with_pipelining_and_chunking_the_message_takes_one_flight():
    sent = Sent(FLIGHT, [OK + OK + OK])
    assert bytes(sent.runner.sent) == (
        b"MAIL FROM:<me@x>\r\nRCPT TO:<a@x>\r\nBDAT 21 LAST\r\nSubject: hi\r\n\r\n.dot\r\n"
    )
    assert sent.result.accepted == ["a@x"]
    assert sent.result.reply == Reply(250, (b"2.0.0 Ok",))
    assert sent.session.is_reusable


def test_in_one_flight_each_reply_may_take_as_long_as_that_to_the_content():
    # Postfix answers nothing before it is done with the chunk.
    assert set(Sent(FLIGHT, [OK, OK, OK]).runner.wants) == {Want.CONTENT_REPLY}


def test_with_pipelining_only_the_content_follows_a_group():
    sent = Sent(GROUP, [OK + OK + GO, OK])
    assert bytes(sent.runner.sent) == (
        b"MAIL FROM:<me@x>\r\nRCPT TO:<a@x>\r\nDATA\r\nSubject: hi\r\n\r\n..dot\r\n.\r\n"
    )
    assert sent.runner.wants == [Want.REPLY] * 3 + [Want.CONTENT_REPLY]
    assert sent.session.is_reusable


@pytest.mark.parametrize(
    ("keywords", "options"),
    [(LOCK_STEP, {}), (FLIGHT, {"pipelining": False, "chunking": Chunking.OFF})],
)
def test_without_pipelining_and_chunking_the_message_is_sent_in_lock_step(keywords, options):
    session = ready_session(*keywords)
    runner = Runner(session, [OK, OK, GO, OK])
    dialogue = deliver(session, ONE, CONTENT, **options)
    sent = []
    want = next(dialogue)
    for _ in range(3):
        reply = runner.fulfil(want)
        sent.append(bytes(runner.sent))
        want = dialogue.send(reply)
    assert sent == [
        b"MAIL FROM:<me@x>\r\n",
        b"MAIL FROM:<me@x>\r\nRCPT TO:<a@x>\r\n",
        b"MAIL FROM:<me@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    ]


def test_with_chunking_only_the_chunk_follows_the_replies():
    sent = Sent(CHUNK, [OK, OK, OK])
    assert sent.lines[2] == b"BDAT 21 LAST"
    assert sent.result.accepted == ["a@x"]


def test_a_large_content_waits_for_the_replies_to_the_envelope():
    sent = Sent(FLIGHT, [OK + NO], content=LARGE)
    assert sent.lines == [b"MAIL FROM:<me@x>", b"RCPT TO:<a@x>"]
    sent = Sent(FLIGHT, [OK + OK, OK], content=LARGE)
    assert sent.lines[2] == b"BDAT 70017 LAST"
    assert sent.result.accepted == ["a@x"]


@pytest.mark.parametrize(("size", "in_one_flight"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_one_flight_is_used_up_to_64_kib_since_a_refused_recipient_wastes_all_of_it(
    size, in_one_flight
):
    content = from_bytes(b"x" * (size - 2) + b"\r\n")
    sent = Sent(FLIGHT, [OK + NO], content=content)
    assert any(line.startswith(b"BDAT") for line in sent.lines) is in_one_flight


@each_way
def test_after_a_failed_transaction_rset_comes_first_and_no_content_before_its_reply(
    keywords,
):
    sent = Sent(keywords, [OK], failed=True)
    assert sent.lines[0] == b"RSET"
    assert not any(line.startswith(b"BDAT") for line in sent.lines)
    assert sent.outcome is Outcome.NOT_SENT


@each_way
def test_after_rset_a_message_is_sent_as_usual(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, OK, *go, OK], failed=True)
    assert sent.result.accepted == ["a@x"]
    assert sent.session.is_reusable


def test_parameters_are_sent_with_mail_and_rcpt():
    envelope = Envelope("", ("a@x",), ("SIZE=21", "RET=HDRS"), ("NOTIFY=NEVER",))
    sent = Sent(LOCK_STEP, [OK, OK, GO, OK], envelope=envelope)
    assert sent.lines[:2] == [b"MAIL FROM:<> SIZE=21 RET=HDRS", b"RCPT TO:<a@x> NOTIFY=NEVER"]


def test_international_domains_are_sent_as_a_labels_and_reported_as_given():
    envelope = Envelope("ich@bücher.example", ("a@müller.example", "b@x"))
    sent = Sent(LOCK_STEP, [OK, NO, OK, GO, OK], envelope=envelope)
    assert sent.lines[:2] == [
        b"MAIL FROM:<ich@xn--bcher-kva.example>",
        b"RCPT TO:<a@xn--mller-kva.example>",
    ]
    assert list(sent.result.refused) == ["a@müller.example"]


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "replies"),
    [
        (FLIGHT, [NO, b"503 no sender\r\n", b"503 no recipient\r\n"]),
        (GROUP, [NO, b"503 no sender\r\n", b"503 no recipient\r\n"]),
        (LOCK_STEP, [NO]),
        (CHUNK, [NO]),
    ],
)
def test_a_refused_sender_refuses_the_message(keywords, replies):
    sent = Sent(keywords, replies)
    assert isinstance(sent.error, SMTPSenderRefused)
    assert (sent.error.smtp_code, sent.error.smtp_error) == (550, b"5.1.1 No")
    assert (sent.error.sender, sent.outcome) == ("me@x", Outcome.REFUSED)
    # The 503 says nothing about the recipient.
    assert sent.error.refused == {}
    assert sent.session.state is State.FAILED
    assert sent.session.is_reusable


@pytest.mark.parametrize(
    ("keywords", "replies"),
    [
        (FLIGHT, [OK, NO, b"450 later\r\n", b"554 no recipient\r\n"]),
        (GROUP, [OK, NO, b"450 later\r\n", b"503 no recipient\r\n"]),
        (GROUP, [OK, NO, b"450 later\r\n", GO, b"554 no recipient\r\n"]),
        (GROUP, [OK, NO, b"450 later\r\n", GO, OK]),
        (LOCK_STEP, [OK, NO, b"450 later\r\n"]),
        (CHUNK, [OK, NO, b"450 later\r\n"]),
    ],
)
def test_with_all_recipients_refused_the_message_is_refused(keywords, replies):
    sent = Sent(keywords, replies, envelope=TWO)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.error.recipients == {"a@x": (550, b"5.1.1 No"), "b@x": (450, b"later")}
    assert {to: r.code for to, r in sent.error.refused.items()} == {"a@x": 550, "b@x": 450}
    assert sent.outcome is Outcome.REFUSED
    assert sent.session.is_reusable


def test_a_354_without_recipients_is_answered_with_an_empty_message():
    sent = Sent(GROUP, [OK, NO, GO, OK])
    # A byte more would be read as the next command.
    assert bytes(sent.runner.sent).endswith(b"DATA\r\n.\r\n")


def test_a_354_after_a_refused_sender_is_not_answered_since_an_old_transaction_is_open():
    sent = Sent(GROUP, [NO, OK, GO])
    assert sent.lines[-1] == b"DATA"
    assert isinstance(sent.error, SMTPSenderRefused)
    assert sent.outcome is Outcome.REFUSED
    assert not sent.session.is_reusable


def test_with_lmtp_a_354_without_recipients_is_not_answered_since_no_reply_would_come():
    sent = Sent(GROUP, [OK, NO, GO], lmtp=True)
    assert sent.lines[-1] == b"DATA"
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert not sent.session.is_reusable


@pytest.mark.parametrize("reply", [b"500 what\r\n", b"552 big\r\n"])
def test_the_connection_is_unusable_if_the_chunk_may_not_have_been_read_as_a_chunk(reply):
    sent = Sent(FLIGHT, [OK, NO, reply])
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.outcome is Outcome.REFUSED
    assert not sent.session.is_reusable


@pytest.mark.parametrize("lmtp", [False, True])
def test_the_outcome_is_unknown_if_the_server_refuses_all_recipients_and_takes_the_content(lmtp):
    sent = Sent(FLIGHT, [OK, NO, NO, OK], envelope=TWO, lmtp=lmtp)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (sent.error.unknown, sent.error.refused) == (TWO.forward_paths, {})
    assert not sent.session.is_reusable


def test_the_outcome_is_unknown_if_the_server_takes_the_content_of_a_refused_sender():
    sent = Sent(FLIGHT, [NO, OK, NO, OK], envelope=TWO)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (sent.error.unknown, list(sent.error.refused)) == (("a@x", "b@x"), [])
    assert not sent.session.is_reusable


@each_way
def test_any_2xx_reply_to_the_content_accepts_the_message(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, *go, b"221 2.0.0 Taken, goodbye\r\n"])
    assert sent.result.accepted == ["a@x"]
    assert sent.result.reply == Reply(221, (b"2.0.0 Taken, goodbye",))


@pytest.mark.parametrize(
    ("keywords", "replies"),
    [
        (FLIGHT, [OK, OK, b"554 5.6.0 spam\r\n"]),
        (GROUP, [OK, OK, GO, b"554 5.6.0 spam\r\n"]),
        (GROUP, [OK, OK, b"554 5.6.0 spam\r\n"]),
        (LOCK_STEP, [OK, OK, GO, b"554 5.6.0 spam\r\n"]),
        (LOCK_STEP, [OK, OK, b"554 5.6.0 spam\r\n"]),
        (CHUNK, [OK, OK, b"554 5.6.0 spam\r\n"]),
    ],
)
def test_refused_content_or_data_refuses_the_message(keywords, replies):
    sent = Sent(keywords, replies)
    assert isinstance(sent.error, SMTPDataError)
    assert (sent.error.smtp_code, sent.outcome) == (554, Outcome.REFUSED)
    assert sent.error.__cause__ is None
    assert sent.session.state is State.FAILED
    assert sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
@pytest.mark.parametrize("code", [b"500", b"501", b"502", b"503", b"504", b"555"])
def test_a_refusal_of_bdat_itself_does_not_refuse_the_message(keywords, code):
    sent = Sent(keywords, [OK, OK, code + b" what\r\n"])
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert sent.outcome is Outcome.NOT_SENT
    assert sent.error.reply.code == int(code)
    assert sent.session.chunking is Chunking.OFF
    # The chunk may have been read as commands.
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
def test_after_a_chunk_that_was_too_large_the_session_is_closed(keywords):
    sent = Sent(keywords, [OK, OK, b"552 too big\r\n"])
    assert isinstance(sent.error, SMTPDataError)
    assert sent.outcome is Outcome.REFUSED
    assert not sent.session.is_reusable


@each_way
def test_with_some_recipients_refused_the_message_is_delivered_to_the_others(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, NO, OK, *go, OK], envelope=TWO)
    assert sent.result.accepted == ["b@x"]
    assert sent.result.refused == {"a@x": Reply(550, (b"5.1.1 No",))}
    assert sent.session.state is State.READY


def test_the_error_for_refused_content_names_the_recipients_refused_before():
    sent = Sent(FLIGHT, [OK, NO, OK, b"554 spam\r\n"], envelope=TWO)
    assert isinstance(sent.error, SMTPDataError)
    assert list(sent.error.refused) == ["a@x"]


@each_way
def test_a_refused_rset_ends_the_session_and_no_content_follows(keywords):
    sent = Sent(keywords, [b"500 what\r\n", OK, OK, GO, OK], failed=True)
    assert isinstance(sent.error, SMTPServerDisconnected)
    assert "RSET" in str(sent.error)
    assert sent.outcome is Outcome.NOT_SENT
    assert not any(line.startswith((b"BDAT", b"Subject")) for line in sent.lines)
    assert not sent.session.is_reusable


def test_empty_content_can_be_sent():
    sent = Sent(FLIGHT, [OK, OK, OK], content=from_bytes(b""))
    assert sent.lines[-2:] == [b"BDAT 2 LAST", b""]
    assert sent.result.accepted == ["a@x"]
