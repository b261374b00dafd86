"""A Mailer over several servers: what goes on to the next one, and what never does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage

import pytest

from mailbackends import (
    InvalidAddressError,
    Mailer,
    Outcome,
    PoolClosed,
    Receipt,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    Submission,
)
from mailbackends.events import Event, MessageFailed, MessageSent
from support.sink import Sink

TO = "to@example.com"


def message(*to: str, name: str = "hello") -> EmailMessage:
    made = EmailMessage()
    made["From"] = "from@example.com"
    made["To"] = ", ".join(to or (TO,))
    made["Subject"] = name
    made.set_content("Hello.\n")
    return made


# Without CHUNKING there is a moment between the envelope and the content.
EXTENSIONS = ("PIPELINING", "ENHANCEDSTATUSCODES")


@pytest.fixture
def one() -> Iterator[Sink]:
    with Sink(extensions=EXTENSIONS) as sink:
        yield sink


@pytest.fixture
def two() -> Iterator[Sink]:
    with Sink(extensions=EXTENSIONS) as sink:
        yield sink


@pytest.fixture
def nobody() -> str:
    """The URL of a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"smtp://127.0.0.1:{sock.getsockname()[1]}"


# --- what goes on ---------------------------------------------------------------------


def test_where_nobody_listens_the_next_server_gets_the_message(nobody: str, two: Sink) -> None:
    with Mailer([nobody, two.url]) as mailer:
        receipt = mailer.send_message(message())
    assert receipt.accepted == (TO,)
    assert two.message.rcpt_tos == (TO,)


REFUSALS: dict[str, Callable[[Sink], None]] = {
    "sender": lambda sink: sink.refuse_sender("from@example.com", "451 4.3.0 later"),
    "recipient": lambda sink: sink.refuse(TO, "450 4.2.0 greylisted"),
    "content": lambda sink: sink.refuse_content("452 4.3.1 disk full"),
    "hanging up with 421": lambda sink: sink.answer("MAIL", "421 4.3.2 shutting down"),
    "hanging up before the content": lambda sink: sink.hang_up("DATA", times=None),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS.keys())
def test_what_was_refused_for_now_goes_to_the_next_server(
    refuse: Callable[[Sink], None], one: Sink, two: Sink
) -> None:
    refuse(one)
    with Mailer([one.url, two.url]) as mailer:
        assert mailer.send_message(message()).accepted == (TO,)
    assert (len(one.messages), len(two.messages)) == (0, 1)


def test_a_login_that_one_server_refuses_is_tried_at_the_next() -> None:
    login = ("user", "secret")
    with Sink(login=("user", "changed")) as one, Sink(login=login) as two:
        servers = [f"smtp://{one.host}:{one.port}", f"smtp://{two.host}:{two.port}"]
        with Mailer(servers, username="user", password="secret") as mailer:
            mailer.send_message(message())
        assert two.message.user == "user"


def test_of_a_partial_refusal_the_rest_goes_on_and_the_receipt_is_joined(
    one: Sink, two: Sink
) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    one.refuse("never@example.com", "550 5.1.1 no such user")
    with Mailer([one.url, two.url]) as mailer:
        receipt = mailer.send_message(
            message("now@example.com", "later@example.com", "never@example.com")
        )
    assert one.message.rcpt_tos == ("now@example.com",)
    assert two.message.rcpt_tos == ("later@example.com",)
    assert receipt.accepted == ("now@example.com", "later@example.com")
    assert {to: reply.code for to, reply in receipt.refused.items()} == {"never@example.com": 550}


def test_who_is_refused_everywhere_for_now_stays_in_the_receipt(one: Sink, two: Sink) -> None:
    for sink in (one, two):
        sink.refuse("later@example.com", "450 4.2.0 greylisted")
    with Mailer([one.url, two.url]) as mailer:
        receipt = mailer.send_message(message(TO, "later@example.com"))
        assert mailer.stats().messages == {Outcome.ACCEPTED: 1}
    assert receipt.refused["later@example.com"].code == 450
    assert (len(one.messages), len(two.messages)) == (1, 0)


# --- what does not ----------------------------------------------------------------------


def test_what_is_in_the_dark_goes_nowhere_else(one: Sink, two: Sink) -> None:
    one.hang_up("content")
    with Mailer([one.url, two.url]) as mailer, pytest.raises(SMTPDeliveryUnknown) as raised:
        mailer.send_message(message())
    assert raised.value.unknown == (TO,)
    assert two.connections == 0


def test_what_is_refused_for_good_goes_nowhere_else(one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url]) as mailer:
        one.refuse_sender("from@example.com", "550 5.7.1 not you", times=1)
        with pytest.raises(SMTPSenderRefused):
            mailer.send_message(message())
        one.refuse(TO, "550 5.1.1 no such user", times=1)
        with pytest.raises(SMTPRecipientsRefused):
            mailer.send_message(message())
        one.refuse_content("554 5.6.0 spam", times=1)
        with pytest.raises(SMTPDataError):
            mailer.send_message(message())
        assert mailer.stats().messages == {Outcome.REFUSED: 3}
    assert two.connections == 0


def test_a_message_that_fits_no_server_is_tried_at_none(one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url]) as mailer:
        with pytest.raises(InvalidAddressError):
            mailer.send_message(message(), to_addrs=["a\r\nb@example.com"])
        assert mailer.stats().messages == {Outcome.NOT_SENT: 1}
    assert (one.connections, two.connections) == (0, 0)


def test_who_was_accepted_is_told_when_the_rest_is_in_the_dark(one: Sink, two: Sink) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    two.hang_up("content")
    with Mailer([one.url, two.url]) as mailer, pytest.raises(SMTPDeliveryUnknown) as raised:
        mailer.send_message(message(TO, "later@example.com"))
    assert raised.value.accepted == (TO,)
    assert raised.value.unknown == ("later@example.com",)


def test_a_closed_mailer_does_not_wander_from_server_to_server(one: Sink, two: Sink) -> None:
    mailer = Mailer([one.url, two.url])
    mailer.close()
    with pytest.raises(PoolClosed) as raised:
        mailer.send_message(message())
    assert raised.value.earlier == ()


# --- errors, deadline ---------------------------------------------------------------------


def test_the_error_tells_in_one_line_what_happened_at_each_server(nobody: str, one: Sink) -> None:
    one.answer("CONNECT", "554 5.3.2 no service", times=None)
    with Mailer([nobody, one.url]) as mailer, pytest.raises(SMTPException) as raised:
        mailer.send_message(message())
    error = raised.value
    assert error.outcome is Outcome.NOT_SENT
    assert error.server == f"127.0.0.1:{one.port}"
    assert [type(each) for each in error.earlier] == [SMTPConnectionError]
    text = str(error)
    assert "\n" not in text
    assert "554 5.3.2 no service" in text
    assert f"[{nobody.removeprefix('smtp://')}]" in text


def test_a_server_that_never_greets_leaves_time_for_the_next(one: Sink, two: Sink) -> None:
    one.stall("CONNECT", times=None)
    with Mailer([one.url, two.url], timeout=60.0, deadline=2.0) as mailer:
        mailer.send_message(message())
    assert len(two.messages) == 1


def test_the_deadline_holds_over_all_servers_together(one: Sink, two: Sink) -> None:
    for sink in (one, two):
        sink.stall("CONNECT", times=None)
    with (
        Mailer([one.url, two.url], timeout=60.0, deadline=0.4) as mailer,
        pytest.raises(TimeoutError) as raised,
    ):
        mailer.send_message(message())
    assert isinstance(raised.value, SMTPException)
    assert raised.value.outcome is Outcome.NOT_SENT
    assert len(raised.value.earlier) == 1


def test_no_server_is_tried_once_the_deadline_is_over(one: Sink, two: Sink) -> None:
    one.stall("MAIL", times=None)
    with (
        Mailer([one.url, two.url], timeout=60.0, deadline=0.3) as mailer,
        pytest.raises(TimeoutError),
    ):
        mailer.send_message(message())
    assert two.connections == 0


# --- circuits and strategies --------------------------------------------------------------


def test_a_server_that_failed_three_times_is_left_alone_for_a_while(one: Sink, two: Sink) -> None:
    one.answer("CONNECT", "421 4.3.2 not now", times=None)
    with Mailer([one.url, two.url], circuit_pause=1000) as mailer:
        for _ in range(8):
            mailer.send_message(message())
        assert [server.circuit for server in mailer.stats().servers] == ["open", "closed"]
    assert one.connections == 3
    assert len(two.messages) == 8


def test_a_server_that_says_later_to_each_message_is_left_alone_too(one: Sink, two: Sink) -> None:
    one.refuse_content("451 4.3.0 later")
    with Mailer([one.url, two.url], circuit_failures=2, circuit_pause=1000) as mailer:
        for _ in range(6):
            mailer.send_message(message())
    assert sum(line.startswith("MAIL") for line in one.commands[0]) == 2


def test_refused_recipients_open_no_circuit(one: Sink, two: Sink) -> None:
    one.refuse(TO, "450 4.2.0 greylisted")
    one.refuse("never@example.com", "550 5.1.1 no such user")
    with Mailer([one.url, two.url], circuit_failures=1) as mailer:
        for _ in range(3):
            mailer.send_message(message())
            with pytest.raises(SMTPRecipientsRefused):
                mailer.send_message(message("never@example.com"))
        assert mailer.stats().servers[0].circuit == "closed"


def test_a_server_that_recovers_gets_the_messages_again(one: Sink, two: Sink) -> None:
    one.answer("CONNECT", "421 4.3.2 not now", times=4)
    with Mailer([one.url, two.url], circuit_pause=0.001) as mailer:
        for _ in range(50):
            mailer.send_message(message())
        assert [server.circuit for server in mailer.stats().servers] == ["closed", "closed"]
    assert one.connections == 5
    assert len(two.messages) == 4
    assert len(one.messages) == 46


def test_where_all_circuits_are_open_the_servers_are_tried_all_the_same(
    one: Sink, two: Sink
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


def test_ordered_gives_all_to_the_first_that_works(one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url]) as mailer:
        for _ in range(4):
            mailer.send_message(message())
    assert (len(one.messages), two.connections) == (4, 0)


def test_round_robin_begins_at_each_in_turn(one: Sink, two: Sink) -> None:
    with Sink() as three:
        servers = [one.url, two.url, three.url]
        with Mailer(servers, strategy="round robin") as mailer:
            for _ in range(9):
                mailer.send_message(message())
        assert [len(sink.messages) for sink in (one, two, three)] == [3, 3, 3]


def test_round_robin_goes_round_those_that_work(nobody: str, one: Sink, two: Sink) -> None:
    with Mailer([one.url, nobody, two.url], strategy="round robin") as mailer:
        for _ in range(6):
            mailer.send_message(message())
    assert len(one.messages) + len(two.messages) == 6
    assert min(len(one.messages), len(two.messages)) >= 2


# --- the rest of the Mailer ---------------------------------------------------------------


def test_a_batch_goes_on_message_by_message_and_in_order(one: Sink, two: Sink) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    one.refuse("never@example.com", "550 5.1.1 no such user")
    people = [TO, "later@example.com", "never@example.com", TO]
    with Mailer([one.url, two.url]) as mailer:
        results = list(mailer.send_messages(Submission(message(to)) for to in people))
    assert [type(result) for result in results] == [
        Receipt,
        Receipt,
        SMTPRecipientsRefused,
        Receipt,
    ]
    assert [received.rcpt_tos for received in two.messages] == [("later@example.com",)]
    assert len(one.messages) == 2


def test_what_is_held_is_one_connection_to_each_server_that_was_needed(
    one: Sink, two: Sink
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


def test_open_opens_where_it_can(nobody: str, two: Sink) -> None:
    with Mailer([nobody, two.url]) as mailer:
        assert mailer.open() is True
        assert mailer.open() is False
    with Mailer([nobody, nobody + "?pool_size=2"]) as mailer:
        with pytest.raises(SMTPConnectionError) as raised:
            mailer.open()
        assert len(raised.value.earlier) == 1


def test_close_closes_the_connections_to_all_servers(one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url], strategy="round robin") as mailer:
        mailer.send_message(message())
        mailer.send_message(message())
        assert (one.open_connections, two.open_connections) == (1, 1)
    for sink in (one, two):
        sink.wait(lambda sink=sink: sink.open_connections == 0)  # type: ignore[misc]
        assert sink.commands[0][-1] == "QUIT"


def test_the_stats_count_each_message_once_and_each_try_at_its_server(
    nobody: str, two: Sink
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


def test_each_server_tells_of_its_own_try_and_one_event_is_the_final_one(
    nobody: str, two: Sink
) -> None:
    events: list[Event] = []
    with Mailer([nobody, two.url], on_event=events.append) as mailer:
        mailer.send_message(message())
    told = [event for event in events if isinstance(event, MessageFailed | MessageSent)]
    assert [(event.server_port, event.is_final) for event in told] == [
        (int(nobody.rpartition(":")[2]), False),
        (two.port, True),
    ]


def test_under_load_and_faults_each_message_is_there_once_or_known_not_to_be() -> None:
    names = [f"message {number}" for number in range(300)]
    with ExitStack() as stack:
        one, two = (stack.enter_context(Sink()) for _ in range(2))
        for sink in (one, two):
            for verb in ("MAIL", "CONNECT", "RCPT"):
                sink.answer(verb, "421 4.3.2 not now", times=10)
            sink.hang_up("content", times=10)
            sink.refuse_content("451 4.3.0 later", times=20)
        mailer = stack.enter_context(
            Mailer([one.url, two.url], strategy="round robin", circuit_pause=0.01)
        )
        outcomes: dict[str, Outcome | None] = {}

        def send(mine: list[str]) -> None:
            for name in mine:
                try:
                    outcomes[name] = mailer.send_message(message(name=name)).outcome
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
