"""The hook before_end: until it returns, no server can have the message."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from mailbackends import (
    AsyncMailer,
    BeforeEndError,
    Mailer,
    Outcome,
    Receipt,
    Submission,
)
from support.sink import EXTENSIONS, Sink

LOCK_STEP = ("SIZE 33554432", "8BITMIME")
DATA = ("PIPELINING", *LOCK_STEP)
TO = "ada@example.org"


def message(subject: str = "one", size: int = 0) -> EmailMessage:
    made = EmailMessage()
    made["From"] = "shop@example.com"
    made["To"] = TO
    made["Subject"] = subject
    made.set_content("The end comes last.\n" + ("y" * 70 + "\n") * (size // 71))
    return made


class Hook:
    """Notes what the server had received at each call, and may raise."""

    def __init__(self, sink: Sink, *failures: BaseException | None) -> None:
        self.sink = sink
        self.failures = list(failures)
        self.calls: list[list[Any]] = []
        self.received: list[bytes] = []
        self.delivered: list[int] = []

    def __call__(self, submissions: list[Submission]) -> None:
        self.calls.append([each.reference for each in submissions])
        self.delivered.append(len(self.sink.messages))
        self.received.append(self.sink.received(len(self.sink.flights) - 1))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


@pytest.fixture(params=["lock-step", "DATA", "BDAT", "LMTP"])
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    extensions = {"lock-step": LOCK_STEP, "DATA": DATA}.get(request.param, EXTENSIONS)
    with Sink(extensions=extensions, lmtp=request.param == "LMTP") as sink:
        yield sink


def url(sink: Sink) -> str:
    return f"{'lmtp' if sink.lmtp else 'smtp'}://127.0.0.1:{sink.port}"


def test_it_is_called_before_the_end_on_each_way_to_send(sink: Sink) -> None:
    hook = Hook(sink)
    with Mailer(url(sink)) as mailer:
        # The second goes in one flight where BDAT has worked.
        for number in (1, 2):
            mailer.send_message(message(f"number {number}"), before_end=hook)
            assert hook.delivered == list(range(number))
            assert (
                b"The end comes last" not in hook.received[-1].partition(b"number %d" % number)[2]
            )
    assert len(sink.messages) == 2
    assert sink.violations == []


def test_if_it_raises_nothing_was_sent_and_the_connection_is_dropped(sink: Sink) -> None:
    with Mailer(url(sink)) as mailer:
        mailer.send_message(message("first"))
        error = OSError("the database is gone")
        hook = Hook(sink, error, error)
        with pytest.raises(BeforeEndError, match="OSError: the database is gone") as caught:
            mailer.send_message(message("second"), before_end=hook)
        assert caught.value.outcome is Outcome.NOT_SENT
        assert caught.value.is_transient
        assert caught.value.__cause__ is error
        assert len(hook.calls) == 1  # neither another connection nor another way is tried
        assert mailer.stats().pool.open == 0
        mailer.send_message(message("third"), before_end=Hook(sink))
    assert [m.message["Subject"] for m in sink.messages] == ["first", "third"]
    assert b"Subject: second" not in b"".join(m.content for m in sink.messages)


@pytest.mark.parametrize("extensions", [LOCK_STEP, DATA, EXTENSIONS])
def test_a_large_content_may_leave_up_to_its_end(extensions: tuple[str, ...]) -> None:
    with Sink(extensions=extensions) as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        hook = Hook(sink)

        def before_end(submissions: list[Submission]) -> None:
            # The upload is not among what may have been delivered.
            sink.wait(lambda: len(sink.received()) > 200_000)
            hook(submissions)

        mailer.send_message(message(size=600_000), before_end=before_end)
        assert hook.delivered == [0]


def test_messages_in_one_flight_share_one_call() -> None:
    with (
        Sink() as sink,
        Mailer(f"smtp://127.0.0.1:{sink.port}", batch_pipeline=5) as mailer,
    ):
        mailer.send_message(message("to prove BDAT"))
        hook = Hook(sink)
        outcomes = mailer.send_messages(
            Submission(message(str(n)), before_end=hook, reference=n) for n in range(10)
        )
        assert all(isinstance(each, Receipt) for each in outcomes)
        assert sorted(functools.reduce(operator.iadd, hook.calls, [])) == list(range(10))
        assert hook.delivered[0] == 1
        assert len(hook.calls) <= 4
        assert max(map(len, hook.calls)) == 5


def test_if_it_raises_for_a_flight_the_others_are_tried_again_by_themselves() -> None:
    with (
        Sink() as sink,
        Mailer(f"smtp://127.0.0.1:{sink.port}", batch_pipeline=3) as mailer,
    ):
        mailer.send_message(message("to prove BDAT"))
        hook = Hook(sink, None, OSError("the lease of one was lost"))
        submissions = [Submission(message(str(n)), before_end=hook, reference=n) for n in range(6)]
        outcomes = mailer.send_messages(submissions)
        failed = [n for n, each in enumerate(outcomes) if isinstance(each, BeforeEndError)]
        assert len(failed) == 1
        assert not any(getattr(each, "outcome", None) is Outcome.UNKNOWN for each in outcomes)
        subjects = [m.message["Subject"] for m in sink.messages[1:]]
        assert subjects == [str(n) for n in range(6) if n not in failed]


def test_it_is_called_again_where_data_follows_a_refused_bdat() -> None:
    with Sink() as sink, Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
        mailer.send_message(message("to prove BDAT"))
        sink.refuse_content("500 5.5.2 what is BDAT?", times=1)
        hook = Hook(sink)
        mailer.send_message(message("second"), before_end=hook)
        assert len(hook.calls) == 2
        assert hook.delivered == [1, 1]
    assert len(sink.messages) == 2


def test_it_is_called_again_at_the_next_server_and_not_where_the_end_was_never_near() -> None:
    with Sink() as first, Sink() as second:
        first.refuse_content("451 4.3.0 later")
        hook = Hook(first)
        with Mailer([f"smtp://127.0.0.1:{s.port}" for s in (first, second)]) as mailer:
            mailer.send_message(message(), before_end=hook)
            assert len(hook.calls) == 2
            first.refuse_sender("shop@example.com", "451 4.3.0 later")
            hook = Hook(second)
            mailer.send_message(message(), before_end=hook)
        assert len(hook.calls) == 1
        assert len(second.messages) == 2


def test_it_is_not_called_for_what_is_refused_before_its_content(sink: Sink) -> None:
    hook = Hook(sink)
    with Mailer(url(sink), chunking=False) as mailer:
        sink.refuse(TO, "550 5.1.1 no such user")
        with pytest.raises(Exception, match="no such user"):
            mailer.send_message(message(), before_end=hook)
    assert hook.calls == []


def test_in_an_event_loop_it_may_be_a_coroutine_function(sink: Sink) -> None:
    hook = Hook(sink)

    async def before_end(submissions: list[Submission]) -> None:
        await asyncio.sleep(0)
        hook(submissions)

    async def main() -> None:
        async with AsyncMailer(url(sink)) as mailer:
            await mailer.send_message(message(), before_end=before_end)
            hook.failures = [OSError("gone")]
            with pytest.raises(BeforeEndError):
                await mailer.send_message(message("second"), before_end=before_end)
            await mailer.send_message(message("third"), before_end=before_end)

    asyncio.run(main())
    assert [m.message["Subject"] for m in sink.messages] == ["one", "third"]


def test_a_task_cancelled_while_it_runs_has_not_sent_the_message(sink: Sink) -> None:
    async def main() -> None:
        async with AsyncMailer(url(sink)) as mailer:
            reached = asyncio.Event()

            async def before_end(_: list[Submission]) -> None:
                reached.set()
                await asyncio.sleep(60)

            task = asyncio.create_task(mailer.send_message(message(), before_end=before_end))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.outcome is Outcome.NOT_SENT  # type: ignore[attr-defined]

    asyncio.run(main())
    assert sink.messages == []


@pytest.mark.threads_only
def test_an_interruption_goes_through_as_it_is(sink: Sink) -> None:
    with Mailer(url(sink)) as mailer, pytest.raises(KeyboardInterrupt):
        mailer.send_message(message(), before_end=Hook(sink, KeyboardInterrupt()))
    assert sink.messages == []
