"""Upkeep of a Mailer's connections, counted at the server. The intervals are shortened."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
import time

import pytest

from mailbackends import AsyncMailer, ConfigurationError, Mailer, Options, SMTPException
from mailbackends import Mailer as BlockingMailer
from mailbackends.events import Event
from mailbackends.mailer import CircuitState, connection
from mailbackends.pool import upkeep
from support import certs
from support.background import until, upkeep_threads
from support.sink import EXTENSIONS, Sink

pytestmark = pytest.mark.usefixtures("no_upkeep_thread_is_left")


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is checked after 0.3 s; only upkeep makes it fresh for longer than 0.2 s."""
    monkeypatch.setattr(upkeep, "_INTERVAL", 0.3)
    monkeypatch.setattr(upkeep, "_SHORTEST_INTERVAL", 0.1)
    monkeypatch.setattr(upkeep, "_SHORTEST_LOOK", 0.05)
    monkeypatch.setattr(upkeep, "_GRACE", 0.1)
    monkeypatch.setattr(
        "mailbackends.pool.upkeep.random.uniform", lambda least, most: 0.05
    )  # of the backoff
    monkeypatch.setattr(connection, "_FRESH", 0.2)
    monkeypatch.setattr(connection, "_CHECK_MARGIN", 0.3)


# What it is for


@pytest.mark.parametrize(
    ("extensions", "trips"),
    [(EXTENSIONS, 1), (EXTENSIONS[:-1], 2), (EXTENSIONS[1:-1], 4)],
    ids=["CHUNKING", "PIPELINING", "neither"],
)
def test_the_first_message_after_a_quiet_time_costs_what_a_message_costs(
    message, extensions, trips: int
) -> None:
    with (
        Sink(
            extensions=extensions, tls="starttls", login=("shop", "secret"), require_login=True
        ) as sink,
        Mailer(sink.url, ssl_cafile=certs.cafile(), min_idle=1) as mailer,
    ):
        mailer.send_message(message())
        time.sleep(1.0)
        before = len(sink.flights[0])
        checks = mailer.stats().pool.checked
        assert checks >= 2
        mailer.send_message(message())
        assert len(sink.flights[0]) - before == trips
        assert sink.connections == 1
    assert sink.violations == []


def test_without_upkeep_it_costs_one_round_trip_more(message, sink: Sink) -> None:
    with Mailer(sink.url) as mailer:
        mailer.send_message(message())
        time.sleep(0.3)
        before = len(sink.flights[0])
        mailer.send_message(message())
        assert len(sink.flights[0]) - before == 2


def test_nothing_is_opened_before_the_first_message_or_warm_up(sink: Sink, message) -> None:
    with Mailer(sink.url, min_idle=2) as mailer:
        time.sleep(0.1)
        assert sink.connections == 0
        assert not upkeep_threads()
        mailer.send_message(message())
        until(lambda: mailer.stats().pool.idle == 2)
        assert sink.connections == 2


def test_warm_up_opens_the_connections_that_messages_then_use(sink: Sink, message) -> None:
    with Mailer(sink.url, min_idle=3) as mailer:
        assert mailer.warm_up(10) == 3
        assert mailer.warm_up() == 3
        flights = len(sink.flights[2])
        for _ in range(5):
            mailer.send_message(message())
        stats = mailer.stats().pool
        assert (stats.made, stats.opened_ahead, stats.reused) == (3, 3, 5)
        assert len(sink.flights[2]) - flights == 5
    assert sink.connections == 3


def test_warm_up_does_not_wait_unless_asked(sink: Sink) -> None:
    with Mailer(sink.url, min_idle=1) as mailer:
        assert mailer.warm_up() in (0, 1)
        until(lambda: mailer.warm_up() == 1)


def test_a_transaction_that_failed_is_reset_by_the_check(sink: Sink, message) -> None:
    with Mailer(sink.url, min_idle=1) as mailer:
        mailer.send_message(message())
        sink.refuse("nobody@example.com", times=1)
        with pytest.raises(SMTPException):
            mailer.send_message(message("nobody@example.com"))
        time.sleep(0.5)
        before = len(sink.flights[0])
        mailer.send_message(message())
        (flight,) = sink.flights[0][before:]
        assert flight.startswith(b"MAIL")


def test_no_message_uses_a_connection_that_the_server_closed_while_idle(
    sink: Sink, message
) -> None:
    with Mailer(sink.url, min_idle=1) as mailer:
        mailer.send_message(message())
        sink.close_connections()
        until(lambda: mailer.stats().pool.retired == {"dead": 1})
        until(lambda: mailer.stats().pool.idle == 1)
        before = len(sink.flights[1])
        mailer.send_message(message())
        assert len(sink.flights[1]) - before == 1
        assert mailer.stats().pool.opened_ahead == 1


def test_a_check_that_is_not_answered_ends_the_connection(sink: Sink, message, monkeypatch) -> None:
    monkeypatch.setattr("mailbackends.pool.maintenance._CHECK_SECONDS", 0.2)
    with Mailer(sink.url, min_idle=1) as mailer:
        mailer.send_message(message())
        sink.stall("RSET")
        until(lambda: mailer.stats().pool.retired == {"dead": 1})
        until(lambda: mailer.stats().pool.idle == 1)
        mailer.send_message(message())
        assert sink.connections == 2


@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "554 5.5.0 Too many nonmail commands"])
def test_a_check_that_is_refused(sink: Sink, message, reply: str) -> None:
    with Mailer(sink.url, min_idle=1) as mailer:
        mailer.send_message(message())
        sink.answer("RSET", reply)
        until(lambda: mailer.stats().pool.checked >= 2)
        mailer.send_message(message())
        assert len(sink.messages) == 2
    assert sink.violations == []


# A server that is down


def test_a_server_that_is_down_costs_messages_nothing(sink: Sink, message, caplog) -> None:
    sink.stop()
    with caplog.at_level(logging.WARNING), Mailer(sink.url, min_idle=2) as mailer:
        assert mailer.warm_up(10) == 0
        failed = mailer.stats().pool.failed_ahead
        assert failed == 1
        assert mailer.stats().servers[0].circuit is CircuitState.CLOSED
        assert mailer.stats().messages == {}
        for _ in range(3):
            with pytest.raises(SMTPException):
                mailer.send_message(message())
        # The messages themselves count, and cause no attempt of upkeep.
        assert mailer.stats().pool.failed_ahead == failed
        assert mailer.stats().messages == {"not_sent": 3}
        assert [r.levelname for r in caplog.records if "ahead" in r.message] == ["WARNING"]
        sink.start()
        mailer.send_message(message())
        # The message has shown that it is back: the wait is over.
        until(lambda: mailer.stats().pool.idle == 2)


def test_a_server_that_never_answers_keeps_no_message_waiting(message) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Sink() as sink:
        silent = f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        with Mailer([silent, sink.url], min_idle=1, pool_size=1, timeout=0.5) as mailer:
            mailer.warm_up()
            until(lambda: mailer.stats().pool.opening == 1)
            # Upkeep gives way: the message tries the first server itself, as without upkeep.
            assert mailer.send_message(message()).accepted
            assert mailer.stats().pool.failed_ahead == 0
            assert mailer.stats().pool.waiters == 0


def test_a_close_ends_an_attempt_that_is_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mailer = Mailer(host="127.0.0.1", port=listener.getsockname()[1], min_idle=1)
        mailer.warm_up()
        until(lambda: mailer.stats().pool.opening == 1)
        mailer.close()
        until(lambda: mailer.stats().pool.opening == 0, 1.0)


def test_upkeep_probes_no_circuit(message, one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url], min_idle=1, circuit_failures=1, circuit_pause=60) as mailer:
        mailer.send_message(message())
        one.stop()
        mailer.send_message(message())
        assert mailer.stats().servers[0].circuit is CircuitState.OPEN
        one.start()
        connections = one.connections
        until(lambda: mailer.stats().servers[1].pool.checked >= 2)
        # The server is back, and left alone: the next message that may try it decides.
        assert one.connections == connections
        assert mailer.stats().servers[0].circuit is CircuitState.OPEN
        assert mailer.stats().servers[0].pool.idle == 0


# Several servers


def test_the_first_server_in_order_is_kept_warm_and_the_second_is_not(one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url], min_idle=1) as mailer:
        assert mailer.warm_up(10) == 1
        until(lambda: mailer.stats().pool.checked >= 2)
        assert (one.connections, two.connections) == (1, 0)


def test_all_servers_in_turn_are_kept_warm(one: Sink, two: Sink) -> None:
    with Mailer([one.url, two.url], min_idle=1, strategy="round_robin") as mailer:
        assert mailer.warm_up(10) == 2
        assert (one.connections, two.connections) == (1, 1)


def test_each_server_may_have_its_number(one: Sink, two: Sink) -> None:
    servers = [Options.from_url(one.url, min_idle=2), Options.from_url(two.url)]
    with Mailer(servers, strategy="round_robin") as mailer:
        assert mailer.warm_up(10) == 2
        assert (one.connections, two.connections) == (2, 0)


# Options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_idle": 5}, "min_idle=5 is more than pool_size=4: raise pool_size"),
        ({"min_idle": 1, "max_idle": 2}, "max_idle=2 is too short for min_idle: set max_idle to 3"),
        ({"min_idle": 1, "max_lifetime": 1}, "max_lifetime=1 is too short for min_idle"),
        ({"min_idle": -1}, "min_idle must be 0 or more, got -1"),
        ({"min_idle": "many"}, "min_idle must be an integer, got 'many'"),
        ({"min_idle": None}, "min_idle must not be None: leave it out for 0"),
    ],
)
def test_options_that_contradict_each_other(options, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Mailer("smtp://localhost", **options)
    assert text in str(caught.value)


def test_warm_up_after_close_opens_nothing_and_waits_for_nothing(sink: Sink) -> None:
    mailer = Mailer(sink.url, min_idle=1)
    assert mailer.warm_up(10) == 1
    mailer.close()
    assert mailer.warm_up(10) == 0
    assert sink.connections == 1


def test_warm_up_needs_the_option(sink: Sink) -> None:
    with Mailer(sink.url) as mailer, pytest.raises(ConfigurationError, match="set min_idle=1"):
        mailer.warm_up()


def test_the_option_in_a_url(sink: Sink) -> None:
    with Mailer(f"{sink.url}?min_idle=2&pool_size=2") as mailer:
        assert mailer.warm_up(10) == 2


# The thread


@pytest.mark.threads_only
def test_a_mailer_has_one_thread_and_close_ends_it(one: Sink, two: Sink, message) -> None:
    mailer = BlockingMailer([one.url, two.url], strategy="round_robin", min_idle=2)
    mailer.warm_up(10)
    for _ in range(4):
        mailer.send_message(message())
    assert len(upkeep_threads()) == 1
    mailer.close()
    until(lambda: not upkeep_threads())


@pytest.mark.threads_only
def test_a_mailer_that_is_garbage_ends_its_thread_and_closes_its_connections(sink: Sink) -> None:
    mailer = BlockingMailer(sink.url, min_idle=2)
    mailer.warm_up(10)
    assert len(upkeep_threads()) == 1
    del mailer
    gc.collect()
    until(lambda: not upkeep_threads())
    sink.wait(lambda: sink.open_connections == 0)


@pytest.mark.threads_only
def test_a_mailer_that_is_garbage_ends_an_attempt_that_is_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun_attempt(listener)
        gc.collect()
        until(lambda: not upkeep_threads(), 1.0)


def begun_attempt(listener: socket.socket) -> None:
    mailer = BlockingMailer(host="127.0.0.1", port=listener.getsockname()[1], min_idle=1)
    mailer.warm_up()
    until(lambda: mailer.stats().pool.opening == 1)


@pytest.mark.threads_only
def test_many_threads_at_once_start_one(sink: Sink, message) -> None:
    with BlockingMailer(sink.url, min_idle=2, pool_size=8) as mailer:
        given = [message() for _ in range(24)]
        seen: list[int] = []

        def send(some: list[object]) -> None:
            for each in some:
                mailer.send_message(each)
                seen.append(len(upkeep_threads()))

        senders = [threading.Thread(target=send, args=(given[n::8],)) for n in range(8)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert len(seen) == 24
        assert max(seen) == 1


# The event loop


@pytest.mark.threads_only
def test_an_event_loop_ends_without_close(sink: Sink, message) -> None:
    async def main() -> None:
        mailer = AsyncMailer(sink.url, min_idle=2)
        assert await mailer.warm_up(10) == 2
        await mailer.send_message(message())
        await asyncio.sleep(0.7)
        assert mailer.stats().pool.checked >= 2
        assert upkeep_threads() == []

    asyncio.run(main(), debug=True)
    gc.collect()
    sink.wait(lambda: sink.open_connections == 0)


@pytest.mark.threads_only
def test_an_event_loop_ends_during_an_attempt() -> None:
    async def main() -> None:
        mailer = AsyncMailer(host="127.0.0.1", port=listener.getsockname()[1], min_idle=1)
        await mailer.warm_up()
        await asyncio.sleep(0.1)
        assert mailer.stats().pool.opening == 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        asyncio.run(main(), debug=True)
        assert time.monotonic() - started < 5


@pytest.mark.threads_only
def test_an_async_mailer_that_is_garbage_ends_its_rounds(sink: Sink) -> None:
    async def main() -> None:
        mailer = AsyncMailer(sink.url, min_idle=1)
        assert await mailer.warm_up(10) == 1
        del mailer
        gc.collect()
        await asyncio.sleep(0.5)
        assert len(asyncio.all_tasks()) == 1
        assert sink.open_connections == 0

    asyncio.run(main(), debug=True)


@pytest.mark.threads_only
def test_the_next_event_loop_has_its_own_upkeep(sink: Sink) -> None:
    mailer = AsyncMailer(sink.url, min_idle=1)

    async def use() -> int:
        ready = await mailer.warm_up(10)
        await asyncio.sleep(0.4)
        return ready

    assert [asyncio.run(use()) for _ in range(3)] == [1, 1, 1]
    assert sink.connections == 3
    assert mailer.stats().pool.checked >= 1


@pytest.mark.threads_only
def test_a_loop_that_lives_for_one_message_opens_no_second_connection(sink: Sink, message) -> None:
    mailer = AsyncMailer(sink.url, min_idle=1)
    for _ in range(3):
        asyncio.run(mailer.send_message(message()))
    assert sink.connections == 3


@pytest.mark.threads_only
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_hook_that_ends_the_thread_another_one_is_started() -> None:
    events: list[Event] = []

    def exit_once(event: Event) -> None:
        events.append(event)
        if len(events) == 1:
            sys.exit()

    with Sink() as sink, BlockingMailer(sink.url, min_idle=1, on_event=exit_once) as mailer:
        mailer.warm_up()
        until(lambda: len(events) == 1 and not upkeep_threads())
        mailer.warm_up()
        until(lambda: len(upkeep_threads()) == 1)
