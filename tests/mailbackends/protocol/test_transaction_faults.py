"""The outcome of a message for each recipient with LMTP, 421, faults and broken connections."""

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
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import Session, State
from mailbackends.protocol.transaction import deliver
from mailbackends.reply import Reply
from support.runner import Runner, hung_up, introduced, ready_session
from support.sent import BYE, CHUNK, CONTENT, FLIGHT, GO, GROUP, LOCK_STEP, NO, OK, ONE, TWO, Sent

WAYS = [FLIGHT, GROUP, LOCK_STEP, CHUNK]
each_way = pytest.mark.parametrize("keywords", WAYS, ids=["flight", "group", "lock-step", "chunk"])


# --- LMTP -----------------------------------------------------------------------------


@each_way
def test_lmtp_has_one_reply_to_the_content_for_each_recipient(keywords):
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
def test_lmtp_may_refuse_all_recipients_in_either_phase(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, NO, OK, *go, b"452 full\r\n"], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.error.recipients == {"a@x": (550, b"5.1.1 No"), "b@x": (452, b"full")}
    assert sent.outcome is Outcome.REFUSED
    assert sent.session.is_reusable


def test_if_lmtp_ends_between_its_replies_only_the_remaining_recipients_are_unknown():
    sent = Sent(GROUP, [OK, OK, OK, GO, OK], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (sent.error.accepted, sent.error.unknown) == (("a@x",), ("b@x",))


def test_after_a_421_among_the_replies_of_lmtp_no_other_is_awaited():
    waits = []

    def ending():
        waits.append(1)
        return SMTPTimeoutError("timed out")

    sent = Sent(GROUP, [OK, OK, OK, GO, BYE], envelope=TWO, lmtp=True, ending=ending)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (list(sent.error.refused), sent.error.unknown) == (["a@x"], ("b@x",))
    assert waits == []


def test_a_refusal_by_lmtp_before_the_end_of_the_content_applies_to_all_recipients():
    sent = Sent(GROUP, [OK, OK, OK, GO, b"552 big\r\n"], envelope=TWO, lmtp=True, takes=70)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert {r[0] for r in sent.error.recipients.values()} == {552}
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
@pytest.mark.parametrize("code", [500, 501, 502, 503])
def test_one_refusal_of_a_chunk_by_lmtp_applies_to_all_recipients(keywords, code):
    replies = [OK, OK, OK, b"%d no\r\n" % code, b"221 bye\r\n"]
    sent = Sent(keywords, replies, envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.error.recipients == {"a@x": (code, b"no"), "b@x": (code, b"no")}
    assert (sent.outcome, sent.lines[-1]) == (Outcome.REFUSED, b"QUIT")
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
def test_after_lmtp_refuses_a_chunk_for_one_recipient_the_other_replies_are_read(keywords):
    replies = [OK, OK, OK, b"503 not here\r\n", b"250 b\r\n", b"221 bye\r\n"]
    sent = Sent(keywords, replies, envelope=TWO, lmtp=True)
    assert sent.result.accepted == ["b@x"]
    assert {to: r.code for to, r in sent.result.refused.items()} == {"a@x": 503}
    assert not sent.session.is_reusable


@pytest.mark.parametrize("keywords", [FLIGHT, CHUNK])
def test_if_lmtp_refuses_a_chunk_once_and_closes_the_other_recipients_are_unknown(keywords):
    sent = Sent(keywords, [OK, OK, OK, b"503 no\r\n"], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert (list(sent.error.refused), sent.error.unknown) == (["a@x"], ("b@x",))


# --- a server that breaks the protocol ------------------------------------------------


@pytest.mark.parametrize("keywords", [GROUP, LOCK_STEP])
def test_a_250_to_data_is_an_error_and_nothing_was_sent(keywords):
    sent = Sent(keywords, [OK, OK, OK])
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT
    assert sent.lines[-1] == b"DATA"


def test_a_250_before_the_end_of_the_content_accepts_nothing():
    sent = Sent(GROUP, [OK, OK, GO, OK], takes=50)
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT
    assert not sent.session.is_reusable


def test_a_250_that_comes_with_the_354_accepts_nothing():
    sent = Sent(GROUP, [OK, OK, GO + OK])
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("keywords", [FLIGHT, GROUP])
def test_a_refusal_before_the_end_of_the_content_refuses_it_and_closes_the_session(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, *go, b"554 enough\r\n"], takes=55)
    assert isinstance(sent.error, SMTPDataError)
    assert sent.outcome is Outcome.REFUSED
    assert not sent.session.is_reusable


def test_a_refusal_before_the_chunk_was_sent_closes_the_session():
    sent = Sent(FLIGHT, [OK, NO, b"503 no\r\n"], takes=55)
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert not sent.session.is_reusable


def test_a_250_after_a_refused_sender_before_the_chunk_was_sent_accepts_nothing():
    sent = Sent(FLIGHT, [NO, OK, OK], takes=50)
    assert isinstance(sent.error, SMTPSenderRefused)
    assert not sent.session.is_reusable


def test_the_outcome_is_unknown_if_the_reply_to_the_content_is_garbage():
    sent = Sent(GROUP, [OK, OK, GO, b"what?\r\n"])
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert "the server broke the protocol: not a reply" in str(sent.error)
    assert sent.error.unknown == ("a@x",)


@pytest.mark.parametrize("number", [1, 2])
def test_after_garbage_before_the_content_nothing_was_sent(number):
    sent = Sent(GROUP, [OK] * number + [b"what?\r\n"])
    assert isinstance(sent.error, SMTPProtocolError)
    assert sent.outcome is Outcome.NOT_SENT
    assert not sent.session.is_reusable


def test_a_second_reply_to_the_content_makes_the_connection_unusable():
    sent = Sent(GROUP, [OK, OK, GO, OK + OK])
    assert sent.result.accepted == ["a@x"]
    assert not sent.session.is_reusable


# --- 421 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "number"),
    [(FLIGHT, 0), (GROUP, 0), (GROUP, 1), (GROUP, 2), (LOCK_STEP, 0), (LOCK_STEP, 1),
     (LOCK_STEP, 2), (CHUNK, 0), (CHUNK, 1)],
)  # fmt: skip
def test_a_421_before_the_content_means_that_the_message_was_not_sent(keywords, number):
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


def test_after_refused_recipients_a_421_to_data_leaves_them_refused():
    sent = Sent(GROUP, [OK, NO, BYE])
    assert isinstance(sent.error, SMTPRecipientsRefused)
    assert sent.session.state is State.CLOSED


@pytest.mark.parametrize("further", [[], [NO], [BYE]], ids=["nothing", "a refusal", "421"])
def test_after_a_421_to_a_recipient_in_one_flight_the_message_is_not_sent_if_the_server_closes(
    further,
):
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
    ids=["a yes", "an acceptance after a refusal", "garbage", "silence"],
)
def test_a_server_that_does_not_close_after_421_may_have_taken_the_content(further, ending):
    for before in ([OK], [OK, OK]):
        sent = Sent(FLIGHT, [*before, BYE, *further], envelope=TWO, ending=ending)
        assert isinstance(sent.error, SMTPDeliveryUnknown)
        assert "answered 421 and did not close" in str(sent.error)
        assert sent.error.unknown == TWO.forward_paths


def test_after_a_421_to_the_only_recipient_in_one_flight_the_message_is_not_sent():
    sent = Sent(FLIGHT, [OK, BYE, OK])
    assert sent.outcome is Outcome.NOT_SENT


# --- the end --------------------------------------------------------------------------


def test_a_recipient_whose_rcpt_had_no_reply_is_unknown_too():
    sent = Sent(FLIGHT, [OK, OK], envelope=TWO)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.error.unknown == ("a@x", "b@x")


def test_a_timeout_after_the_content_is_an_unknown_delivery_that_names_the_timeout():
    sent = Sent(GROUP, [OK, OK, GO], ending=lambda: SMTPTimeoutError("timed out: content"))
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert isinstance(sent.error.__cause__, SMTPTimeoutError)
    assert str(sent.error).startswith("timed out: content: ")


def test_a_refusal_is_valid_even_if_the_connection_breaks_after_it():
    for replies in ([NO], [NO, NO], [OK, NO]):
        sent = Sent(FLIGHT, replies)
        assert sent.outcome is Outcome.REFUSED
        assert isinstance(sent.error, SMTPSenderRefused | SMTPRecipientsRefused)
        assert isinstance(sent.error.__cause__, SMTPServerDisconnected)


def test_the_outcome_is_unknown_if_recipients_are_accepted_after_a_refused_sender():
    sent = Sent(FLIGHT, [NO, OK])
    assert isinstance(sent.error, SMTPDeliveryUnknown)


@each_way
def test_a_second_message_has_a_separate_outcome(keywords):
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


# --- One reply too many ---------------------------------------------------------------


@pytest.mark.parametrize("last", [OK, BYE, b"2", b"nonsense\r\n"])
def test_a_reply_after_the_last_one_that_changes_nothing_closes_the_session(last):
    sent = Sent(FLIGHT, [OK + OK + OK + OK + last], envelope=TWO)
    assert sent.result.accepted == ["a@x", "b@x"]
    assert sent.session.state is State.CLOSED
    assert not sent.session.is_reusable


def test_a_reply_too_many_is_traced():
    traced = []
    session = introduced(Session(trace=traced.append), *FLIGHT)
    runner = Runner(session, [OK + OK + OK + b"250 again\r\n"])
    options = {"chunking": Chunking.PROVED, "is_fresh": True}
    assert runner.run(deliver(session, ONE, CONTENT, **options)).accepted == ["a@x"]
    assert traced[-1] == "< 250 again"


@pytest.mark.parametrize("replies", [OK + OK + OK + OK + NO, OK + OK + NO + OK + OK])
def test_in_one_flight_a_reply_too_many_may_leave_the_outcome_unknown(replies):
    """The first ``250`` may be the one too many, and the refusal another recipient's."""
    sent = Sent(FLIGHT, [replies], envelope=TWO)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.error.unknown == ("a@x", "b@x")
    assert (sent.error.accepted, sent.error.refused) == ((), {})
    assert "more replies than it got commands, at last: " in str(sent.error)


@each_way
def test_a_refusal_of_the_content_that_is_followed_by_its_acceptance_is_unknown(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, NO, *go, NO + OK], envelope=TWO)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.error.unknown == ("a@x", "b@x")


@each_way
def test_a_refusal_of_the_content_may_come_twice(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, OK, *go, NO + NO], envelope=TWO)
    assert isinstance(sent.error, SMTPDataError)
    assert sent.outcome is Outcome.REFUSED


@pytest.mark.parametrize("keywords", [GROUP, LOCK_STEP, CHUNK], ids=["group", "lock-step", "chunk"])
def test_outside_of_one_flight_each_recipient_has_its_own_reply(keywords):
    go = [] if "CHUNKING" in keywords else [GO]
    sent = Sent(keywords, [OK, OK, NO, *go, OK + OK], envelope=TWO)
    assert sent.result.accepted == ["a@x"]
    assert list(sent.result.refused) == ["b@x"]
    assert not sent.session.is_reusable


def test_lmtp_may_have_answered_for_another_recipient():
    sent = Sent(GROUP, [OK, OK, OK, GO, OK + NO + OK], envelope=TWO, lmtp=True)
    assert isinstance(sent.error, SMTPDeliveryUnknown)
    assert sent.error.unknown == ("a@x", "b@x")


def test_lines_that_are_not_replies_are_ignored():
    sent = Sent(FLIGHT, [OK + OK + OK + b"250-a\r\n550 b\r\n"], envelope=ONE)
    assert sent.result.accepted == ["a@x"]
    assert sent.session.state is State.CLOSED
