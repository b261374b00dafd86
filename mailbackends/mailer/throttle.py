"""The wait until a message may go, for the threads of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from mailbackends.errors import RateLimited
from mailbackends.mailer.rate import Rate, Windows
from mailbackends.pool.process import ProcessLock

__all__ = ["LocalThrottle", "Throttle", "too_many"]


class Throttle(Protocol):
    """Holds messages back. Thread-safe."""

    def wait(self, latest: float | None) -> None:
        """Return when a message may go; it counts from now on.

        Raises:
            RateLimited: that would be later than ``latest`` on the monotonic clock. It is
                raised at once, and the message does not count.
        """


class LocalThrottle:
    """For the threads of one process, which go in the order in which they came."""

    def __init__(
        self, rates: Sequence[Rate], text: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``text`` is the rate as the user wrote it."""
        self._windows = Windows(rates)
        self._text = text
        self._clock = clock
        self._lock = ProcessLock()

    def wait(self, latest: float | None) -> None:
        """See `Throttle.wait`."""
        if (seconds := self.reserve(latest)) > 0:
            time.sleep(seconds)

    def reserve(self, latest: float | None) -> float:
        """Seconds until the next message may go, which then counts; see `wait`."""
        with self._lock.here:
            # Asked for under the lock, so that it never goes back.
            now = self._clock()
            at, is_promised = self._windows.reserve(now, latest)
        if not is_promised:
            raise too_many(self._text, at - now)
        return at - now


def too_many(text: str, seconds: float) -> RateLimited:
    """The error for a message that could go only in so many seconds."""
    error = RateLimited(
        f"the rate of {text} is used up, and the deadline is too short to wait: "
        f"the next message may go in {seconds:.1f} s"
    )
    error.retry_after = max(0.0, seconds)
    return error
