"""What a server was seen to do without announcing it, remembered for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from mailbackends.protocol.chunking import Chunking

__all__ = ["ServerQuirks"]

# Seconds after which a server gets another chance: its administrator may have fixed it, and
# what looked like its fault may have been the network's.
_SECONDS = 600.0
# Seconds after which a message that is refused is again tried over a new connection.
_REFUSING_SECONDS = 60.0


class ServerQuirks:
    """Limits of a server. Each is forgotten after a while, but for a proof that BDAT works.

    Read and written by several threads without a lock: each value is replaced whole.
    """

    _first_chunking = Chunking.UNPROVED

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock_step_until = 0.0
        self._refuses_until = 0.0
        self._chunking = self._first_chunking, 0.0
        self._max_recipients: tuple[int | None, float] = (None, 0.0)
        self._max_messages: tuple[int | None, float] = (None, 0.0)

    @property
    def needs_lock_step(self) -> bool:
        """True if it announced PIPELINING and could not do it (RFC 2920)."""
        return bool(self._lock_step_until) and self._clock() < self._lock_step_until

    @property
    def chunking(self) -> Chunking:
        """Whether BDAT has worked with it, if it announces CHUNKING (RFC 3030)."""
        known, until = self._chunking
        return Chunking.UNPROVED if known is Chunking.OFF and self._clock() >= until else known

    @property
    def max_recipients(self) -> int | None:
        """The recipients it took for one message before it replied 452."""
        count, until = self._max_recipients
        return count if count is not None and self._clock() < until else None

    @property
    def max_messages(self) -> int | None:
        """The messages it took over one connection before it replied 421."""
        count, until = self._max_messages
        return count if count is not None and self._clock() < until else None

    @property
    def refuses_new_connections(self) -> bool:
        """True if it refuses senders over new connections just as over used ones."""
        return bool(self._refuses_until) and self._clock() < self._refuses_until

    def note_refuses_new_connections(self) -> None:
        """It refused a sender for now, over a connection that had carried no message."""
        self._refuses_until = self._clock() + _REFUSING_SECONDS

    def note_accepted(self) -> None:
        """It accepted a message."""
        if self._refuses_until:
            self._refuses_until = 0.0

    def note_lock_step(self) -> None:
        """It failed on commands that came in one write."""
        self._lock_step_until = self._clock() + _SECONDS

    def note_chunking(self, shown: Chunking | None) -> None:
        """It has shown this about BDAT; None: nothing."""
        if shown is not None:
            self._chunking = (shown, self._clock() + _SECONDS)

    def note_max_recipients(self, count: int) -> None:
        """It took so many recipients of one message."""
        self._max_recipients = (max(1, count), self._clock() + _SECONDS)

    def note_max_messages(self, count: int) -> None:
        """It took so many messages over one connection."""
        if count > 0:
            self._max_messages = (count, self._clock() + _SECONDS)
