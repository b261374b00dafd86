"""What a message costs: round trips and writes, counted at the server and at the socket."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import pytest

from mailbackends import Mailer, Outcome, SMTPDataError, SMTPException
from support.sink import EXTENSIONS, Sink

CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")


def people(count: int) -> list[str]:
    return [f"user{number}@example.com" for number in range(count)]


def flights_of_second_message(sink: Sink, message, count: int, **options) -> list[bytes]:
    """The bytes of the second of two messages over the same connection."""
    with Mailer(sink.url, **options) as mailer:
        mailer.send_message(message())
        before = len(sink.flights[0])
        receipt = mailer.send_message(message(*people(count)))
        flights = [bytes(flight) for flight in sink.flights[0][before:]]
        assert len(receipt.accepted) == count
        assert mailer.stats().pool.made == 1
    assert sink.connections == 1
    assert sink.violations == []
    return flights


# One message over an open connection


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize(("extensions", "round_trips"), [(CHUNKED, 1), (PIPELINED, 2)])
def test_recipients_cost_no_round_trip(
    message, count: int, extensions: Sequence[str], round_trips: int
) -> None:
    with Sink(extensions=extensions) as sink:
        flights = flights_of_second_message(sink, message, count)
    assert len(flights) == round_trips


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize(("extensions", "expected"), [(CHUNKED, 1), (PIPELINED, 2)])
def test_each_round_trip_is_one_write(
    message, writes: list[bytes], count: int, extensions: Sequence[str], expected: int
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        writes.clear()
        mailer.send_message(message(*people(count)))
        assert len(writes) == expected
        assert writes[0].startswith(b"MAIL FROM:<from@example.com>")
        assert writes[0].count(b"RCPT TO:") == count


@pytest.mark.parametrize("count", [1, 50])
def test_in_lock_step_each_command_costs_one(message, count: int) -> None:
    with Sink(extensions=PLAIN) as sink:
        flights = flights_of_second_message(sink, message, count)
    # MAIL, each RCPT, DATA, the content.
    assert len(flights) == count + 3


def test_chunking_without_pipelining_saves_the_round_trip_of_data(message) -> None:
    with Sink(extensions=(*PLAIN, "CHUNKING")) as sink:
        flights = flights_of_second_message(sink, message, 1)
    assert [flight[:4] for flight in flights] == [b"MAIL", b"RCPT", b"BDAT"]


@pytest.mark.parametrize(
    ("options", "round_trips"),
    [({"chunking": False}, 2), ({"pipelining": False}, 3), ({}, 1)],
    ids=str,
)
def test_extensions_that_are_switched_off_are_not_used(
    message, sink: Sink, options: dict[str, bool], round_trips: int
) -> None:
    flights = flights_of_second_message(sink, message, 1, **options)
    assert len(flights) == round_trips
    assert any(b"BDAT" in flight for flight in flights) is options.get("chunking", True)


def test_nothing_is_asked_before_a_connection_is_used_again(message, sink: Sink) -> None:
    with Mailer(sink.url) as mailer:
        for _ in range(10):
            mailer.send_message(message())
    # EHLO, and each message by itself; QUIT at the end, without waiting for its reply.
    sink.wait(lambda: sink.open_connections == 0)
    assert len(sink.flights[0]) == 12
    verbs = {line.split()[0] for line in sink.commands[0]}
    assert verbs == {"EHLO", "MAIL", "RCPT", "BDAT", "QUIT"}


def test_a_batch_costs_as_much_as_its_messages(message, sink: Sink) -> None:
    with Mailer(sink.url) as mailer:
        assert len(list(mailer.stream_messages(message() for _ in range(20)))) == 20
    sink.wait(lambda: sink.open_connections == 0)
    assert len(sink.flights[0]) == 22


# The first message


@pytest.mark.parametrize(
    ("extensions", "flights"),
    [(CHUNKED, ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL"]),
     (PIPELINED, ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "content"])],
    ids=["chunked", "pipelined"],
)  # fmt: skip
def test_a_cold_send_with_starttls_and_login_costs_8_or_9_round_trips(
    message, extensions: Sequence[str], flights: list[str]
) -> None:
    with (
        Sink(extensions=extensions, tls="starttls", login=("user", "secret")) as sink,
        Mailer(sink.url) as mailer,
    ):
        mailer.send_message(message())
        seen = [flight.split()[0].decode() for flight in sink.flights[0]]
    assert [verb if verb in flights else "content" for verb in seen] == flights
    # TCP, the greeting and the handshake of TLS 1.3 (RFC 8446 section 2) cost one each besides.
    assert ssl.HAS_TLSv1_3
    assert len(seen) + 3 == (8 if "CHUNKING" in extensions else 9)


def test_a_login_costs_one_round_trip_once(message) -> None:
    with Sink(login=("user", "secret"), require_login=True) as sink:
        with Mailer(sink.url) as mailer:
            mailer.send_message(message())
            mailer.send_message(message())
        sink.wait(lambda: sink.open_connections == 0)
    assert [line.split()[0] for line in sink.commands[0]] == [
        *("EHLO", "AUTH"), *("MAIL", "RCPT", "BDAT"), *("MAIL", "RCPT", "BDAT"), "QUIT",
    ]  # fmt: skip


def test_quit_is_sent_without_waiting_for_the_reply(message, sink: Sink) -> None:
    sink.stall("QUIT")
    with Mailer(sink.url) as mailer:
        mailer.send_message(message())
    sink.wait(lambda: sink.commands[0][-1] == "QUIT")


# After a failure


@pytest.mark.parametrize(
    ("extensions", "first", "second"),
    [(CHUNKED, 2, 1), (PIPELINED, 2, 2), (PLAIN, 5, 4)],
    ids=["chunked", "pipelined", "plain"],
)
def test_after_a_refusal_rset_is_sent_with_the_next_message(
    message, extensions: Sequence[str], first: int, second: int
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        sink.refuse_content(times=1)
        with pytest.raises(SMTPDataError):
            mailer.send_message(message())
        places = []
        for _ in range(3):
            places.append(len(sink.flights[0]))
            mailer.send_message(message())
        assert bytes(sink.flights[0][places[0]]).startswith(b"RSET\r\n")
        # Content is sent only after the reply to RSET, so the first may cost one more.
        assert (places[1] - places[0], places[2] - places[1]) == (first, second)
    assert sink.connections == 1


@pytest.mark.parametrize("extensions", [CHUNKED, PIPELINED, PLAIN], ids=["1", "2", "n"])
@pytest.mark.parametrize("what", ["sender", "recipients", "content"])
def test_a_refusal_costs_no_connection(message, extensions: Sequence[str], what: str) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        {
            "sender": lambda: sink.refuse_sender("from@example.com", times=1),
            "recipients": lambda: sink.refuse("to@example.com", times=1),
            "content": lambda: sink.refuse_content(times=1),
        }[what]()
        with pytest.raises(SMTPException) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.REFUSED
        mailer.send_message(message())
        assert mailer.stats().pool.made == 1
    assert len(sink.messages) == 1
    assert sink.violations == []


# SIZE (RFC 1870)


def test_a_message_over_the_announced_size_is_refused_before_a_command_is_sent(
    message, writes: list[bytes]
) -> None:
    with (
        Sink(extensions=("PIPELINING", "CHUNKING", "SIZE 1000")) as sink,
        Mailer(sink.url) as mailer,
    ):
        mailer.send_message(message())
        writes.clear()
        with pytest.raises(SMTPDataError, match="takes at most 1000") as caught:
            mailer.send_message(message(text="x" * 70 + "\n" + "y" * 1000))
        assert writes == []
        assert caught.value.smtp_code == 552
        assert caught.value.outcome is Outcome.REFUSED
        mailer.send_message(message())
        assert mailer.stats().pool.made == 1
    assert len(sink.messages) == 2


def test_the_size_is_sent_with_mail(message, sink: Sink) -> None:
    with Mailer(sink.url) as mailer:
        mailer.send_message(message())
    assert sink.message.mail_options == (f"SIZE={len(sink.message.content)}",)
