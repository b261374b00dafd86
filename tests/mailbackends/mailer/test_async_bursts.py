"""Many coroutines send at once: all are served, in the order in which they came."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import tracemalloc
from typing import Any

import pytest

from mailbackends import AsyncMailer, PoolTimeout, Receipt
from mailbackends.mailer.connection import Connection
from support.sink import Sink


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first recipient of each message, in the order in which they got a connection."""
    seen: list[str] = []
    deliver = Connection.deliver

    async def noting(self: Connection, job: Any, recipients: Any, *args: Any, **more: Any) -> Any:
        seen.append(recipients[0])
        return await deliver(self, job, recipients, *args, **more)

    monkeypatch.setattr(Connection, "deliver", noting)
    return seen


def addresses(count: int) -> list[str]:
    return [f"user{number}@example.com" for number in range(count)]


async def open_four(mailer: AsyncMailer) -> None:
    """Later, while a connection is opened, others would overtake whoever waits for it."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await (await stack.enter_async_context(mailer.hold())).open()


def test_a_thousand_are_served_in_the_order_in_which_they_came(message, served) -> None:
    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=4, max_messages_per_connection=5000) as mailer:
            await open_four(mailer)
            before = set(threading.enumerate())
            results = await asyncio.gather(*map(mailer.send_message, map(message, addresses(1000))))
            assert all(isinstance(each, Receipt) for each in results)
            assert not set(threading.enumerate()) - before
            assert mailer.stats().pool.in_use == 0

    with Sink() as sink:
        asyncio.run(main())
    assert sink.connections == 4
    assert served == addresses(1000)


def test_bursts_leave_no_memory_behind(message) -> None:
    async def main() -> list[int]:
        async with AsyncMailer(sink.url, pool_size=4, max_messages_per_connection=5000) as mailer:
            used = []
            for _ in range(4):
                await asyncio.gather(*(mailer.send_message(message()) for _ in range(100)))
                sink.messages.clear()
                for peer in sink._threads.peers:
                    peer.received.clear()
                    peer.sent.clear()
                for flights in sink.flights:
                    flights.clear()
                for commands in sink.commands:
                    commands.clear()
                gc.collect()
                used.append(tracemalloc.get_traced_memory()[0])
            return used

    tracemalloc.start()
    try:
        with Sink() as sink:
            used = asyncio.run(main())
    finally:
        tracemalloc.stop()
    # A single message that is not let go is about 3 KB, and there were 300 after the first burst.
    assert used[-1] - used[0] < 100_000


def test_those_who_came_too_late_for_a_slow_server_get_the_numbers_and_cost_no_thread(
    message, served
) -> None:
    """As 200 views at once with ``pool_size=4`` and a second for each, fifty times as fast."""

    async def main() -> list[Any]:
        async with AsyncMailer(sink.url, pool_size=4, pool_timeout=0.6) as mailer:
            await open_four(mailer)
            before = set(threading.enumerate())
            sending = [
                asyncio.create_task(mailer.send_message(message(address)))
                for address in addresses(200)
            ]
            await asyncio.sleep(0.1)
            assert mailer.stats().pool.waiters > 100
            assert not set(threading.enumerate()) - before
            return await asyncio.gather(*sending, return_exceptions=True)

    with Sink(quiet=0.02) as sink:
        results = asyncio.run(main())
    accepted = [number for number, each in enumerate(results) if isinstance(each, Receipt)]
    late = [each for each in results if isinstance(each, PoolTimeout)]
    assert len(accepted) + len(late) == 200
    assert 4 < len(accepted) < 200
    order = [addresses(200).index(address) for address in served]
    assert order == sorted(order)  # whoever came first was served first
    assert order == accepted
    assert all("pool_size 4" in str(each) and "pool_timeout is 0.6 s" in str(each) for each in late)
