"""A Mailer with a rate: which messages wait, for how long, and which are refused."""

from __future__ import annotations

import pickle
import threading
from email.message import EmailMessage
from unittest.mock import Mock

import pytest

from mailbackends import InvalidAddressError, Mailer, Outcome, RateLimited, Receipt
from mailbackends.events import Event, MessageFailed
from mailbackends.mailer import throttle
from mailbackends.mailer.rate import Rate
from mailbackends.mailer.throttle import LocalThrottle
from support.sink import Sink


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"] = "from@example.com"
    made["To"] = "to@example.com"
    made["Subject"] = "hello"
    made.set_content("Hello.\n")
    return made


class Clock:
    """A clock that a sleep advances, in place of the real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        monkeypatch.setattr(throttle, "time", Mock(sleep=self.sleep))

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_it_waits_exactly_as_long_as_necessary(clock: Clock) -> None:
    limit = LocalThrottle([Rate(2, 60)], "2/minute", clock)
    for _ in range(5):
        limit.wait(None)
    assert clock.slept == [60.0, 60.0]


def test_a_message_that_cannot_go_in_time_is_refused_at_once_with_the_time(clock: Clock) -> None:
    limit = LocalThrottle([Rate(1, 60)], "1/minute", clock)
    limit.wait(None)
    with pytest.raises(RateLimited) as raised:
        limit.wait(clock.now + 59.0)
    assert clock.slept == []
    error = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert error.outcome is Outcome.NOT_SENT
    assert error.is_transient
    assert error.retry_after == 60.0
    assert str(error) == (
        "the rate of 1/minute is used up, and the deadline is too short to wait: the next "
        "message may go in 60.0 s: the message was not sent"
    )
    limit.wait(clock.now + 60.0)
    assert clock.slept == [60.0]


def test_the_rate_is_shared_by_all_ways_and_threads_of_a_mailer() -> None:
    events: list[Event] = []
    with (
        Sink() as sink,
        Mailer(
            sink.url, rate="5/hour", deadline=5.0, batch_connections=2, on_event=events.append
        ) as m,
    ):
        results: list[Receipt | Exception] = [m.send_message(message())]
        with m.hold() as held:
            results.append(held.send_message(message()))
        results += m.stream_messages(message() for _ in range(3))

        def send() -> None:
            with pytest.raises(RateLimited):
                m.send_message(message())

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results += m.stream_messages([message()])
        assert m.stats().messages == {Outcome.ACCEPTED: 5, Outcome.NOT_SENT: 5}
    assert len(sink.messages) == 5
    assert [type(result) for result in results] == [Receipt] * 5 + [RateLimited]
    failures = [event for event in events if isinstance(event, MessageFailed)]
    assert {event.error_type for event in failures} == {"mailbackends.errors.RateLimited"}
    assert [event.recipients for event in failures] == [1] * 5


def test_a_message_that_no_server_can_get_does_not_count() -> None:
    with Sink() as sink, Mailer(sink.url, rate="1/hour") as mailer:
        with pytest.raises(InvalidAddressError):
            mailer.send_message(message(), to_addrs=["a\r\nb@example.com"])
        mailer.send_message(message())


def test_a_message_that_is_tried_at_several_servers_counts_once() -> None:
    with Sink() as one, Sink() as two:
        one.answer("CONNECT", "421 4.3.2 not now", times=None)
        with Mailer([one.url, two.url], rate="2/hour", deadline=5.0) as mailer:
            mailer.send_message(message())
            mailer.send_message(message())
            with pytest.raises(RateLimited):
                mailer.send_message(message())
    assert len(two.messages) == 2


def test_a_batch_waits_for_each_message_with_a_separate_deadline() -> None:
    with Sink() as sink, Mailer(sink.url, rate="4/second", deadline=1.5) as mailer:
        results = list(mailer.stream_messages(message() for _ in range(10)))
    assert [type(result) for result in results] == [Receipt] * 10
    assert len(sink.messages) == 10
