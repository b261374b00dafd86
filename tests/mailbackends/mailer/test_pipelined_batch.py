"""Messages in flight one after the other: how many, and when none."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from functools import partial
from typing import Any

import pytest

from mailbackends import (
    ConfigurationError,
    InvalidAddressError,
    InvalidMessageError,
    Mailer,
    Outcome,
    PoolTimeout,
    Receipt,
)
from mailbackends import Submission as Envelope
from mailbackends.events import Event, MessageSent
from mailbackends.mailer import submission
from mailbackends.protocol.negotiation import Prepared
from support.outcomes import mails, outcomes
from support.sink import EXTENSIONS, Sink

PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
LARGE = ("x" * 60 + "\n") * 2_000  # more than goes in one flight


def sent(mailer: Mailer, message, count: int) -> list[str]:
    """Send this many messages; return the accepted subjects, in the order of the receipts."""
    results = mailer.stream_messages(message(subject=f"no. {n}") for n in range(count))
    assert all(isinstance(result, Receipt) for result in results)
    return [f"no. {n}" for n in range(count)]


def test_several_messages_share_a_round_trip(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        subjects = sent(mailer, message, 13)
    # The first one finds no connection. Then four are begun at once; one more each time that
    # one is answered, and the answers of four come together.
    assert mails(sink.flights[0]) == [1, 4, 4, 4]
    assert [one.message["Subject"] for one in sink.messages] == subjects
    assert sink.violations == []


def test_by_default_no_message_is_begun_before_its_turn(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        sent(mailer, message, 3)
    assert mails(sink.flights[0]) == [1, 1, 1]
    assert b"RSET" not in sink.received()


@pytest.mark.parametrize(
    ("server", "options"),
    [
        ({"extensions": PIPELINED}, {}),
        ({}, {"chunking": False}),
        ({}, {"pipelining": False}),
        ({}, {"rate": "1000/second"}),
        ({"lmtp": True}, {"protocol": "lmtp"}),
    ],
    ids=str,
)
def test_if_pipelining_is_not_possible_each_message_waits(message, server, options) -> None:
    with Sink(**server) as sink, Mailer(sink.url, batch_pipeline=4, **options) as mailer:
        sent(mailer, message, 5)
    assert mails(sink.flights[0]) == [1, 1, 1, 1, 1]
    assert sink.violations == []


def test_with_several_servers_each_message_waits(message, one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url], batch_pipeline=4) as mailer:
        sent(mailer, message, 4)
    assert mails(one.flights[0]) == [1, 1, 1, 1]


def test_a_large_message_waits_for_those_before_it_and_the_next_wait_for_it(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        given = [message(text=LARGE if n == 4 else "small") for n in range(9)]
        assert all(isinstance(result, Receipt) for result in mailer.stream_messages(given))
    assert mails(sink.flights[0]) == [1, 3, 1, 4]
    assert len(sink.messages) == 9
    assert sink.violations == []


def test_no_more_messages_go_over_a_connection_than_allowed(message) -> None:
    with (
        Sink() as sink,
        Mailer(sink.url, batch_pipeline=4, max_messages_per_connection=3) as mailer,
    ):
        sent(mailer, message, 7)
        assert mailer.stats().pool.retired == {"messages": 2}
    assert [mails(flights) for flights in sink.flights] == [[1, 2], [1, 2], [1]]


def test_each_message_of_a_long_batch_counts_once_toward_the_limit_of_its_connection(
    message,
) -> None:
    with (
        Sink() as sink,
        Mailer(sink.url, batch_pipeline=4, max_messages_per_connection=9) as mailer,
    ):
        sent(mailer, message, 20)
        assert mailer.stats().pool.retired == {"messages": 2}
    assert [sum(mails(flights)) for flights in sink.flights] == [9, 9, 2]


@pytest.mark.parametrize("way", ["batch", "hold"])
def test_messages_sent_before_a_connection_was_taken_are_not_counted_twice(
    message, way: str
) -> None:
    with (
        Sink() as sink,
        Mailer(sink.url, batch_pipeline=4, max_messages_per_connection=10) as mailer,
    ):
        for _ in range(3):
            mailer.send_message(message())
        if way == "batch":
            sent(mailer, message, 4)
        else:
            with mailer.hold() as held:
                for _ in range(4):
                    held.send_message(message())
        for _ in range(5):
            mailer.send_message(message())
        assert mailer.stats().pool.retired == {"messages": 1}
    assert [sum(mails(flights)) for flights in sink.flights] == [10, 2]


def test_no_more_messages_go_over_a_connection_than_the_server_announces(message) -> None:
    limited = (*EXTENSIONS, "LIMITS MAILMAX=2 RCPTMAX=1")
    with Sink(extensions=limited) as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        sent(mailer, message, 4)
    assert [mails(flights) for flights in sink.flights] == [[1, 1], [1, 1]]


def test_a_message_sent_in_parts_within_a_batch_counts_as_often_as_it_was_sent(message) -> None:
    limited = (*EXTENSIONS, "LIMITS MAILMAX=4")
    with Sink(extensions=limited) as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        sink.refuse("b@example.com", "452 4.5.3 too many", times=1)
        given = [message(), message("a@example.com", "b@example.com"), *(message() for _ in "123")]
        assert outcomes(mailer.stream_messages(given)) == [Outcome.ACCEPTED] * 5
    assert [sum(mails(flights)) for flights in sink.flights] == [4, 2]


def test_messages_that_a_stopped_batch_had_begun_count_as_well(message) -> None:
    with (
        Sink() as sink,
        Mailer(sink.url, batch_pipeline=4, max_messages_per_connection=5) as mailer,
    ):
        results = mailer.stream_messages(message() for _ in range(20))
        assert isinstance(next(results), Receipt)
        assert isinstance(next(results), Receipt)
        results.close()  # type: ignore[attr-defined]
        for _ in range(2):
            mailer.send_message(message())
    assert [sum(mails(flights)) for flights in sink.flights] == [5, 2]


def test_too_many_recipients_for_one_flight_are_split_when_their_turn_comes(message) -> None:
    limited = (*EXTENSIONS, "LIMITS RCPTMAX=2")
    people = [f"user{n}@example.com" for n in range(3)]
    with Sink(extensions=limited) as sink, Mailer(sink.url, batch_pipeline=3) as mailer:
        given = [message(), message(), message(*people), message(), message()]
        receipts = list(mailer.stream_messages(given))
    assert [len(receipt.accepted) for receipt in receipts] == [1, 1, 3, 1, 1]
    assert mails(sink.flights[0]) == [1, 1, 1, 1, 2]
    assert sink.violations == []


def test_consecutive_messages_with_too_many_recipients_are_split_and_each_recipient_gets_one_copy(
    message,
) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        sink.refuse("b@example.com", "452 4.5.3 Too many recipients", times=1)
        mailer.send_message(message("a@example.com", "b@example.com"))  # the limit is noticed
        before = len(sink.messages)
        sizes = [1, 2, 2, 1, 1]
        given = [
            message(*(f"r{person}@example.com" for person in range(size)), subject=str(number))
            for number, size in enumerate(sizes)
        ]
        results = list(mailer.send_messages(given))
    assert outcomes(results) == [Outcome.ACCEPTED] * 5
    copies = [(m.message["Subject"], to) for m in sink.messages[before:] for to in m.rcpt_tos]
    assert sorted(copies) == [
        (str(number), f"r{person}@example.com")
        for number, size in enumerate(sizes)
        for person in range(size)
    ]
    assert sink.violations == []


def test_a_message_that_cannot_be_sent_does_not_change_the_order_of_the_others(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        bad = Envelope(message(), to_addrs=["no address"])
        results = list(mailer.stream_messages([message(), message(), bad, message()]))
        assert mailer.stats().messages == {Outcome.ACCEPTED: 3, Outcome.NOT_SENT: 1}
    assert [type(result) for result in results] == [Receipt, Receipt, InvalidAddressError, Receipt]


def test_a_message_that_this_server_cannot_take_is_refused_in_its_turn(message) -> None:
    small = ("PIPELINING", "CHUNKING", "SIZE 1000")
    with Sink(extensions=small) as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        given = [message(), message(), message(text="x" * 2000), message()]
        results = list(mailer.stream_messages(given))
    assert outcomes(results) == [
        *(Outcome.ACCEPTED, Outcome.ACCEPTED),
        *(Outcome.REFUSED, Outcome.ACCEPTED),
    ]
    assert "552" in str(results[2])


@pytest.mark.parametrize("server", [EXTENSIONS, PIPELINED], ids=["flight", "group"])
def test_recipients_given_as_an_iterator_are_kept_until_its_turn_comes(message, server) -> None:
    large = message(text=LARGE)
    with Sink(extensions=server) as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        given = [message(), Envelope(large, to_addrs=iter(["a@example.com"])), message()]
        assert outcomes(mailer.stream_messages(given)) == [Outcome.ACCEPTED] * 3
    assert sink.messages[1].rcpt_tos == ("a@example.com",)


def test_a_bad_address_in_an_iterator_of_recipients_stops_the_message(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        to = iter(["a@example.com", "no address", "c@example.com"])
        given = [message(), Envelope(message(), to_addrs=to), message()]
        results = list(mailer.stream_messages(given))
    assert [type(result) for result in results] == [Receipt, InvalidAddressError, Receipt]
    assert [received.rcpt_tos for received in sink.messages] == [("to@example.com",)] * 2


def test_options_given_as_iterators_are_kept_until_its_turn_comes(message) -> None:
    with (
        Sink(extensions=(*EXTENSIONS, "DSN")) as sink,
        Mailer(sink.url, batch_pipeline=4) as mailer,
    ):
        waits = Envelope(
            message(text=LARGE),
            mail_options=iter(["RET=HDRS"]),
            rcpt_options=iter(["NOTIFY=NEVER"]),
        )
        results = mailer.send_messages([message(), waits, message()])
        assert outcomes(results) == [Outcome.ACCEPTED] * 3
    assert "RET=HDRS" in sink.messages[1].mail_options
    assert sink.messages[1].rcpt_options == ("NOTIFY=NEVER",)


@pytest.mark.parametrize("name", ["mail_options", "rcpt_options"])
def test_a_bad_option_in_an_iterator_stops_the_message(message, name: str) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        bad: Any = {name: iter(["not an option"])}
        given = [message(), Envelope(message(), **bad), message()]
        results = list(mailer.send_messages(given))
    assert [type(result) for result in results] == [Receipt, InvalidMessageError, Receipt]
    assert len(sink.messages) == 2


def test_a_message_that_waits_is_prepared_once(message, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    prepare = submission.prepare

    def counted(given: Any, *args: Any, **options: Any) -> Prepared:
        made.append(given)
        return prepare(given, *args, **options)

    monkeypatch.setattr(submission, "prepare", counted)
    large = message(text=LARGE)
    with Sink() as sink, Mailer(sink.url, batch_pipeline=8) as mailer:
        given = [*(message() for _ in range(8)), large, message()]
        assert outcomes(mailer.stream_messages(given)) == [Outcome.ACCEPTED] * 10
    assert sum(one is large for one in made) == 1
    assert len(made) == 10


def test_a_partly_refused_message_does_not_affect_the_others(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        sink.refuse("b@example.com", "550 5.1.1 No such user")
        given = [message(), message("a@example.com", "b@example.com"), message(), message()]
        receipts = list(mailer.stream_messages(given))
    assert [list(receipt.refused) for receipt in receipts] == [[], ["b@example.com"], [], []]
    assert len(sink.messages) == 4


def test_a_connection_that_breaks_is_replaced_for_those_that_were_not_sent(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        results = mailer.stream_messages(message() for _ in range(9))
        assert isinstance(next(results), Receipt)
        sink.close_connections()
        results = outcomes(results)
        assert len(results) == 8
        assert set(results) <= {Outcome.ACCEPTED, Outcome.UNKNOWN}
        assert results[-1] is Outcome.ACCEPTED
    assert len(sink.messages) == 1 + results.count(Outcome.ACCEPTED)


@pytest.mark.threads_only  # a hook in an event loop must not wait
@pytest.mark.parametrize(("pool_size", "outcome"), [(1, PoolTimeout), (2, Receipt)])
def test_what_an_event_hook_sends_meanwhile_needs_another_connection(
    message, pool_size: int, outcome: type
) -> None:
    got: list[Receipt | Exception] = []

    def hook(event: Event) -> None:
        if isinstance(event, MessageSent) and not got:
            got.append(PoolTimeout("not yet"))
            got[:] = mailer.stream_messages([message()])

    with (
        Sink() as sink,
        Mailer(
            sink.url, batch_pipeline=4, pool_size=pool_size, pool_timeout=0.05, on_event=hook
        ) as mailer,
    ):
        assert outcomes(mailer.stream_messages([message()] * 6)) == [Outcome.ACCEPTED] * 6
    assert [type(result) for result in got] == [outcome]
    assert len(sink.messages) == 6 + (outcome is Receipt)


@pytest.mark.threads_only  # like the hook, it is read in the event loop
def test_what_the_iterable_sends_meanwhile_goes_over_another_connection(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4, pool_size=2) as mailer:

        def items() -> Iterator[EmailMessage]:
            for _ in range(9):
                assert isinstance(mailer.send_message(message()), Receipt)
                yield message()

        assert outcomes(mailer.stream_messages(items())) == [Outcome.ACCEPTED] * 9
    assert (len(sink.messages), sink.connections) == (18, 2)


def test_an_endless_batch_is_read_only_as_far_as_it_is_sent(message) -> None:
    taken = []

    def endless() -> Iterator[EmailMessage]:
        for number in iter(partial(len, taken), -1):
            taken.append(number)
            yield message()

    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        results = mailer.stream_messages(endless())
        assert taken == []
        next(results)
        assert len(taken) == 4


def test_two_ways_to_send_a_batch_faster_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="batch_pipeline=8 exclude each other"):
        Mailer(batch_connections=2, batch_pipeline=8)
