"""Rate limits: how many messages may be sent in a period, and when the next may. Decisions only."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from mailbackends.errors import ConfigurationError

__all__ = ["Rate", "Windows", "parse_rates"]

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 30 * 86400}
_RATE = re.compile(
    r"(?P<amount>\d{1,9}) *(?:/|(?<= )per ) *(?:(?P<count>\d{1,9}) *)?"
    r"(?P<unit>second|minute|hour|day|month)s?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``amount`` messages within any ``seconds``."""

    amount: int
    seconds: int


def parse_rates(text: str, *, name: str = "rate") -> tuple[Rate, ...]:
    """The rates in ``"100/minute"``, ``"10 per 30 seconds"`` or ``"14/second; 50000/day"``.

    A month is 30 days. The notation is that of the library `limits`. ``name`` is the setting's.

    Raises:
        ConfigurationError: it is something else.
    """
    return tuple(_parsed(part.strip(), text, name) for part in re.split("[;,|]", text))


def _parsed(part: str, text: str, name: str) -> Rate:
    match = _RATE.fullmatch(part)
    if match is None:
        raise ConfigurationError(
            f"{name} must be a number of messages, a slash and second, minute, hour, day or month, "
            f"as in '100/minute' or '14/second; 50000/day', got {text!r}"
        )
    rate = Rate(int(match["amount"]), int(match["count"] or 1) * _SECONDS[match["unit"].lower()])
    if not rate.amount or not rate.seconds:
        raise ConfigurationError(
            f"{name} must allow at least one message, got {text!r}: leave it out for no limit"
        )
    return rate


class Windows:
    """The times of the last messages, and so of the next one. Not thread-safe.

    For each rate the last ``amount`` times are stored, eight bytes each: the next message may be
    sent when the oldest of them is outside the window. So within any window, wherever it begins,
    there are at most ``amount``; a token bucket would let through twice as many after a rest.
    """

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._windows = [_Window(rate) for rate in rates]

    def reserve(self, now: float, latest: float | None = None) -> tuple[float, bool]:
        """When the next message may go, at ``now`` the earliest, and whether it was reserved.

        It is not where the wait would be longer than until ``latest``. All are seconds of one
        clock; ``now`` never goes backwards. Messages go in the order of the calls.
        """
        at = max([now, *(window.next() for window in self._windows)])
        if latest is not None and at > max(now, latest):
            return at, False
        for window in self._windows:
            window.take(at)
        return at, True


class _Window:
    """A ring of the last times, also of those reserved in the future, in ascending order."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._times = array("d")
        self._oldest = 0

    def next(self) -> float:
        if len(self._times) < self._rate.amount:
            return float("-inf")
        return self._times[self._oldest] + self._rate.seconds

    def take(self, at: float) -> None:
        if len(self._times) < self._rate.amount:
            self._times.append(at)
        else:
            self._times[self._oldest] = at
            self._oldest = (self._oldest + 1) % self._rate.amount
