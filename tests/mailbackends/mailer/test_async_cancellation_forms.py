"""Callers of `AsyncMailer` leave at random points, in each way: the outcomes agree with the server.

``MAILBACKENDS_CANCELLATIONS`` sets how many callers leave in each test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from mailbackends import AsyncMailer, Outcome, Receipt
from mailbackends.events import Event, MessageFailed, MessageSent
from support import loops
from support.sink import Sink

pytestmark = pytest.mark.usefixtures("_kind_of_loop")

ROUNDS = int(os.environ.get("MAILBACKENDS_CANCELLATIONS", "40"))
BATCH = 12

Leave = Callable[[Awaitable[None], random.Random], Awaitable[None]]


async def _by_cancel(sending: Awaitable[None], dice: random.Random) -> None:
    task = asyncio.ensure_future(sending)
    await _a_moment(dice)
    task.cancel()
    if dice.random() < 0.3:
        await asyncio.sleep(0)
        task.cancel()  # impatient
    await asyncio.wait([task])


async def _by_timeout(sending: Awaitable[None], dice: random.Random) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(dice.random() * 0.02):
            await sending


async def _by_task_group(sending: Awaitable[None], dice: random.Random) -> None:
    async def fail() -> None:
        await _a_moment(dice)
        raise LookupError

    async def send() -> None:
        await sending

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            group.create_task(fail())


async def _a_moment(dice: random.Random) -> None:
    for _ in range(dice.randrange(30)):
        await asyncio.sleep(0)
    if dice.random() < 0.5:
        await asyncio.sleep(dice.random() * 0.02)


LEAVE: dict[str, Leave] = {
    "task.cancel": _by_cancel,
    "asyncio.timeout": _by_timeout,
    "TaskGroup": _by_task_group,
}
CALLS = [
    ("send_message", {}),
    *(
        (call, options)
        for call in ("send_messages", "stream_messages")
        for options in ({}, {"batch_connections": 3}, {"batch_pipeline": 4})
    ),
]


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize(("call", "options"), CALLS, ids=str)
def test_each_message_of_a_caller_that_leaves_has_the_outcome_that_the_server_counts(
    message: Callable[..., EmailMessage], call: str, options: dict[str, int], leave: str
) -> None:
    dice = random.Random(f"{call} {options} {leave}")
    found: dict[str, Receipt | BaseException] = {}
    events: list[Event] = []

    async def one(mailer: AsyncMailer, number: int) -> None:
        taken: list[str] = []
        results: list[Any] = []

        def messages() -> Iterator[EmailMessage]:
            for each in range(1 if call == "send_message" else BATCH):
                taken.append(f"{number}-{each}@example.com")
                yield message(taken[-1])

        async def send() -> None:
            try:
                if call == "send_message":
                    results.append(await mailer.send_message(next(messages())))
                elif call == "send_messages":
                    results.extend(await mailer.send_messages(messages()))
                else:
                    stream = mailer.stream_messages(messages())
                    async with contextlib.aclosing(stream):
                        async for outcome in stream:
                            results.append(outcome)
            except asyncio.CancelledError as error:
                results.extend(getattr(error, "results", ()))
                raise

        await LEAVE[leave](send(), dice)
        ends = [
            await result if isinstance(result, asyncio.Future) else result for result in results
        ]
        # The one taken last may not have been begun, where the task was cancelled in between.
        assert len(taken) - 1 <= len(ends) <= len(taken)
        found.update(zip(taken, ends, strict=False))

    async def main() -> None:
        async with AsyncMailer(sink.url, pool_size=6, on_event=events.append, **options) as mailer:
            for start in range(0, ROUNDS, 4):
                await asyncio.gather(*(one(mailer, start + n) for n in range(4)))
        pool = mailer.stats().pool
        assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    with Sink() as sink:
        loops.run(main())
    delivered = Counter(to for received in sink.messages for to in received.rcpt_tos)
    for address, result in found.items():
        outcome = getattr(result, "outcome", None)
        assert outcome in (Outcome.ACCEPTED, Outcome.NOT_SENT), (address, result)
        assert delivered.pop(address, 0) == (outcome is Outcome.ACCEPTED), (address, result)
    assert not delivered
    assert sum(isinstance(event, MessageSent) for event in events) == len(sink.messages)
    failed = {event.outcome for event in events if isinstance(event, MessageFailed)}
    assert failed <= {Outcome.NOT_SENT}
