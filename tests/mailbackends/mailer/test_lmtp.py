"""LMTP: one reply for each recipient after the content, and one outcome for each (RFC 2033)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mailbackends import (
    Mailer,
    Outcome,
    SMTPDeliveryUnknown,
    SMTPHeloError,
    SMTPRecipientsRefused,
)
from support.line import Break, Cut
from support.machine import Habits
from support.sink import EXTENSIONS, Sink
from support.turns import Network, taking_turns

CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")
A, B, C = "a@example.com", "b@example.com", "c@example.com"


@pytest.fixture(params=[CHUNKED, PIPELINED, PLAIN], ids=["chunked", "pipelined", "plain"])
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    with Sink(extensions=request.param, lmtp=True) as sink:
        yield sink


@pytest.fixture
def mailer(sink: Sink) -> Iterator[Mailer]:
    with Mailer(f"lmtp://{sink.host}:{sink.port}") as mailer:
        yield mailer


def test_all_are_accepted(message, sink: Sink, mailer: Mailer) -> None:
    receipt = mailer.send_message(message(A, B, C))
    assert receipt.accepted == sink.message.rcpt_tos == (A, B, C)
    assert sink.commands[0][0].startswith("LHLO ")


def test_each_recipient_has_a_separate_outcome(message, sink: Sink, mailer: Mailer) -> None:
    sink.refuse(A, "550 5.1.1 No such user", times=1)
    sink.refuse_delivery(B, "452 4.2.2 Mailbox full", times=1)
    receipt = mailer.send_message(message(A, B, C))
    assert receipt.accepted == sink.message.rcpt_tos == (C,)
    assert {to: reply.code for to, reply in receipt.refused.items()} == {A: 550, B: 452}
    assert receipt.outcomes == {
        C: Outcome.ACCEPTED,
        A: Outcome.REFUSED,
        B: Outcome.REFUSED,
    }
    # The session is in step: the next message goes over it.
    assert mailer.send_message(message(A, B, C)).accepted == (A, B, C)
    assert sink.connections == 1


def test_a_full_mailbox_sets_no_limit_of_recipients(message, sink: Sink, mailer: Mailer) -> None:
    sink.refuse_delivery(C, "452 Full", times=1)
    assert [*mailer.send_message(message(A, B, C)).refused] == [C]
    mailer.send_message(message(A, B, C))
    assert [m.rcpt_tos for m in sink.messages] == [(A, B), (A, B, C)]


def test_all_recipients_refused_after_the_content_are_reported(
    message, sink: Sink, mailer: Mailer
) -> None:
    sink.refuse_delivery(A, "550 5.2.1 Gone", times=1)
    sink.refuse_delivery(B, "451 4.3.0 Later", times=1)
    with pytest.raises(SMTPRecipientsRefused) as caught:
        mailer.send_message(message(A, B))
    assert caught.value.outcome is Outcome.REFUSED
    assert {to: code for to, (code, _) in caught.value.recipients.items()} == {A: 550, B: 451}
    assert not caught.value.is_transient
    mailer.send_message(message(A))
    assert sink.connections == 1


def test_a_421_in_place_of_the_first_reply_leaves_the_others_unknown() -> None:
    habits = Habits(("PIPELINING",), lmtp=True, last_reply=2 + 5)
    with taking_turns(Network(habits)) as network:
        mailer = Mailer(f"lmtp://127.0.0.1:{network.ports[0]}?local_hostname=c.x")
        with mailer, pytest.raises(SMTPDeliveryUnknown) as caught:
            mailer.send_message(b"hello", "s@x", ["a@x", "b@x", "c@x"])
        assert network.delivered.count == {}
    assert caught.value.refused["a@x"].code == 421
    assert caught.value.unknown == ("b@x", "c@x")


@pytest.mark.parametrize("answered", [1, 2])
def test_a_break_between_two_replies_leaves_the_rest_unknown(answered: int) -> None:
    hello = b"220 x.test\r\n250-x.test\r\n250 PIPELINING\r\n"
    before = hello + b"250 ok\r\n" * 4 + b"354 go\r\n" + b"250 taken\r\n" * answered
    cut = Cut("sent", len(before), Break.FIN)
    people = ("a@x", "b@x", "c@x")
    with taking_turns(Network(Habits(("PIPELINING",), lmtp=True))) as network:
        network.begin(lambda index, server: cut if index == 0 else None)
        mailer = Mailer(f"lmtp://127.0.0.1:{network.ports[0]}?local_hostname=c.x")
        with mailer, pytest.raises(SMTPDeliveryUnknown) as caught:
            mailer.send_message(b"hello", "s@x", people)
        assert sorted(network.delivered.count.values()) == [1, 1, 1]
        assert len(network.lines) == 1
    assert caught.value.accepted == people[:answered]
    assert caught.value.unknown == people[answered:]


def test_it_goes_over_a_unix_socket_too(message) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "lmtp")
        with Sink(lmtp=True, path=path) as sink, Mailer(f"lmtp+unix://{path}") as mailer:
            assert mailer.send_message(message(A, B)).accepted == (A, B)
            assert mailer.send_message(message(A, B)).accepted == (A, B)
            assert path in repr(mailer)
        assert sink.connections == 1


def test_a_server_that_does_not_know_lhlo_is_not_asked_for_helo(message) -> None:
    with Sink() as sink, Mailer(f"lmtp://{sink.host}:{sink.port}") as mailer:
        with pytest.raises(SMTPHeloError) as caught:
            mailer.send_message(message(A))
        assert caught.value.outcome is Outcome.NOT_SENT
    assert [line.split()[0] for line in sink.commands[0]] == ["LHLO"]


@pytest.mark.parametrize(
    ("extensions", "round_trips"), [(CHUNKED, 1), (PIPELINED, 2)], ids=["chunked", "pipelined"]
)
def test_it_costs_the_same_round_trips(
    message, extensions: Sequence[str], round_trips: int
) -> None:
    with (
        Sink(extensions=extensions, lmtp=True) as sink,
        Mailer(f"lmtp://{sink.host}:{sink.port}") as mailer,
    ):
        mailer.send_message(message(A, B, C))
        before = len(sink.flights[0])
        mailer.send_message(message(A, B, C))
        assert len(sink.flights[0]) - before == round_trips
