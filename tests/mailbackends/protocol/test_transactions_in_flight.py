"""Messages that follow one another before the first of them is answered."""

import pytest

from mailbackends.errors import SMTPException, SMTPSenderRefused
from mailbackends.mime.content import from_bytes
from mailbackends.protocol.chunking import Chunking, fits_one_flight
from mailbackends.protocol.transaction import deliver
from support.runner import Runner, ready_session
from support.sent import CONTENT, FLIGHT, LARGE, NO, OK, ONE, TWO

OUT_OF_ORDER = b"503 5.5.1 No sender\r\n"
SAID_FOR_ONE = (
    b"RSET\r\nMAIL FROM:<me@x>\r\nRCPT TO:<a@x>\r\nBDAT 21 LAST\r\nSubject: hi\r\n\r\n.dot\r\n"
)
SAID_FOR_TWO = SAID_FOR_ONE.replace(b"<a@x>\r\n", b"<a@x>\r\nRCPT TO:<b@x>\r\n")


def begun(dialogue):
    """The rest of a dialogue that has queued its first commands."""
    want = next(dialogue)

    def rest():
        wanted = want
        while True:
            try:
                step, value = dialogue.send, (yield wanted)
            except SMTPException as error:
                step, value = dialogue.throw, error
            try:
                wanted = step(value)
            except StopIteration as stop:
                return stop.value

    return rest()


def in_flight(*replies):
    """Two messages, both queued before the first reply, and their runner."""
    session = ready_session(*FLIGHT)
    first = begun(deliver(session, ONE, CONTENT, chunking=Chunking.PROVED, follows_another=True))
    second = begun(deliver(session, TWO, CONTENT, chunking=Chunking.PROVED, follows_another=True))
    return Runner(session, replies), first, second


def test_two_messages_are_sent_before_the_first_reply_and_each_has_its_own_outcome():
    runner, first, second = in_flight(OK, OK, OK, OK, OK + OK + NO + OK + OK)
    assert runner.run(first).accepted == ["a@x"]
    assert bytes(runner.sent) == SAID_FOR_ONE + SAID_FOR_TWO
    result = runner.run(second)
    assert (result.accepted, list(result.refused)) == (["b@x"], ["a@x"])
    assert bytes(runner.sent) == SAID_FOR_ONE + SAID_FOR_TWO
    assert runner.session.is_reusable


def test_a_refused_message_does_not_affect_the_next_one():
    runner, first, second = in_flight(OK + NO + OUT_OF_ORDER + OUT_OF_ORDER, OK + OK + OK + OK + OK)
    with pytest.raises(SMTPSenderRefused):
        runner.run(first)
    assert runner.run(second).accepted == ["a@x", "b@x"]
    assert runner.session.is_reusable


def test_only_a_small_message_in_memory_fits_one_flight():
    assert fits_one_flight(CONTENT)
    assert not fits_one_flight(LARGE)
    assert fits_one_flight(from_bytes(b"x" * 1000))


def test_what_was_queued_up_to_a_message_is_known_to_be_sent():
    runner, first, _ = in_flight(OK, OK, OK, OK, OK + OK + OK + OK + OK)
    session, queued = runner.session, runner.session.queued
    assert not session.has_sent(queued)
    runner.run(first)
    assert session.has_sent(queued)
    assert not session.has_sent(queued + 1)


def test_a_surplus_refusal_is_counted_after_another_message_was_allowed_to_follow():
    session = ready_session(*FLIGHT)
    session.allow_next_transaction()
    before = session.replies
    session.receive_data(OK + NO)
    assert len(session.surplus_replies()) == 2
    assert (session.refusals, session.replies) == ([before + 1], before + 2)
