"""Which of several servers comes first: the strategies, and the circuits at work."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from mailbackends import (
    Mailer,
    SMTPException,
    SMTPRecipientsRefused,
)
from support.sink import Sink

MakeMessage = Callable[..., EmailMessage]

TO = "to@example.com"


def test_a_server_that_failed_three_times_is_avoided_for_a_while(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.answer("CONNECT", "421 4.3.2 not now", times=None)
    with Mailer([one.url, two.url], circuit_pause=1000) as mailer:
        for _ in range(8):
            mailer.send_message(message())
        assert [server.circuit for server in mailer.stats().servers] == ["open", "closed"]
    assert one.connections == 3
    assert len(two.messages) == 8


def test_a_server_that_refuses_each_message_for_now_is_avoided_too(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.refuse_content("451 4.3.0 later")
    with Mailer([one.url, two.url], circuit_failures=2, circuit_pause=1000) as mailer:
        for _ in range(6):
            mailer.send_message(message())
    assert sum(line.startswith("MAIL") for line in one.commands[0]) == 2


def test_refused_recipients_open_no_circuit(one: Sink, two: Sink, message: MakeMessage) -> None:
    one.refuse(TO, "450 4.2.0 greylisted")
    one.refuse("never@example.com", "550 5.1.1 no such user")
    with Mailer([one.url, two.url], circuit_failures=1) as mailer:
        for _ in range(3):
            mailer.send_message(message())
            with pytest.raises(SMTPRecipientsRefused):
                mailer.send_message(message("never@example.com"))
        assert mailer.stats().servers[0].circuit == "closed"


def test_a_server_that_recovers_gets_the_messages_again(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.answer("CONNECT", "421 4.3.2 not now", times=4)
    with Mailer([one.url, two.url], circuit_pause=0.001) as mailer:
        for _ in range(10):
            mailer.send_message(message())
            time.sleep(0.01)  # each time a probe is due
        assert [server.circuit for server in mailer.stats().servers] == ["closed", "closed"]
    assert one.connections == 5
    assert len(two.messages) == 4
    assert len(one.messages) == 6


def test_if_all_circuits_are_open_the_servers_are_tried_anyway(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    for sink in (one, two):
        sink.answer("CONNECT", "421 4.3.2 not now", times=1)
    with Mailer([one.url, two.url], circuit_failures=1, circuit_pause=1000) as mailer:
        with pytest.raises(SMTPException):
            mailer.send_message(message())
        assert {server.circuit for server in mailer.stats().servers} == {"open"}
        mailer.send_message(message())
        assert mailer.stats().servers[0].circuit == "closed"
    assert len(one.messages) == 1


def test_ordered_sends_all_messages_to_the_first_server_that_works(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    with Mailer([one.url, two.url]) as mailer:
        for _ in range(4):
            mailer.send_message(message())
    assert (len(one.messages), two.connections) == (4, 0)


def test_round_robin_begins_at_each_in_turn(one: Sink, two: Sink, message: MakeMessage) -> None:
    with Sink() as three:
        servers = [one.url, two.url, three.url]
        with Mailer(servers, strategy="round_robin") as mailer:
            for _ in range(9):
                mailer.send_message(message())
        assert [len(sink.messages) for sink in (one, two, three)] == [3, 3, 3]


def test_round_robin_alternates_between_servers_that_work(
    nobody: str, one: Sink, two: Sink, message: MakeMessage
) -> None:
    with Mailer([one.url, nobody, two.url], strategy="round_robin") as mailer:
        for _ in range(6):
            mailer.send_message(message())
    assert len(one.messages) + len(two.messages) == 6
    assert min(len(one.messages), len(two.messages)) >= 2
