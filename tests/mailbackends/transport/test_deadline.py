"""Deadlines: a limit for each phase, and one for all of them."""

import time

import pytest

from mailbackends.transport.waiting import Deadline, Timeouts


@pytest.fixture
def clock(monkeypatch):
    """A clock that stays at 1000 s until it is set."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


def test_the_remaining_time_decreases_until_the_deadline(clock):
    deadline = Deadline.after(30.0, "waiting")
    assert deadline.remaining() == 30.0
    clock.now += 31
    assert deadline.remaining() == -1.0
    assert deadline.exceeded() == "timed out: waiting"


def test_without_a_limit_there_is_no_deadline(clock):
    assert Deadline.after(None, "waiting").remaining() is None


@pytest.mark.parametrize("seconds", [None, 30.0])
def test_an_earlier_latest_point_takes_precedence_and_is_named(clock, seconds):
    deadline = Deadline.after(seconds, "waiting", latest=1010.0)
    assert deadline.remaining() == 10.0
    assert deadline.exceeded() == "timed out: waiting (the deadline for the whole message)"


def test_the_latest_point_does_not_lengthen_a_wait(clock):
    assert Deadline.after(5.0, "waiting", latest=1010.0).remaining() == 5.0


def test_no_wait_is_longer_than_poll_can_count(clock):
    for deadline in (Deadline.after(1e9, "waiting"), Deadline(1e12, "waiting")):
        assert deadline.remaining() * 1000 < 2**31


@pytest.mark.parametrize(
    ("method", "seconds", "phase"),
    [
        ("for_connect", 1.0, "connecting"),
        ("for_handshake", 1.0, "the TLS handshake"),
        ("for_reply", 2.0, "waiting for a reply"),
        ("for_writing", 2.0, "waiting for the server to take more"),
        ("for_content_reply", 3.0, "waiting for the reply to the content"),
    ],
)
def test_each_phase_has_its_limit_and_the_latest_point(clock, method, seconds, phase):
    deadline = getattr(Timeouts(connect=1.0, command=2.0, content=3.0), method)()
    assert (deadline.remaining(), deadline.phase) == (seconds, phase)
    timeouts = Timeouts(connect=1.0, command=2.0, content=3.0, latest=1000.5)
    assert getattr(timeouts, method)().remaining() == 0.5
