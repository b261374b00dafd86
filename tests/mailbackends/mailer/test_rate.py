"""The rate: its notation, and when the next message may go."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends import ConfigurationError, Mailer, Options
from mailbackends.mailer.rate import Rate, Windows, parse_rates


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("100/minute", [Rate(100, 60)]),
        ("5/second", [Rate(5, 1)]),
        ("1000/hour", [Rate(1000, 3600)]),
        ("50000/Day", [Rate(50000, 86400)]),
        ("1 / 2 hours", [Rate(1, 7200)]),
        ("10 per 30 seconds", [Rate(10, 30)]),
        ("14/second; 50000/day", [Rate(14, 1), Rate(50000, 86400)]),
        ("2/second,3/minute|4/month", [Rate(2, 1), Rate(3, 60), Rate(4, 2592000)]),
    ],
)
def test_a_rate_is_read_as_it_is_written(text: str, rates: list[Rate]) -> None:
    assert list(parse_rates(text)) == rates


@pytest.mark.parametrize("text", ["100/minute", "1 per 2 hours", "3/5 seconds"])
def test_a_rate_means_what_the_library_limits_means_by_it(text: str) -> None:
    limits = pytest.importorskip("limits", reason="the library limits is not installed here")
    theirs = limits.parse(text)
    assert parse_rates(text) == (Rate(theirs.amount, theirs.get_expiry()),)


@pytest.mark.parametrize(
    "text",
    ["", "100", "/minute", "100/", "100/fortnight", "-1/minute", "0/minute", "1/0 minutes",
     "1.5/second", "5/second;", "10per minute", "9" * 20 + "/day"],
)  # fmt: skip
def test_an_invalid_rate_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ConfigurationError, match="rate"):
        Options(rate=text)


def test_the_rate_may_be_set_in_the_url() -> None:
    options = Options.from_url("smtp://one?rate=14/second;50000/day")
    assert options.rate == "14/second;50000/day"


def test_a_store_without_a_rate_is_refused_and_no_text_shows_its_password() -> None:
    with pytest.raises(ConfigurationError, match="rate_storage is given without rate"):
        Options(rate_storage="redis://:hunter2@localhost")
    options = Options(rate="1/second", rate_storage="redis://:hunter2@localhost")
    assert "hunter2" not in repr(options)
    with pytest.raises(ConfigurationError) as raised:
        Mailer(["smtp://one", options])
    assert "hunter2" not in str(raised.value)


def test_the_rate_applies_to_all_servers_together() -> None:
    with pytest.raises(ConfigurationError, match="rate differs between one:25 and two:25"):
        Mailer(["smtp://one?rate=1/second", "smtp://two"])
    Mailer(["smtp://one", "smtp://two"], rate="1/second").close()


def test_as_many_messages_as_the_rate_allows_go_at_once_and_the_next_after_the_window() -> None:
    windows = Windows([Rate(3, 60)])
    assert [windows.reserve(now) for now in (0.0, 10.0, 20.0)] == [
        (0.0, True),
        (10.0, True),
        (20.0, True),
    ]
    assert [windows.reserve(30.0)[0] for _ in range(4)] == [60.0, 70.0, 80.0, 120.0]


def test_after_a_pause_no_more_messages_go_than_before() -> None:
    windows = Windows([Rate(2, 60)])
    assert [windows.reserve(1000.0)[0] for _ in range(4)] == [1000.0, 1000.0, 1060.0, 1060.0]


def test_a_message_that_would_go_too_late_uses_up_no_place() -> None:
    windows = Windows([Rate(1, 60)])
    windows.reserve(0.0)
    assert windows.reserve(10.0, latest=59.0) == (60.0, False)
    assert windows.reserve(10.0, latest=60.0) == (60.0, True)


def test_with_a_free_place_the_deadline_does_not_matter() -> None:
    """The wait for a connection, which comes after it, notices that it is over."""
    assert Windows([Rate(1, 60)]).reserve(10.0, latest=9.0) == (10.0, True)


def test_several_rates_all_apply() -> None:
    windows = Windows([Rate(2, 1), Rate(3, 60)])
    assert [windows.reserve(0.0)[0] for _ in range(5)] == [0.0, 0.0, 1.0, 60.0, 60.0]


@given(
    st.lists(st.builds(Rate, st.integers(1, 5), st.integers(1, 20)), min_size=1, max_size=3),
    st.lists(st.tuples(st.floats(0, 15), st.none() | st.floats(0, 30)), max_size=60),
)
def test_within_any_window_there_are_never_more_than_the_rate_allows(
    rates: list[Rate], steps: list[tuple[float, float | None]]
) -> None:
    windows, now = Windows(rates), 0.0
    times: list[float] = []
    for pause, patience in steps:
        now += pause
        at, is_promised = windows.reserve(now, None if patience is None else now + patience)
        assert at >= now
        if is_promised:
            times.append(at)
    assert all(a <= b for a, b in itertools.pairwise(times))
    for rate in rates:
        for first, beyond in zip(times, times[rate.amount :], strict=False):
            assert beyond >= first + rate.seconds
