"""A batch that ends early: stopped, closed, failed, interrupted, or collected as garbage."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, NoReturn

import pytest

from mailbackends import Mailer, Outcome, Receipt
from mailbackends import Submission as Envelope
from mailbackends.errors import PoolClosed
from mailbackends.mailer.in_flight import InFlightTransactions
from mailbackends.pool.ledger import Lease, Ledger
from mailbackends.transport.driver import Driver
from mailbackends.transport.stream import Stream
from mailbackends.transport.waiting import Deadline
from support.outcomes import outcomes
from support.scripted import Peer, ScriptedServer
from support.sink import Sink

each_length = pytest.mark.parametrize("in_flight", [1, 4])


def stop(results: Iterator[Receipt | Exception]) -> None:
    """As leaving a loop over the results does."""
    results.close()  # type: ignore[attr-defined]


# Stopped


def test_stopping_early_finishes_started_messages_and_sends_no_more(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        results = mailer.stream_messages(message(subject=f"no. {n}") for n in range(100))
        for _ in range(3):
            assert isinstance(next(results), Receipt)
        stop(results)
        stats = mailer.stats()
        assert stats.messages == {Outcome.ACCEPTED: len(sink.messages)}
        assert 3 < len(sink.messages) <= 3 + 4
        assert (stats.pool.idle, stats.pool.in_use) == (1, 0)


def test_each_message_begun_before_a_batch_is_stopped_may_take_the_whole_deadline(
    message, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Semaphore(3)  # a result is final after the next reply

    def answer_when_allowed(peer: Peer) -> None:
        peer.send(b"220 x\r\n")
        peer.read_line()
        peer.send(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        while True:
            replies = b""
            while not (line := peer.read_line()).startswith(b"BDAT"):
                replies += b"250 ok\r\n"
            peer.read_exactly(int(line.split()[1]))
            may_answer.acquire()
            # In one write: the client waits once for each message.
            peer.send(replies + b"250 taken\r\n")

    with ScriptedServer(answer_when_allowed) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        with Mailer(url, batch_pipeline=4, deadline=60) as mailer:
            results = mailer.stream_messages(message() for _ in range(20))
            assert outcomes([next(results), next(results)]) == [Outcome.ACCEPTED] * 2
            wait = Stream.wait
            now = time.monotonic() + 3600.0  # the caller did something else for an hour
            left: list[float | None] = []

            async def wait_for_an_answer(self: Stream, deadline: Deadline, **more: Any) -> None:
                nonlocal now
                left.append(deadline.remaining())
                may_answer.release()
                await wait(self, deadline, **more)
                now += 25

            with monkeypatch.context() as patch:
                # The clock goes on with each message only, whatever the machine is doing.
                patch.setattr(time, "monotonic", lambda: now)
                patch.setattr(Stream, "wait", wait_for_an_answer)
                try:
                    stop(results)
                finally:
                    may_answer.release(3)  # the server ends, whatever the client did
            assert left == [pytest.approx(60.0)] * 2
            assert mailer.stats().messages == {Outcome.ACCEPTED: 5}


def test_a_stopped_batch_sends_nothing_over_a_new_connection(message) -> None:
    """Not even a message that was begun and refused with 421, which could be sent again."""

    def refuse_all_but_two(peer: Peer) -> None:
        peer.send(b"220 x\r\n")
        peer.read_line()
        peer.send(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        for number in range(5):
            replies = b""
            while not (line := peer.read_line()).startswith(b"BDAT"):
                replies += b"250 ok\r\n"
            peer.read_exactly(int(line.split()[1]))
            if number < 2:
                peer.send(replies + b"250 taken\r\n")
        peer.send(b"421 4.7.0 Too many messages\r\n")

    with ScriptedServer(refuse_all_but_two) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        with Mailer(url, batch_pipeline=4) as mailer:
            results = mailer.stream_messages(message() for _ in range(20))
            assert outcomes([next(results), next(results)]) == [Outcome.ACCEPTED] * 2
            stop(results)
            stats = mailer.stats()
            assert stats.messages == {Outcome.ACCEPTED: 2, Outcome.NOT_SENT: 3}
            assert (stats.pool.in_use, stats.pool.opening) == (0, 0)
        assert server.connections == 1


def test_a_stopped_batch_sends_no_second_part_over_the_connection_it_gave_back(message) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4, pool_size=1) as mailer:
        sink.refuse("b@example.com", "452 4.5.3 Too many recipients", times=1)
        given = [message(), message(), message("a@example.com", "b@example.com")]
        results = mailer.stream_messages([*given, *(message() for _ in range(20))])
        assert outcomes([next(results), next(results)]) == [Outcome.ACCEPTED] * 2
        stop(results)
        pool = mailer.stats().pool
        assert (pool.in_use, pool.idle) == (0, 1)
    assert [received.rcpt_tos for received in sink.messages] == [
        *[("to@example.com",)] * 2,
        ("a@example.com",),
        *[("to@example.com",)] * 2,
    ]


# Closed


@each_length
def test_a_closed_mailer_sends_no_more(message, in_flight: int) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=in_flight) as mailer:
        results = mailer.stream_messages(message() for _ in range(20))
        assert outcomes([next(results), next(results)]) == [Outcome.ACCEPTED] * 2
        mailer.close()
        rest = list(results)
        begun = in_flight - 1  # and before them the two whose outcomes were taken
    assert [type(result) for result in rest] == [Receipt] * begun + [PoolClosed] * (18 - begun)
    assert len(sink.messages) == 2 + begun


# Failed


@each_length
def test_messages_sent_before_the_iterable_fails_are_reported(message, in_flight: int) -> None:
    def items() -> Iterator[EmailMessage]:
        for _ in range(6):
            yield message()
        raise LookupError("the database is gone")

    found: list[Receipt | Exception] = []
    with Sink() as sink, Mailer(sink.url, batch_pipeline=in_flight) as mailer:
        with pytest.raises(LookupError, match="the database is gone"):
            found.extend(mailer.stream_messages(items()))
        assert mailer.stats().pool.in_use == 0
    assert outcomes(found) == [Outcome.ACCEPTED] * 6
    assert len(sink.messages) == 6


@each_length
def test_what_a_message_raises_is_its_outcome_and_the_others_have_theirs(
    message, in_flight: int
) -> None:
    class Broken:
        def __iter__(self) -> NoReturn:
            raise LookupError("no recipients are available")

    given = [message(), message(), Envelope(message(), to_addrs=Broken()), message(), message()]
    with Sink() as sink, Mailer(sink.url, batch_pipeline=in_flight) as mailer:
        found = mailer.send_messages(given)
        assert mailer.stats().messages == {Outcome.ACCEPTED: 4, Outcome.NOT_SENT: 1}
        assert mailer.stats().pool.in_use == 0
    assert isinstance(found[2], LookupError)
    assert outcomes(found) == [*[Outcome.ACCEPTED] * 2, Outcome.NOT_SENT, *[Outcome.ACCEPTED] * 2]
    assert len(sink.messages) == 4


# Interrupted


@pytest.mark.threads_only  # it would interrupt the event loop itself
@pytest.mark.parametrize("number", [1, 2])
def test_an_interrupt_while_a_stopped_batch_is_finished_loses_no_place(
    message, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4, pool_size=1) as mailer:
        results = mailer.stream_messages(message() for _ in range(20))
        assert outcomes([next(results), next(results)]) == [Outcome.ACCEPTED] * 2
        finish, calls = InFlightTransactions._finish_oldest, itertools.count(1)

        async def interrupted(self: InFlightTransactions) -> None:
            if next(calls) == number:
                raise KeyboardInterrupt
            await finish(self)

        with monkeypatch.context() as patch:
            patch.setattr(InFlightTransactions, "_finish_oldest", interrupted)
            with pytest.raises(KeyboardInterrupt):
                stop(results)
        pool = mailer.stats().pool
        assert (pool.in_use, pool.idle) == (0, 0)  # something on it is left unanswered
        assert pool.retired == {"error": 1}
        assert outcomes([mailer.send_message(message())]) == [Outcome.ACCEPTED]


@pytest.mark.threads_only  # as above
def test_an_interrupt_while_messages_in_flight_are_finished_is_raised(
    message, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4, pool_size=1) as mailer:
        results = mailer.stream_messages(message() for _ in range(20))
        assert outcomes([next(results)]) == [Outcome.ACCEPTED]
        # The second is sent again, over another connection: the others are settled before.
        sink.answer("MAIL", "503 5.5.1 out of order")
        run, calls = Driver.run, itertools.count(1)

        async def interrupted(self: Driver, *args: Any, **options: Any) -> Any:
            if next(calls) == 2:
                self.session.close()
                raise KeyboardInterrupt
            return await run(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Driver, "run", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(results)
        pool = mailer.stats().pool
        assert (pool.in_use, pool.idle) == (0, 0)


# Forgotten


@pytest.mark.threads_only  # a loop finishes its generators itself
def test_a_batch_collected_while_its_thread_is_in_the_pool_returns_its_connection(
    message, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Ledger.request
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4, pool_size=3) as mailer:
        results = mailer.stream_messages(message() for _ in range(6))
        assert outcomes([next(results), next(results)]) == [Outcome.ACCEPTED] * 2
        forgotten: list[Any] = [results]
        forgotten.append(forgotten)

        def collecting(self: Ledger[Any], lease: Lease[Any]) -> None:
            gc.collect()  # as any call may; the pool's lock is held
            request(self, lease)

        monkeypatch.setattr(Ledger, "request", collecting)
        gc.disable()  # not before
        try:
            del results, forgotten
            thread = threading.Thread(target=mailer.send_message, args=(message(),), daemon=True)
            thread.start()
            thread.join(10)
        finally:
            gc.enable()
        assert not thread.is_alive(), "it waits for a lock that it holds"
        pool = mailer.stats().pool
        # It is idle by then, and the message goes over it.
        assert (pool.made, pool.in_use, pool.idle, pool.reused) == (1, 0, 1, 1)
    assert len(sink.messages) == 5 + 1
