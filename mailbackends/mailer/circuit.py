"""Whether a server is worth trying first: decisions only, the time is passed in.

::

              `failures` faults in a row                 `pause` is over
    CLOSED ------------------------------> OPEN -----------------------------> HALF_OPEN
      ^                                     ^  one message is let through as a probe |
      |                                     |                                        |
      |                                     +--------------- fault ------------------+
      +------------------------------------------------------ success ---------------+

While a probe is under way no other message is let through, unless it takes longer than
another ``pause``: its sender may be gone (a thread of the parent process, for example).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Circuit", "CircuitState"]


class CircuitState(StrEnum):
    """Whether messages go to a server first."""

    CLOSED = "closed"
    """It works, as far as is known: messages go there."""
    OPEN = "open"
    """It failed several times in a row: messages go to the others."""
    HALF_OPEN = "half_open"
    """It failed, some time ago: one message is tried there."""


class Circuit:
    """The circuit of one server. Not thread-safe. Times are seconds of one clock."""

    def __init__(self, failures: int, pause: float) -> None:
        self._limit = failures
        self._pause = pause
        self._faults = 0
        self._next_probe = 0.0
        self.state: CircuitState = CircuitState.CLOSED

    @property
    def is_untroubled(self) -> bool:
        """True if there was no fault since the last success. May be asked without a lock."""
        return self._faults == 0 and self.state is CircuitState.CLOSED

    def admits(self, now: float) -> bool:
        """True if a message may go there first.

        Call it only for a message that is then sent there: it may be the probe.
        """
        if self.state is CircuitState.CLOSED:
            return True
        if now < self._next_probe:
            return False
        self.state = CircuitState.HALF_OPEN
        self._next_probe = now + self._pause
        return True

    def succeeded(self) -> None:
        """Note a success: the server gets messages again."""
        self._faults = 0
        self.state = CircuitState.CLOSED

    def failed(self, now: float) -> None:
        """Note a fault: the server could not serve a message."""
        self._faults += 1
        is_new = self.state is CircuitState.CLOSED and self._faults >= self._limit
        if is_new or self.state is CircuitState.HALF_OPEN:
            self.state = CircuitState.OPEN
            self._next_probe = now + self._pause
