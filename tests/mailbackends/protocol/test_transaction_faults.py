"""What became of a message, for each recipient, where LMTP, 421, faults and ends come in."""

import pytest

from mailbackends.errors import (
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import State
from mailbackends.protocol.transaction import deliver
from mailbackends.reply import Reply
from support.runner import Runner, hung_up, ready_session
from support.sent import BYE, CHUNK, CONTENT, FLIGHT, GO, GROUP, LOCK_STEP, NO, OK, ONE, TWO, Sent

WAYS = [FLIGHT, GROUP, LOCK_STEP, CHUNK]
each_way = pytest.mark.parametrize("keywords", WAYS, ids=["flight", "group", "lock-step", "chunk"])


# --- LMTP -----------------------------------------------------------------------------


@each_way
def test_lmtp_answers_the_content_for_one_recipient_after_the_other(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    three = Envelope("me@x", ("a@x", "b@x", "c@x"))
    replies = [OK, OK, NO, OK, *go, b"250 a\r\n", b"452 c is full\r\n"]
    sent = Sent(keywords, replies, envelope=three, lmtp=True)
    assert sent.result.accepted == ["a@x"]
    assert {to: r.code for to, r in sent.result.refused.items()} == {"b@x": 550, "c@x": 452}
    assert sent.result.refused_late == {"c@x"}
    assert sent.result.reply == Reply(250, (b"a",))
    assert sent.session.is_reusable


@each_way
def test_lmtp_may_refuse_them_all_in_both_phases(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, NO, OK, *go, b"452 full\r\n"], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.error.recipients == {"a@x": (550, b"5.1.1 No"), "b@x": (452, b"full")}
    assert sent.outcome is Outcome.REFUSED
    assert sent.session.is_reusable


def test_lmtp_that_ends_among_its_replies_leaves_only_the_others_in_the_dark():
    sent = Sent(GROUP, [OK, OK, OK, GO, OK], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (sent.error.accepted, sent.error.unknown) == (("a@x",), ("b@x",))


def test_lmtp_that_says_421_among_its_replies_is_not_waited_for():
    waits = []

    def ending():
        waits.append(1)
        return SMTPTimeoutError("timed out")

    sent = Sent(GROUP, [OK, OK, OK, GO, BYE], envelope=TWO, lmtp=True, ending=ending)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (list(sent.error.refused), sent.error.unknown) == (["a@x"], ("b@x",))
    assert waits == []


def test_lmtp_that_refuses_before_the_content_was_there_has_refused_it_for_all():
    sent = Sent(GROUP, [OK, OK, OK, GO, b"552 big\r\n"], envelope=TWO, lmtp=True, takes=70)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert {r[0] for r in sent.error.recipients.values()} == {552}
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
@pytest.mark.parametrize("code", [500, 501, 502, 503])
def test_lmtp_that_refuses_a_chunk_once_has_refused_it_for_all_and_is_not_waited_for(
    keywords, code
):
    replies = [OK, OK, OK, b"%d no\r\n" % code, b"221 bye\r\n"]
    sent = Sent(keywords, replies, envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.error.recipients == {"a@x": (code, b"no"), "b@x": (code, b"no")}
    assert (sent.outcome, sent.lines[-1]) == (Outcome.REFUSED, b"QUIT")
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
def test_lmtp_that_refuses_a_chunk_for_one_of_them_is_heard_for_the_others(keywords):
    replies = [OK, OK, OK, b"503 not here\r\n", b"250 b\r\n", b"221 bye\r\n"]
    sent = Sent(keywords, replies, envelope=TWO, lmtp=True)
    assert sent.result.accepted == ["b@x"]
    assert {to: r.code for to, r in sent.result.refused.items()} == {"a@x": 503}
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
def test_lmtp_that_refuses_a_chunk_once_and_is_gone_leaves_the_others_in_the_dark(keywords):
    sent = Sent(keywords, [OK, OK, OK, b"503 no\r\n"], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (list(sent.error.refused), sent.error.unknown) == (["a@x"], ("b@x",))


# --- a server that breaks the protocol ------------------------------------------------


@pytest.mark.parametrize("keywords", [GROUP, LOCK_STEP])
def test_a_yes_to_data_is_no_go_ahead_and_nothing_was_sent(keywords):
    sent = Sent(keywords, [OK, OK, OK])
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT
    assert sent.lines[-1] == b"DATA"


def test_a_yes_to_the_content_before_its_end_accepts_nothing():
    sent = Sent(GROUP, [OK, OK, GO, OK], takes=50)
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT
    assert not sent.session.is_reusable


def test_a_yes_to_the_content_that_came_with_the_go_ahead_accepts_nothing():
    sent = Sent(GROUP, [OK, OK, GO + OK])
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("keywords", [FLIGHT, GROUP])
def test_a_no_to_the_content_before_its_end_is_a_refusal_and_the_end_of_the_connection(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, *go, b"554 enough\r\n"], takes=55)
    assert isinstance(sent.error, SMTPDataError)
    assert sent.outcome is Outcome.REFUSED
    assert not sent.session.is_reusable


def test_a_refused_message_whose_chunk_is_not_out_yet_ends_the_connection():
    sent = Sent(FLIGHT, [OK, NO, b"503 no\r\n"], takes=55)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert not sent.session.is_reusable


def test_a_yes_behind_a_refused_sender_before_the_chunk_is_out_changes_nothing():
    sent = Sent(FLIGHT, [NO, OK, OK], takes=50)
    assert isinstance(sent.error, SMTPSenderRefused)
    assert not sent.session.is_reusable


def test_garbage_behind_the_content_leaves_us_in_the_dark():
    sent = Sent(GROUP, [OK, OK, GO, b"what?\r\n"])
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert "the server broke the protocol: not a reply" in str(sent.error)
    assert sent.error.unknown == ("a@x",)


@pytest.mark.parametrize("number", [1, 2])
def test_garbage_before_the_content_leaves_it_unsent(number):
    sent = Sent(GROUP, [OK] * number + [b"what?\r\n"])
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT
    assert not sent.session.is_reusable


def test_a_second_reply_behind_the_one_to_the_content_makes_the_connection_unusable():
    sent = Sent(GROUP, [OK, OK, GO, OK + OK])
    assert sent.result.accepted == ["a@x"]
    assert not sent.session.is_reusable


# --- 421 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "number"),
    [(FLIGHT, 0), (GROUP, 0), (GROUP, 1), (GROUP, 2), (LOCK_STEP, 0), (LOCK_STEP, 1),
     (LOCK_STEP, 2), (CHUNK, 0), (CHUNK, 1)],
)  # fmt: skip
def test_a_421_before_the_content_was_asked_for_leaves_the_message_unsent(keywords, number):
    sent = Sent(keywords, [OK] * number + [BYE])
    assert type(sent.error) is SMTPServerDisconnected
    assert sent.error.reply == Reply(421, (b"4.3.2 Closing",))
    assert (sent.outcome, sent.error.is_transient) == (Outcome.NOT_SENT, True)
    assert sent.session.state is State.CLOSED


@each_way
def test_a_421_to_the_content_refuses_it(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, *go, BYE])
    assert isinstance(sent.error, SMTPDataError)
    assert (sent.outcome, sent.error.is_transient) == (Outcome.REFUSED, True)
    assert sent.session.state is State.CLOSED


def test_a_421_to_data_behind_refused_recipients_leaves_them_refused():
    sent = Sent(GROUP, [OK, NO, BYE])
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.session.state is State.CLOSED


@pytest.mark.parametrize("further", [[], [NO], [BYE]], ids=["nothing", "a refusal", "421"])
def test_a_421_to_a_recipient_in_one_flight_counts_once_the_server_has_closed(further):
    # Even to the first of them: the content may still be taken for the second.
    for before in ([OK], [OK, OK]):
        sent = Sent(FLIGHT, [*before, BYE, *further], envelope=TWO)
        assert (type(sent.error), sent.outcome) == (SMTPServerDisconnected, Outcome.NOT_SENT)


@pytest.mark.parametrize(
    ("further", "ending"),
    [
        ([OK], hung_up),
        ([NO, OK], hung_up),
        ([b"what?\r\n"], hung_up),
        ([], lambda: SMTPTimeoutError("timed out")),
    ],
    ids=["a yes", "a yes behind a refusal", "garbage", "silence"],
)
def test_a_server_that_does_not_close_behind_421_may_have_taken_the_content(further, ending):
    for before in ([OK], [OK, OK]):
        sent = Sent(FLIGHT, [*before, BYE, *further], envelope=TWO, ending=ending)
        assert isinstance(sent.error, SMTPDeliveryUnknown)
        assert "answered 421 and did not close" in str(sent.error)
        assert sent.error.unknown == TWO.forward_paths


def test_a_421_to_the_only_recipient_in_one_flight_needs_no_second_look():
    sent = Sent(FLIGHT, [OK, BYE, OK])
    assert sent.outcome is Outcome.NOT_SENT


# --- the end --------------------------------------------------------------------------


def test_a_recipient_whose_rcpt_had_no_reply_is_in_the_dark_as_well():
    sent = Sent(FLIGHT, [OK, OK], envelope=TWO)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.error.unknown == ("a@x", "b@x")


def test_a_timeout_behind_the_content_is_an_unknown_delivery_that_names_it():
    sent = Sent(GROUP, [OK, OK, GO], ending=lambda: SMTPTimeoutError("timed out: content"))
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert isinstance(sent.error.__cause__, SMTPTimeoutError)
    assert str(sent.error).startswith("timed out: content: ")


def test_a_refusal_stands_when_the_connection_breaks_behind_it():
    for replies in ([NO], [NO, NO], [OK, NO]):
        sent = Sent(FLIGHT, replies)
        assert sent.outcome is Outcome.REFUSED
        assert isinstance(sent.error, SMTPSenderRefused | SMTPRecipientsRefused)
        assert isinstance(sent.error.__cause__, SMTPServerDisconnected)


def test_a_refused_sender_does_not_stand_where_a_recipient_was_taken_and_the_content_is_there():
    sent = Sent(FLIGHT, [NO, OK])
    assert isinstance(sent.error, SMTPDeliveryUnknown)


@each_way
def test_a_second_message_is_accounted_for_by_itself(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    first = Sent(keywords, [OK, OK, *go, OK])
    runner = Runner(first.session, [OK], takes=20)
    with pytest.raises(SMTPServerDisconnected) as caught:
        runner.run(deliver(first.session, ONE, CONTENT))
    assert caught.value.outcome is Outcome.NOT_SENT


def test_a_closed_session_sends_nothing():
    session = ready_session()
    session.close()
    with pytest.raises(SMTPServerDisconnected) as caught:
        Runner(session).run(deliver(session, ONE, CONTENT))
    assert caught.value.outcome is Outcome.NOT_SENT
