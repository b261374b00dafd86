"""A Mailer with several servers: batches, hold, stats, events, and load."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from email.message import EmailMessage

import pytest

from mailbackends import (
    Mailer,
    Outcome,
    Receipt,
    SMTPConnectionError,
    SMTPException,
    SMTPRecipientsRefused,
    Submission,
)
from mailbackends.events import Event, MessageFailed, MessageSent
from support.sink import Sink

MakeMessage = Callable[..., EmailMessage]

TO = "to@example.com"


def test_a_batch_chooses_a_server_for_each_message_and_keeps_its_order(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    one.refuse("never@example.com", "550 5.1.1 no such user")
    people = [TO, "later@example.com", "never@example.com", TO]
    with Mailer([one.url, two.url]) as mailer:
        results = list(mailer.stream_messages(Submission(message(to)) for to in people))
    assert [type(result) for result in results] == [
        Receipt,
        Receipt,
        SMTPRecipientsRefused,
        Receipt,
    ]
    assert [received.rcpt_tos for received in two.messages] == [("later@example.com",)]
    assert len(one.messages) == 2


def test_hold_keeps_one_connection_to_each_server_that_was_needed(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    with Mailer([one.url, two.url]) as mailer:
        with mailer.hold() as held:
            assert held.open() is True
            assert held.open() is False
            for to in (TO, "later@example.com", TO, "later@example.com"):
                held.send_message(message(to))
            assert mailer.stats().pool.in_use == 2
        assert mailer.stats().pool.idle == 2
    assert (one.connections, two.connections) == (1, 1)
    assert (len(one.messages), len(two.messages)) == (2, 2)


def test_open_connects_to_the_first_server_that_accepts(nobody: str, two: Sink) -> None:
    with Mailer([nobody, two.url]) as mailer:
        assert mailer.open() is True
        assert mailer.open() is False
    with Mailer([nobody, nobody + "?pool_size=2"]) as mailer:
        with pytest.raises(SMTPConnectionError) as raised:
            mailer.open()
        assert len(raised.value.earlier) == 1


def test_close_closes_the_connections_to_all_servers(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    with Mailer([one.url, two.url], strategy="round_robin") as mailer:
        mailer.send_message(message())
        mailer.send_message(message())
        assert (one.open_connections, two.open_connections) == (1, 1)
    for sink in (one, two):
        sink.wait(lambda sink=sink: sink.open_connections == 0)  # type: ignore[misc]
        assert sink.commands[0][-1] == "QUIT"


def test_the_stats_count_each_message_once_and_each_try_at_its_server(
    nobody: str, two: Sink, message: MakeMessage
) -> None:
    with Mailer([nobody, two.url]) as mailer:
        mailer.send_message(message())
        stats = mailer.stats()
    assert stats.messages == {Outcome.ACCEPTED: 1}
    assert stats.pool.open == stats.servers[1].pool.open == 1
    assert [server.messages for server in stats.servers] == [
        {Outcome.NOT_SENT: 1},
        {Outcome.ACCEPTED: 1},
    ]
    assert stats.servers[1].server == f"127.0.0.1:{two.port}"


def test_each_server_emits_an_event_and_one_event_is_final(
    nobody: str, two: Sink, message: MakeMessage
) -> None:
    events: list[Event] = []
    with Mailer([nobody, two.url], on_event=events.append) as mailer:
        mailer.send_message(message())
    told = [event for event in events if isinstance(event, MessageFailed | MessageSent)]
    assert [(event.server_port, event.is_final) for event in told] == [
        (int(nobody.rpartition(":")[2]), False),
        (two.port, True),
    ]


def test_under_load_and_faults_each_message_arrives_once_or_is_known_not_to(
    message: MakeMessage,
) -> None:
    names = [f"message {number}" for number in range(300)]
    with ExitStack() as stack:
        one, two = (stack.enter_context(Sink()) for _ in range(2))
        for sink in (one, two):
            for verb in ("MAIL", "CONNECT", "RCPT"):
                sink.answer(verb, "421 4.3.2 not now", times=10)
            sink.hang_up("content", times=10)
            sink.refuse_content("451 4.3.0 later", times=20)
        mailer = stack.enter_context(
            Mailer([one.url, two.url], strategy="round_robin", circuit_pause=0.01)
        )
        outcomes: dict[str, Outcome | None] = {}

        def send(mine: list[str]) -> None:
            for name in mine:
                try:
                    outcomes[name] = mailer.send_message(message(subject=name)).outcome
                except SMTPException as error:
                    outcomes[name] = error.outcome

        threads = [threading.Thread(target=send, args=(names[n::10],)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        arrived = [str(each.message["Subject"]) for each in one.messages + two.messages]
        assert len(arrived) == len(set(arrived))
        assert outcomes.keys() == set(names)
        assert None not in outcomes.values()
        for name, outcome in outcomes.items():
            if outcome is Outcome.ACCEPTED:
                assert name in arrived
            elif outcome is not Outcome.UNKNOWN:
                assert name not in arrived
        assert sum(mailer.stats().messages.values()) == len(names)
