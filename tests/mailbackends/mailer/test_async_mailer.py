"""`AsyncMailer`: what `Mailer` does, awaited in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from email.message import EmailMessage
from typing import Any, TypeVar

import pytest

from mailbackends import (
    AsyncMailer,
    ConfigurationError,
    InvalidAddressError,
    Mailer,
    Outcome,
    PoolClosed,
    PoolTimeout,
    Receipt,
    SMTPAuthenticationError,
    SMTPConnectionError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPTimeoutError,
    Submission,
)
from mailbackends.events import Event, MessageSent
from support import certs, loops
from support.outcomes import outcomes
from support.sink import EXTENSIONS, Sink

pytestmark = pytest.mark.usefixtures("_kind_of_loop")

T = TypeVar("T")

CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")


def run(main: Coroutine[Any, Any, T]) -> T:
    """In asyncio's debug mode, which reports coroutines that were never awaited and calls that
    block.
    """
    return loops.run(main, debug=True)


# One message


def test_a_receipt_lists_the_recipients_that_were_accepted(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            receipt = await mailer.send_message(message("a@example.com", "b@example.com"))
            assert receipt.accepted == ("a@example.com", "b@example.com")
            assert mailer.stats().messages == {Outcome.ACCEPTED: 1}

    run(main())
    assert len(sink.messages) == 1


def test_a_second_message_takes_one_round_trip(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            await mailer.send_message(message())
            before = len(sink.flights[0])
            await mailer.send_message(message())
            assert len(sink.flights[0]) == before + 1

    run(main())
    assert sink.connections == 1


def test_bad_input_raises_what_the_blocking_mailer_raises(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            with pytest.raises(InvalidAddressError):
                await mailer.send_message(message(), to_addrs=["a\r\nb@example.com"])
        with pytest.raises(ConfigurationError, match="did you mean 'pool_size'"):
            AsyncMailer(sink.url, poolsize=3)

    run(main())
    assert sink.connections == 0


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
@pytest.mark.parametrize("extensions", [CHUNKED, PIPELINED, PLAIN], ids=["bdat", "group", "plain"])
def test_it_sends_to_a_server_with_tls_and_login(message, tls: Any, extensions: Any) -> None:
    login = ("shop", "secret")
    more = {} if tls == "none" else {"ssl_cafile": certs.cafile()}

    async def main() -> None:
        options = {"username": "shop", "password": "secret", **more}
        async with AsyncMailer(sink.url, **options) as mailer:
            results = await mailer.send_messages([message() for _ in range(3)])
            assert outcomes(results) == [Outcome.ACCEPTED] * 3

    with Sink(extensions=extensions, tls=tls, login=login, require_login=True) as sink:
        run(main())
    assert len(sink.messages) == 3
    assert sink.violations == []


def test_a_wrong_password_is_reported(message) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, username="shop", password="wrong") as mailer:
            with pytest.raises(SMTPAuthenticationError) as caught:
                await mailer.send_message(message())
            assert caught.value.outcome is Outcome.NOT_SENT

    with Sink(login=("shop", "secret")) as sink:
        run(main())


def test_an_unreachable_server_and_a_silent_one_are_reported(message, nobody: str, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(nobody) as mailer:
            with pytest.raises(SMTPConnectionError):
                await mailer.send_message(message())
        sink.stall("MAIL")
        async with AsyncMailer(sink.url, timeout=0.05, pipelining=False) as mailer:
            with pytest.raises(SMTPTimeoutError) as caught:
                await mailer.send_message(message())
            assert caught.value.outcome is Outcome.NOT_SENT
        sink.stall("content")
        async with AsyncMailer(sink.url, content_timeout=0.05, pipelining=False) as mailer:
            with pytest.raises(SMTPDeliveryUnknown):
                await mailer.send_message(message())

    run(main())


def test_a_message_goes_to_the_next_server(message, nobody: str, sink) -> None:
    async def main() -> None:
        async with AsyncMailer([nobody, sink.url]) as mailer:
            assert (await mailer.send_message(message())).accepted
            assert await mailer.open() is False

    run(main())


def test_a_large_message_is_sent_and_read_at_the_same_time(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            await mailer.send_message(message(text="x" * 70 + "\n" + "y" * 3_000_000))

    run(main())
    assert len(sink.messages) == 1


@pytest.mark.parametrize("tls", ["none", "tls"])
def test_the_loop_is_not_blocked_while_25_mb_are_sent(tls: Any) -> None:
    large = EmailMessage()
    large["From"], large["To"] = "from@example.com", "to@example.com"
    large.set_content("It is attached.")
    large.add_attachment(b"x" * 25_000_000, "application", "octet-stream", filename="x")

    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        more = {} if tls == "none" else {"ssl_cafile": certs.cafile()}
        async with AsyncMailer(sink.url, **more) as mailer:
            ticking = asyncio.create_task(tick())
            await mailer.send_message(large)
            ticking.cancel()
        return ticks

    with Sink(tls=tls, extensions=("PIPELINING", "CHUNKING")) as sink:
        assert loops.run(main()) > 34_000_000 // (512 * 1024)


# The same events as from the blocking Mailer


def _blocking(url: str, messages: list[Any], on_event: Callable[[Event], None]) -> list[Any]:
    with Mailer(url, on_event=on_event, pipelining=True) as mailer:
        return mailer.send_messages(messages)


def _awaited(url: str, messages: list[Any], on_event: Callable[[Event], None]) -> list[Any]:
    async def main() -> list[Any]:
        async with AsyncMailer(url, on_event=on_event, pipelining=True) as mailer:
            return await mailer.send_messages(messages)

    return run(main())


def _without_times(event: Event) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name in type(event).__dataclass_fields__}
    varying = {"duration", "idle", "age", "server_port"}
    return {"event": type(event), **{k: v for k, v in fields.items() if k not in varying}}


@pytest.mark.parametrize("extensions", [CHUNKED, PIPELINED, PLAIN], ids=["bdat", "group", "plain"])
@pytest.mark.parametrize(
    "script",
    [
        {},
        {"MAIL": "450 4.3.2 later"},
        {"RCPT refused@example.com": "550 5.1.1 no"},
        {"DATA": "451 4.3.0 no"},
        {"content": "554 5.7.1 no"},
        {"MAIL from@example.com": "421 4.7.0 closing"},
        {"EHLO": "502 5.5.1 no"},
    ],
    ids=lambda script: next(iter(script), "nothing"),
)
def test_both_mailers_give_the_same_events_bytes_and_outcomes(
    message, extensions: Any, script: dict[str, str]
) -> None:
    seen = []
    for send in (_blocking, _awaited):
        events: list[Event] = []
        with Sink(extensions=extensions) as sink:
            for key, reply in script.items():
                verb, _, argument = key.partition(" ")
                if argument and verb == "RCPT":
                    sink.refuse(argument, reply)
                else:
                    sink.answer(verb, reply)
            given = [message(), message("refused@example.com", "b@example.com"), message()]
            results = send(sink.url, given, events.append)
            sink.wait(lambda sink=sink: sink.open_connections == 0)
        received = [sink.received(number) for number in range(sink.connections)]
        seen.append(([*map(_without_times, events)], received, [str(r)[:20] for r in results]))
    blocking, awaited = seen
    assert awaited == blocking


# Many messages


def test_a_stream_takes_any_iterable_and_is_lazy(message, sink) -> None:
    taken: list[int] = []

    def endless() -> Iterator[EmailMessage]:
        while True:
            taken.append(1)
            yield message()

    async def endless_too() -> AsyncIterator[EmailMessage]:
        for each in endless():
            yield each

    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            for source in (endless(), endless_too()):
                async with contextlib.aclosing(mailer.stream_messages(source)) as results:
                    assert isinstance(await anext(results), Receipt)

    run(main())
    assert len(taken) == 2
    assert len(sink.messages) == 2


@pytest.mark.parametrize("options", [{}, {"batch_connections": 3}, {"batch_pipeline": 4}], ids=str)
def test_outcomes_come_in_order_and_before_the_iterables_exception(
    message, options: dict[str, int]
) -> None:
    def items() -> Iterator[Submission]:
        for number in range(9):
            address = f"user{number}@example.com" if number != 4 else "no\0body@example.com"
            yield Submission(message(), to_addrs=[address])
        raise LookupError("the database is gone")

    async def main() -> list[Any]:
        got: list[Any] = []
        async with AsyncMailer(sink.url, **options) as mailer:

            async def consume() -> None:
                async for outcome in mailer.stream_messages(items()):
                    got.append(outcome)

            with pytest.raises(LookupError, match="the database is gone"):
                await consume()
            assert mailer.stats().pool.in_use == 0
        return got

    with Sink() as sink:
        got = run(main())
    assert [type(one) for one in got] == [Receipt] * 4 + [InvalidAddressError] + [Receipt] * 4
    assert [r.accepted[0][4] for r in got if isinstance(r, Receipt)] == list("01235678")
    assert len(sink.messages) == 8


def test_a_pipelined_batch_needs_fewer_round_trips(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, batch_pipeline=8) as mailer:
            results = await mailer.send_messages([message() for _ in range(17)])
            assert outcomes(results) == [Outcome.ACCEPTED] * 17

    run(main())
    assert len(sink.flights[0]) <= 1 + 1 + 2 + 1  # EHLO, the first message, twice eight, QUIT


def test_send_messages_sends_nothing_if_the_iterable_raises(message, sink) -> None:
    async def broken() -> AsyncIterator[EmailMessage]:
        yield message()
        raise ZeroDivisionError

    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            with pytest.raises(ZeroDivisionError):
                await mailer.send_messages(broken())

    run(main())
    assert sink.messages == []


def test_a_pinned_connection_carries_one_message_after_the_other(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=2) as mailer, mailer.hold() as held:
            assert await held.open() is True
            await asyncio.gather(*(held.send_message(message()) for _ in range(5)))
            assert mailer.stats().pool.in_use == 1
            sink.answer("RCPT", "550 5.1.1 no")
            with pytest.raises(SMTPRecipientsRefused):
                await held.send_message(message())
        assert mailer.stats().pool.in_use == 0

    run(main())
    assert sink.connections == 1


# The pool


def test_a_burst_waits_in_the_queue_of_the_pool_without_a_thread(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=4) as mailer:
            before = set(threading.enumerate())
            sending = [asyncio.create_task(mailer.send_message(message())) for _ in range(200)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert mailer.stats().pool.waiters == 196
            started = set(threading.enumerate()) - before
            assert len(started) <= 8  # those of the server
            assert all(isinstance(each, Receipt) for each in await asyncio.gather(*sending))
            assert mailer.stats().pool.made == 4

    run(main())
    assert len(sink.messages) == 200


def test_the_error_for_a_caller_that_waited_too_long_names_the_numbers(message, sink) -> None:
    async def main() -> None:
        sink.stall("MAIL")
        async with AsyncMailer(sink.url, pool_size=1, pool_timeout=0.05, chunking=False) as mailer:
            first = asyncio.create_task(mailer.send_message(message()))
            await asyncio.sleep(0.01)
            with pytest.raises(PoolTimeout, match="1 in use and 0 being opened of pool_size 1"):
                await mailer.send_message(message())
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert mailer.stats().pool.in_use == 0

    run(main())


def test_after_close_nothing_is_sent_and_waiting_callers_get_pool_closed(message, sink) -> None:
    async def main() -> None:
        sink.stall("MAIL")
        mailer = AsyncMailer(sink.url, pool_size=1, timeout=0.2, pipelining=False)
        first = asyncio.create_task(mailer.send_message(message()))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(mailer.send_message(message()))
        await asyncio.sleep(0)
        await mailer.close()
        for task in (first, second):
            with pytest.raises(SMTPException):
                await task
        assert isinstance(second.exception(), PoolClosed)
        with pytest.raises(PoolClosed):
            await mailer.send_message(message())

    run(main())


def test_a_rate_is_awaited_without_blocking_the_loop(message, sink) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        async with AsyncMailer(sink.url, rate="2/1 second") as mailer:
            ticking = asyncio.create_task(tick())
            await mailer.send_messages([message() for _ in range(3)])
            ticking.cancel()
        assert ticks > 20

    run(main())


# Loops


def test_one_mailer_serves_one_loop_after_another(message, sink) -> None:
    mailer = AsyncMailer(sink.url)

    async def main() -> None:
        await mailer.send_message(message())

    for _ in range(3):
        run(main())
    assert len(sink.messages) == 3
    assert sink.connections == 3
    assert mailer.stats().pool.idle == 1
    run(mailer.close())


def test_a_second_loop_at_the_same_time_is_refused(message, sink) -> None:
    mailer = AsyncMailer(sink.url)
    errors: list[BaseException] = []

    async def elsewhere() -> None:
        await mailer.send_message(message())

    def other_thread() -> None:
        try:
            loops.run(elsewhere())
        except BaseException as error:
            errors.append(error)

    async def main() -> None:
        await mailer.send_message(message())
        thread = threading.Thread(target=other_thread)
        thread.start()
        await asyncio.to_thread(thread.join)
        await mailer.send_message(message())
        await mailer.close()

    run(main())
    [error] = errors
    assert isinstance(error, ConfigurationError)
    assert "another running event loop" in str(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_connections_of_its_parent_alone(message, sink) -> None:
    mailer = AsyncMailer(sink.url)

    async def send() -> None:
        await mailer.send_message(message())

    async def main() -> None:
        await send()
        pid = os.fork()
        if pid == 0:  # pragma: no cover - another process
            code = 1
            try:
                assert mailer.stats().pool.open == 0
                code = 0
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await send()
        await mailer.close()

    loops.run(main())
    assert sink.connections == 1
    assert len(sink.messages) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_sends_in_a_loop_although_one_of_its_parent_runs(message, sink) -> None:
    mailer = AsyncMailer(sink.url)
    has_sent, may_end = threading.Event(), threading.Event()

    async def send() -> None:
        await mailer.send_message(message())

    async def parent() -> None:
        await send()
        has_sent.set()
        await asyncio.to_thread(may_end.wait, 20)
        await send()
        await mailer.close()

    thread = threading.Thread(target=loops.run, args=(parent(),))
    thread.start()
    has_sent.wait(10)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        code = 1
        try:
            loops.run(send())
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    may_end.set()
    thread.join(20)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(sink.messages) == 3
    assert sink.connections == 2


def test_a_slow_resolver_does_not_block_the_loop(
    message, sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    getaddrinfo = socket.getaddrinfo
    may_answer = threading.Event()

    def slow(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host == "mail.test":
            if socket.AI_NUMERICHOST in more:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            may_answer.wait(10)
            host = "127.0.0.1"
        return getaddrinfo(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def main() -> None:
        async with AsyncMailer(f"smtp://mail.test:{sink.port}", local_hostname="c.x") as mailer:
            sending = asyncio.create_task(mailer.send_message(message()))
            for _ in range(5):
                await asyncio.sleep(0.01)
            assert not sending.done()
            may_answer.set()
            assert (await sending).accepted

    run(main())


def test_events_come_in_the_loops_own_thread(message, sink) -> None:
    threads: list[int] = []

    async def main() -> None:
        def note(event: Event) -> None:
            threads.append(threading.get_ident())
            assert isinstance(event, MessageSent) or event

        async with AsyncMailer(sink.url, on_event=note) as mailer:
            await mailer.send_message(message())

    run(main())
    assert set(threads) == {threading.get_ident()}


def test_an_idle_connection_that_the_server_closes_costs_the_loop_nothing(message, sink) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            await mailer.send_message(message())
            await asyncio.to_thread(sink.close_connections)
            before = time.process_time()
            await asyncio.sleep(0.2)
            assert time.process_time() - before < 0.1
            await mailer.send_message(message())
            assert mailer.stats().pool.retired == {"dead": 1}

    run(main())


def test_a_hook_for_a_part_may_have_a_time_limit(message) -> None:
    """`asyncio.timeout` cancels the task that began it, which must be the one that ends it."""
    ended: list[str] = []

    async def after_part(_: Submission, receipt: Receipt) -> None:
        try:
            async with asyncio.timeout(0.05):
                await asyncio.sleep(5)
        except TimeoutError:
            ended.extend(receipt.accepted)

    async def main() -> None:
        async with AsyncMailer(sink.url) as mailer:
            await mailer.send_message(message())  # so that the next one finds a connection
            to = [f"{n}@example.com" for n in range(3)]
            part = Submission(b"N: 1\r\n", "s@example.com", to, after_part=after_part)
            [receipt] = await mailer.send_messages([part])
            assert isinstance(receipt, Receipt)
            assert receipt.accepted == tuple(to)

    with Sink(extensions=("PIPELINING", "LIMITS RCPTMAX=2")) as sink:
        loops.run(main())
    assert ended == ["0@example.com", "1@example.com"]
