"""A caller of `AsyncMailer` leaves: the message's outcome agrees with the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from typing import Any, NoReturn

import pytest

from mailbackends import (
    AsyncMailer,
    Mailer,
    Outcome,
    Receipt,
    SMTPDeliveryUnknown,
    SMTPException,
    Submission,
)
from mailbackends.events import Event, MessageFailed, MessageSent
from support import loops
from support.outcomes import outcomes
from support.sink import EXTENSIONS, Sink

pytestmark = pytest.mark.usefixtures("_kind_of_loop")

ROUNDS = int(os.environ.get("MAILBACKENDS_CANCELLATIONS", "500"))
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")


@contextlib.contextmanager
def stalling(verb: str):
    with Sink(extensions=PIPELINED) as sink:
        sink.stall(verb)
        yield sink


async def _leave(mailer: AsyncMailer, message) -> asyncio.CancelledError:
    sending = asyncio.create_task(mailer.send_message(message()))
    await asyncio.sleep(0.1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await sending
    return caught.value


def test_before_the_end_of_the_content_nothing_is_sent_and_the_connection_is_dropped(
    message,
) -> None:
    events: list[Event] = []

    async def main() -> None:
        async with AsyncMailer(sink.url, on_event=events.append) as mailer:
            error = await _leave(mailer, message)
            assert error.outcome is Outcome.NOT_SENT  # type: ignore[attr-defined]
            stats = mailer.stats()
            assert (stats.pool.in_use, stats.pool.idle) == (0, 0)
            assert stats.messages == {Outcome.NOT_SENT: 1}
            [result] = error.results  # type: ignore[attr-defined]
            assert result.result() is error

    with stalling("MAIL") as sink:
        loops.run(main())
    assert sink.messages == []
    [failed] = [event for event in events if isinstance(event, MessageFailed)]
    assert failed.outcome is Outcome.NOT_SENT


def test_after_the_end_the_reply_is_awaited_in_the_background(message) -> None:
    events: list[Event] = []

    async def main() -> None:
        async with AsyncMailer(sink.url, on_event=events.append, content_timeout=0.3) as mailer:
            error = await _leave(mailer, message)
            assert error.outcome is Outcome.UNKNOWN  # type: ignore[attr-defined]
            assert mailer.stats().messages == {}
            [result] = error.results  # type: ignore[attr-defined]
            assert not result.done()
        # `close` waits for it.
        assert isinstance(result.result(), SMTPDeliveryUnknown)
        assert mailer.stats().messages == {Outcome.UNKNOWN: 1}

    with stalling("content") as sink:
        loops.run(main())
    [failed] = [event for event in events if isinstance(event, MessageFailed)]
    assert failed.outcome is Outcome.UNKNOWN


def test_a_time_limit_around_a_send_leaves_the_pool_whole(message) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=1) as mailer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await mailer.send_message(message())
            assert (await mailer.send_message(message())).accepted

    with stalling("RCPT") as sink:
        loops.run(main())
    assert len(sink.messages) == 1


def test_a_caller_that_leaves_the_queue_takes_no_place_with_it(message) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=1, timeout=0.4, pipelining=False) as mailer:
            first = asyncio.create_task(mailer.send_message(message()))
            await asyncio.sleep(0.1)
            waiting = [asyncio.create_task(mailer.send_message(message())) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            waiting[0].cancel()
            results = await asyncio.gather(first, *waiting, return_exceptions=True)
            assert isinstance(results[0], SMTPException)
            assert isinstance(results[1], asyncio.CancelledError)
            assert all(isinstance(result, Receipt) for result in results[2:])

    with stalling("MAIL") as sink:
        loops.run(main())


def test_the_caller_that_left_can_ask_for_the_receipt(message) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            await mailer.open()
            error = await _leave(mailer, message)
            assert error.outcome is Outcome.UNKNOWN  # type: ignore[attr-defined]
            [result] = error.results  # type: ignore[attr-defined]
            assert isinstance(await result, Receipt)

    with Sink(quiet=0.5) as sink:
        loops.run(main())


@pytest.mark.parametrize("options", [{}, {"batch_connections": 3}, {"batch_pipeline": 4}], ids=str)
@pytest.mark.parametrize("at", ["the server", "the caller"])
def test_each_message_that_a_cancelled_batch_had_taken_has_one_result(
    message, options: dict[str, int], at: str
) -> None:
    """Whether the task is cancelled while it waits for the server, or between."""
    dice = random.Random(3)

    async def one(mailer: AsyncMailer, batch: int) -> None:
        taken: list[str] = []
        yielded: list[Receipt | Exception] = []

        def messages():
            for number in range(30):
                taken.append(f"{batch}-{number}@example.com")
                yield message(taken[-1])

        async def consume() -> None:
            async with contextlib.aclosing(mailer.stream_messages(messages())) as stream:
                try:
                    async for outcome in stream:
                        yielded.append(outcome)
                        if at == "the caller" and len(yielded) == 5:
                            raise asyncio.CancelledError
                except asyncio.CancelledError as error:
                    if not hasattr(error, "results"):
                        await stream.athrow(error)
                    raise

        sending = asyncio.create_task(consume())
        if at == "the server":
            await asyncio.sleep(dice.random() * 0.05)
            sending.cancel()
        try:
            await sending
        except asyncio.CancelledError as error:
            yielded += [await result for result in getattr(error, "results", ())]
        # Without results, nothing was pending; the message taken last may not have been begun.
        assert len(yielded) <= len(taken) <= len(yielded) + 1
        for address, outcome in zip(taken, yielded, strict=False):
            found[address] = outcome

    async def main() -> None:
        async with AsyncMailer(sink.url, max_messages_per_connection=5000, **options) as mailer:
            for batch in range(10):
                await one(mailer, batch)
        assert mailer.stats().pool.in_use == 0

    found: dict[str, Receipt | BaseException] = {}
    with Sink() as sink:
        loops.run(main())
    delivered = Counter(to for received in sink.messages for to in received.rcpt_tos)
    for address, result in found.items():
        outcome = result.outcome  # type: ignore[union-attr]
        assert outcome in (Outcome.ACCEPTED, Outcome.NOT_SENT)
        assert delivered.pop(address, 0) == (outcome is Outcome.ACCEPTED), (address, outcome)
    assert not delivered


@pytest.mark.parametrize("at", ["MAIL", "CONNECT", "EHLO"])
def test_the_first_message_of_a_cancelled_pipelined_batch_is_not_sent(message, at: str) -> None:
    """It waits for a connection, or for the reply to its envelope."""

    async def main() -> None:
        async with AsyncMailer(sink.url, batch_pipeline=4) as mailer:
            sending = asyncio.create_task(mailer.send_messages([message(), message()]))
            await asyncio.to_thread(sink.wait, lambda: sink.open_connections == 1)
            await asyncio.sleep(0.1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            results = [await result for result in caught.value.results]  # type: ignore[attr-defined]
            assert [result.outcome for result in results] == [Outcome.NOT_SENT] * 2
            pool = mailer.stats().pool
            assert (pool.in_use, pool.opening, pool.idle) == (0, 0, 0)
        await asyncio.to_thread(sink.wait, lambda: sink.open_connections == 0)

    with stalling(at) as sink:
        loops.run(main())
    assert sink.messages == []


def test_messages_in_flight_of_a_cancelled_batch_are_finished_if_the_end_of_the_first_was_sent(
    message,
) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, batch_pipeline=4) as mailer:
            await mailer.send_message(message())  # so that BDAT has worked
            given = [message(f"{number}@example.com") for number in range(9)]
            sending = asyncio.create_task(mailer.send_messages(given))
            await asyncio.to_thread(sink.wait, lambda: len(sink.messages) >= 2)
            await asyncio.sleep(0.1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            results = [await result for result in caught.value.results]  # type: ignore[attr-defined]
        accepted = [isinstance(result, Receipt) for result in results]
        assert accepted == [
            *[True] * (len(sink.messages) - 1),
            *[False] * (10 - len(sink.messages)),
        ]
        assert 0 < sum(accepted) < 9
        assert {result.outcome for result in results} == {Outcome.ACCEPTED, Outcome.NOT_SENT}

    with Sink(quiet=0.3) as sink:
        loops.run(main())


def test_a_refusal_that_came_with_the_cancellation_is_the_outcome(message) -> None:
    async def main(expected: Outcome) -> None:
        async with AsyncMailer(sink.url) as mailer:
            sending = asyncio.create_task(mailer.send_message(message()))
            await asyncio.sleep(0)
            inner: asyncio.Task[Receipt]
            [inner] = mailer._tasks
            # Called in the iteration in which the outcome is known, before its caller goes on.
            inner.add_done_callback(lambda _: sending.cancel())
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            error: Any = caught.value
            [result] = error.results
            assert error.outcome is expected
            assert result.result().outcome is expected
            assert mailer.stats().messages == {expected: 1}

    for answer, expected in (("550 5.7.1 No", Outcome.REFUSED), (None, Outcome.ACCEPTED)):
        with Sink() as sink:
            if answer:
                sink.answer("MAIL", answer)
            loops.run(main(expected))


def test_a_cancelled_list_of_messages_has_a_result_for_each(message) -> None:
    async def main(options: dict[str, int]) -> None:
        async with AsyncMailer(sink.url, **options) as mailer:
            given = [message(f"{number}@example.com") for number in range(30)]
            sending = asyncio.create_task(mailer.send_messages(given))
            await asyncio.to_thread(sink.wait, lambda: len(sink.messages) >= 7)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await sending
            results = [await result for result in caught.value.results]  # type: ignore[attr-defined]
            accepted = [result.outcome is Outcome.ACCEPTED for result in results]
        assert len(results) == 30
        sent = [f"{number}@example.com" for number, is_sent in enumerate(accepted) if is_sent]
        assert [to for received in sink.messages for to in received.rcpt_tos] == sent

    for options in ({}, {"batch_connections": 1, "batch_pipeline": 4}):
        with Sink() as sink:
            loops.run(main(options))


@pytest.mark.parametrize("options", [{}, {"batch_connections": 3}, {"batch_pipeline": 4}], ids=str)
def test_what_a_message_raises_is_its_outcome_and_the_others_have_theirs(message, options) -> None:
    class Broken:
        def __iter__(self) -> NoReturn:
            raise LookupError("no recipients are available")

    async def main() -> list[Receipt | Exception]:
        async with AsyncMailer(sink.url, **options) as mailer:
            broken = Submission(message(), to_addrs=Broken())
            found = await mailer.send_messages([message(), broken, *(message() for _ in range(9))])
            assert mailer.stats().messages == {Outcome.ACCEPTED: 10, Outcome.NOT_SENT: 1}
            return found

    with Sink() as sink:
        found = loops.run(main())
        with Mailer(sink.url, **options) as mailer:
            broken = Submission(message(), to_addrs=Broken())
            blocking = mailer.send_messages([message(), broken, *(message() for _ in range(9))])
    for each in (found, blocking):
        assert isinstance(each[1], LookupError)
        expected = [Outcome.ACCEPTED, Outcome.NOT_SENT, *[Outcome.ACCEPTED] * 9]
        assert outcomes(each) == expected
    assert len(sink.messages) == 20


@pytest.mark.parametrize("options", [{}, {"batch_connections": 3}, {"batch_pipeline": 4}], ids=str)
def test_a_batch_that_is_left_finishes_messages_that_it_began(
    message, options: dict[str, int]
) -> None:
    async def consume(mailer: AsyncMailer) -> None:
        async for _ in mailer.stream_messages(message() for _ in range(1000)):
            pass

    async def main() -> None:
        async with AsyncMailer(sink.url, max_messages_per_connection=5000, **options) as mailer:
            sending = asyncio.create_task(consume(mailer))
            await asyncio.to_thread(sink.wait, lambda: len(sink.messages) >= 5)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        stats = mailer.stats()
        assert stats.pool.in_use == 0
        assert stats.messages[Outcome.ACCEPTED] == len(sink.messages) < 1000
        assert Outcome.UNKNOWN not in stats.messages

    with Sink() as sink:
        loops.run(main())


@pytest.mark.parametrize("extensions", [EXTENSIONS, PIPELINED, ()], ids=["bdat", "group", "plain"])
def test_the_outcome_agrees_with_the_server_wherever_the_caller_leaves(message, extensions) -> None:
    dice = random.Random(7)
    found: dict[str, Outcome] = {}
    events: list[Event] = []

    async def one(mailer: AsyncMailer, number: int) -> None:
        address = f"user{number}@example.com"
        sending = asyncio.create_task(mailer.send_message(message(address)))
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.01)
        sending.cancel()
        try:
            await sending
        except asyncio.CancelledError as error:
            # Without an outcome, the task was cancelled before it called the Mailer.
            if (outcome := getattr(error, "outcome", None)) is not None:
                found[address] = outcome
        else:
            found[address] = Outcome.ACCEPTED

    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=4, on_event=events.append) as mailer:
            for start in range(0, ROUNDS, 8):
                await asyncio.gather(*(one(mailer, start + n) for n in range(8)))
        stats = mailer.stats()
        assert (stats.pool.in_use, stats.pool.opening, stats.pool.waiters) == (0, 0, 0)
        assert sum(stats.messages.values()) == len(found)

    with Sink(extensions=extensions) as sink:
        loops.run(main())
    delivered = Counter(to for received in sink.messages for to in received.rcpt_tos)
    for address, outcome in found.items():
        allowed = {Outcome.ACCEPTED: {1}, Outcome.NOT_SENT: {0}, Outcome.UNKNOWN: {0, 1}}
        assert delivered.pop(address, 0) in allowed[outcome], (address, outcome)
    assert not delivered
    # It was left at each point.
    assert {*found.values()} == {Outcome.ACCEPTED, Outcome.NOT_SENT, Outcome.UNKNOWN}
    # In the end nothing is unknown: the server was always reachable.
    ends = Counter(event.outcome for event in events if isinstance(event, MessageFailed))
    accepted = sum(isinstance(event, MessageSent) for event in events)
    assert accepted == len(sink.messages)
    assert ends[Outcome.UNKNOWN] == 0


@pytest.mark.parametrize("options", [{}, {"batch_pipeline": 4}], ids=str)
def test_a_message_whose_reply_is_awaited_as_the_loop_ends_has_an_outcome(message, options) -> None:
    events: list[Event] = []
    left: list[asyncio.CancelledError] = []

    async def send() -> None:
        try:
            await mailer.send_messages([message()])
        except asyncio.CancelledError as error:
            left.append(error)
            raise

    async def main() -> None:
        # A pooled connection: to wait for the reply is all that is left to do.
        await mailer.send_message(message())
        sink.stall("content")
        tasks.append(asyncio.create_task(send()))
        await asyncio.sleep(0.1)

    tasks: list[asyncio.Task[None]] = []
    with Sink() as sink:
        mailer = AsyncMailer(sink.url, on_event=events.append, **options)
        loops.run(main())
        outcome = left[0].results[0].result().outcome  # type: ignore[attr-defined]
        assert outcome is Outcome.UNKNOWN
        assert [e.outcome for e in events if isinstance(e, MessageFailed)] == [Outcome.UNKNOWN]
        assert mailer.stats().pool.in_use == 0
