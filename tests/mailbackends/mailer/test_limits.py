"""The limits of a server, announced or met: recipients per message, messages per connection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mailbackends import (
    FileAttachment,
    Mailer,
    Outcome,
    Receipt,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    Submission,
)
from support.machine import Habits
from support.sink import EXTENSIONS, Sink
from support.turns import Network, taking_turns

CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")
ALL = pytest.mark.parametrize(
    "extensions", [CHUNKED, PIPELINED, PLAIN], ids=["chunked", "pipelined", "plain"]
)
TOO_MANY = "452 4.5.3 Too many recipients"


def people(count: int) -> list[str]:
    return [f"u{number}@example.com" for number in range(count)]


def recipients(sink: Sink) -> list[tuple[str, ...]]:
    return [m.rcpt_tos for m in sink.messages]


# Recipients


@ALL
def test_a_message_for_more_recipients_than_announced_is_split(
    message, extensions: Sequence[str]
) -> None:
    with Sink(extensions=(*extensions, "LIMITS RCPTMAX=3")) as sink, Mailer(sink.url) as mailer:
        receipt = mailer.send_message(message(*people(8)))
        assert receipt.accepted == tuple(people(8))
        assert not receipt.refused
        assert mailer.stats().messages == {Outcome.ACCEPTED: 1}
    users = people(8)
    assert recipients(sink) == [tuple(users[:3]), tuple(users[3:6]), tuple(users[6:])]
    assert len({m.content for m in sink.messages}) == 1
    assert sink.connections == 1


@ALL
def test_a_limit_that_is_not_announced_is_met_once(message, extensions: Sequence[str]) -> None:
    users = people(7)
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        for user in users[3:]:
            sink.refuse(user, TOO_MANY, times=1)
        assert mailer.send_message(message(*users)).accepted == tuple(users)
        assert recipients(sink) == [tuple(users[:3]), tuple(users[3:6]), tuple(users[6:])]
        # The next one asks no more than three at once.
        assert mailer.send_message(message(*users)).accepted == tuple(users)
    assert [len(each) for each in recipients(sink)] == [3, 3, 1, 3, 3, 1]
    assert sum(line.startswith("RCPT") for line in sink.commands[0]) == 7 + 4 + 7


@pytest.mark.parametrize("reply", ["452 Too many", "452 4.5.3 Too many", "552 Too many"])
def test_each_form_of_too_many_recipients_is_recognised(message, sink: Sink, reply: str) -> None:
    with Mailer(sink.url) as mailer:
        sink.refuse("u1@example.com", reply, times=1)
        assert mailer.send_message(message(*people(2))).accepted == tuple(people(2))


@pytest.mark.parametrize(
    "reply", ["452 4.2.2 Mailbox full", "450 4.5.3 Too many", "451 Later", "550 4.5.3 No"]
)
def test_another_refusal_is_not_a_limit_of_recipients(message, sink: Sink, reply: str) -> None:
    with Mailer(sink.url) as mailer:
        sink.refuse("u1@example.com", reply, times=1)
        receipt = mailer.send_message(message(*people(2)))
        assert list(receipt.refused) == ["u1@example.com"]
    assert len(sink.messages) == 1


def test_a_refused_recipient_does_not_limit_the_recipients_of_later_messages(
    message, sink: Sink
) -> None:
    with Mailer(sink.url) as mailer:
        sink.refuse("u1@example.com", "550 5.1.1 No such user", times=1)
        assert [*mailer.send_message(message(*people(2))).refused] == ["u1@example.com"]
        mailer.send_message(message(*people(5)))
    assert recipients(sink) == [("u0@example.com",), tuple(people(5))]


def test_a_452_followed_by_an_acceptance_is_about_one_recipient_and_sets_no_limit(
    message, sink: Sink
) -> None:
    with Mailer(sink.url) as mailer:
        sink.refuse("u1@example.com", "452 Insufficient storage", times=1)
        receipt = mailer.send_message(message(*people(3)))
        assert (receipt.accepted, [*receipt.refused]) == (
            ("u0@example.com", "u2@example.com"),
            ["u1@example.com"],
        )
        mailer.send_message(message(*people(3)))
    assert [len(each) for each in recipients(sink)] == [2, 3]


def test_if_the_second_part_is_refused_the_receipt_lists_its_recipients(
    message, sink: Sink
) -> None:
    with Mailer(sink.url) as mailer:
        sink.refuse("u1@example.com", TOO_MANY, times=1)
        sink.refuse("u1@example.com", "550 5.1.1 No such user", times=1)
        receipt = mailer.send_message(message(*people(2)))
    assert receipt.accepted == ("u0@example.com",)
    assert receipt.refused["u1@example.com"].code == 550


def test_if_all_recipients_are_too_many_none_is_tried_again(message, sink: Sink) -> None:
    with Mailer(sink.url) as mailer:
        for user in people(2):
            sink.refuse(user, TOO_MANY)
        with pytest.raises(SMTPRecipientsRefused) as caught:
            mailer.send_message(message(*people(2)))
        assert caught.value.is_transient
    assert sum(line.startswith("RCPT") for line in sink.commands[0]) == 2


def test_if_the_second_part_is_lost_each_recipient_is_accounted_for(message, sink: Sink) -> None:
    users = people(3)
    with Mailer(sink.url) as mailer:
        for user in users[1:]:
            sink.refuse(user, TOO_MANY, times=1)
        mailer.send_message(message(*users))  # a limit of one recipient is noticed
        sink.refuse_content("250 fine", times=1)
        sink.hang_up("content")
        with pytest.raises(SMTPDeliveryUnknown) as caught:
            mailer.send_message(message(*users))
    error = caught.value
    assert error.accepted == (users[0],)
    assert error.unknown == (users[1],)
    assert error.refused[users[2]].code == 451
    assert "not sent" in str(error.refused[users[2]])


def test_if_the_content_of_the_second_part_is_refused_the_first_part_keeps_its_receipt(
    message,
) -> None:
    with Sink(extensions=(*EXTENSIONS, "LIMITS RCPTMAX=1")) as sink, Mailer(sink.url) as mailer:
        sink.refuse_content("250 2.0.0 Taken", times=1)
        sink.refuse_content("552 5.2.2 Full", times=1)
        receipt = mailer.send_message(message(*people(2)))
        assert receipt.accepted == ("u0@example.com",)
        assert receipt.refused["u1@example.com"].code == 552
        sink.refuse_content("552 5.2.2 Full", times=1)
        with pytest.raises(SMTPDataError):
            mailer.send_message(message(*people(2)))


def test_if_the_second_part_cannot_be_read_the_first_part_keeps_its_receipt(
    message, tmp_path: Path
) -> None:
    report = tmp_path / "report.pdf"
    report.write_bytes(b"%PDF" * 10_000)
    made = message(*people(2))
    made.make_mixed()
    made.attach(FileAttachment(report))
    parts: list[Receipt] = []

    def after_part(submission: Submission, receipt: Receipt) -> None:
        assert submission.reference == 4711
        parts.append(receipt)
        report.unlink()
        raise RuntimeError("a hook that raises stops nothing")

    with Sink(extensions=(*EXTENSIONS, "LIMITS RCPTMAX=1")) as sink, Mailer(sink.url) as mailer:
        [receipt] = mailer.send_messages([Submission(made, after_part=after_part, reference=4711)])
    assert isinstance(receipt, Receipt)
    assert [each.accepted for each in parts] == [receipt.accepted] == [("u0@example.com",)]
    refusal = receipt.refused["u1@example.com"]
    assert (refusal.code, str(refusal.enhanced)) == (451, "4.6.0")
    assert "report.pdf" in refusal.text
    assert recipients(sink) == [("u0@example.com",)]


# Messages


@pytest.mark.parametrize(("limit", "connections"), [(1, 6), (2, 3), (6, 1), (100, 1)])
def test_a_connection_carries_no_more_messages_than_the_server_announces(
    message, limit: int, connections: int
) -> None:
    extensions = (*EXTENSIONS, f"LIMITS MAILMAX={limit}")
    with Sink(extensions=extensions) as sink:
        with Mailer(sink.url) as mailer:
            for _ in range(6):
                mailer.send_message(message())
            assert mailer.stats().pool.made == connections
        sink.wait(lambda: sink.open_connections == 0)
    assert all(commands[-1] == "QUIT" for commands in sink.commands)


@pytest.mark.parametrize("hold", [False, True], ids=["pool", "held"])
def test_a_connection_carries_no_more_messages_than_the_options_allow(
    message, sink: Sink, hold: bool
) -> None:
    with Mailer(sink.url, max_messages_per_connection=2) as mailer, mailer.hold() as held:
        sender = held if hold else mailer
        for _ in range(6):
            sender.send_message(message())
    assert sink.connections == 3
    assert mailer.stats().pool.retired == {"messages": 3}


@pytest.mark.parametrize(
    "words", ["421 down", "421 4.7.0 Too many", "421 4.3.0 No more", "421 4.4.5 Too busy"]
)
def test_a_421_after_several_messages_is_met_once(words: str) -> None:
    """The limit of 3 messages is not announced: the fourth MAIL gets a 421."""
    habits = Habits(("PIPELINING", "CHUNKING"), last_reply=2 + 3 * 3, last_words=words)
    with taking_turns(Network(habits)) as network:
        with Mailer(host="127.0.0.1", port=network.ports[0], local_hostname="c.x") as mailer:
            for number in range(10):
                mailer.send_message(b"%d" % number, "s@x", "a@x")
        counts = [line.received.count(b"BDAT") for line in network.lines]
        assert all(times == 1 for times in network.delivered.count.values())
        assert len(network.delivered.count) == 10
    # The fourth MAIL was refused, and sent over a new connection; from then on three each.
    assert counts == [4, 3, 3, 1]


@pytest.mark.parametrize("words", ["421 4.3.2 Going down", "421 4.4.2 Waited too long"])
def test_a_421_with_another_reason_sets_no_limit(words: str) -> None:
    down = Habits(("PIPELINING", "CHUNKING"), last_reply=2 + 3 * 3, last_words=words)
    with taking_turns(Network(Habits(down.extensions))) as network:
        network.begin(habits=lambda index, server: down if index == 0 else None)
        with Mailer(host="127.0.0.1", port=network.ports[0], local_hostname="c.x") as mailer:
            for number in range(10):
                mailer.send_message(b"%d" % number, "s@x", "a@x")
        assert [line.received.count(b"BDAT") for line in network.lines] == [4, 7]


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("PIPELINING",), ()], ids=str)
def test_a_452_to_mail_retires_the_connection_and_its_limit_is_remembered(
    message, extensions: tuple[str, ...]
) -> None:
    """As OpenSMTPD, which keeps the connection open and goes on refusing."""
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        for _ in range(3):
            mailer.send_message(message())
        sink.answer("MAIL", "452 4.5.3 Too many messages sent", times=1)
        for _ in range(4):
            assert mailer.send_message(message()).accepted
        assert mailer.stats().pool.retired == {"messages": 2}
    assert sink.connections == 3  # of three messages, three, and one
    assert len(sink.messages) == 7
    assert sink.violations == []


def test_a_452_about_a_full_disk_is_a_refusal(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.answer("MAIL", "452 4.3.1 Insufficient system storage")
        with pytest.raises(SMTPSenderRefused):
            mailer.send_message(message())
        assert sink.connections == 1


# Connections that only refuse

TOO_MANY_ERRORS = "450 Too many errors"
NOBODY = "550 5.1.1 Nobody"


@ALL
@pytest.mark.parametrize("reply", [TOO_MANY_ERRORS, "451 4.7.0 Try again"])
def test_a_temporary_refusal_of_mail_on_a_used_connection_is_tried_once_over_a_new_one(
    message, extensions: Sequence[str], reply: str
) -> None:
    """As Haraka's limit of errors, which another connection does not have."""
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message(subject="1"))
        sink.answer("MAIL", reply, times=1)
        assert mailer.send_message(message(subject="2")).accepted
        assert mailer.stats().pool.retired == {"refusals": 1}
        mailer.send_message(message(subject="3"))
        assert mailer.stats().pool.made == 2
    assert [m.message["Subject"] for m in sink.messages] == ["1", "2", "3"]
    assert sink.violations == []


@ALL
def test_a_message_that_a_new_connection_refuses_too_is_refused(
    message, extensions: Sequence[str]
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.answer("MAIL", "451 4.7.1 Too many messages in a minute", times=None)
        for _ in range(3):
            with pytest.raises(SMTPSenderRefused) as caught:
                mailer.send_message(message())
            assert caught.value.is_transient
        # The first refusal was tried over a new connection; then it is known not to help.
        assert sink.connections == 2
        assert sum(line.startswith("MAIL") for line in sink.commands[1]) == 3
    assert sink.violations == []


def test_after_an_accepted_message_a_new_connection_is_tried_again(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        sink.answer("MAIL", TOO_MANY_ERRORS, times=1)
        with pytest.raises(SMTPSenderRefused):
            mailer.send_message(message())  # the connection was new
        assert sink.connections == 1
        mailer.send_message(message())
        sink.answer("MAIL", TOO_MANY_ERRORS, times=1)
        mailer.send_message(message())
        assert sink.connections == 2
    assert len(sink.messages) == 2


@pytest.mark.parametrize(
    "reply",
    ["450 4.1.8 Domain of the sender not found", "452 4.3.1 Disk full", "451 4.6.0 Odd",
     "550 5.7.1 No", "550 Too many errors"],
)  # fmt: skip
def test_a_refusal_for_another_reason_is_not_tried_again(message, reply: str) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.answer("MAIL", reply)
        with pytest.raises(SMTPSenderRefused):
            mailer.send_message(message())
        assert sink.connections == 1


@pytest.mark.parametrize("batch_pipeline", [1, 3])
def test_a_batch_continues_over_a_new_connection_after_refusals_of_mail(
    message, batch_pipeline: int
) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=batch_pipeline) as mailer:
        mailer.send_message(message(subject="first"))
        sink.answer("MAIL", TOO_MANY_ERRORS, times=1)
        outcomes = [each.outcome for each in mailer.send_messages([message()] * 8)]
        assert outcomes == [Outcome.ACCEPTED] * 8
        pool = mailer.stats().pool
        # With messages in flight, those after it were accepted over the old connection.
        assert (pool.made, sum(pool.retired.values())) == (2, 1)
    assert len(sink.messages) == 9


@ALL
def test_a_connection_that_refused_ten_times_in_a_row_is_retired(
    message, extensions: Sequence[str]
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        sink.refuse("nobody@example.com", NOBODY)
        for _ in range(5):  # RCPT and DATA are refused
            with pytest.raises(SMTPRecipientsRefused):
                mailer.send_message(message("nobody@example.com"))
        assert mailer.stats().pool.retired == {"refusals": 1}
        mailer.send_message(message())
        assert mailer.stats().pool.made == 2


def test_refusals_before_an_accepted_message_do_not_count(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        sink.refuse("nobody@example.com", NOBODY)
        for _ in range(4):
            for _ in range(4):
                with pytest.raises(SMTPRecipientsRefused):
                    mailer.send_message(message("nobody@example.com"))
            mailer.send_message(message("a@example.com", "nobody@example.com"))
        assert mailer.stats().pool.made == 1


def test_a_421_after_refusals_sets_no_limit_of_messages(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.refuse("nobody@example.com", NOBODY)
        with pytest.raises(SMTPRecipientsRefused):
            mailer.send_message(message("nobody@example.com"))
        sink.answer("MAIL", "421 4.7.0 Error: too many errors", times=1)
        for _ in range(6):
            mailer.send_message(message())
        assert mailer.stats().pool.made == 2
