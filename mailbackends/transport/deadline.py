"""How long a wait may take: a phase's own limit, and what is left for the whole message."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["Deadline", "Timeouts"]

# poll() counts milliseconds in 32 bits: a wait of more than 24 days is beyond it.
_LONGEST = 1_000_000.0


@dataclass(slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds; None never comes."""

    at: float | None
    phase: str

    @classmethod
    def after(cls, seconds: float | None, phase: str, *, latest: float | None = None) -> Deadline:
        """``seconds`` from now, and not later than ``latest`` on the clock."""
        at = None if seconds is None else time.monotonic() + seconds
        if latest is not None and (at is None or latest < at):
            return cls(latest, f"{phase} (the deadline for the whole message)")
        return cls(at, phase)

    def remaining(self) -> float | None:
        """The seconds left, 0 or less where it has passed; None where there is no limit."""
        return None if self.at is None else min(self.at - time.monotonic(), _LONGEST)

    def exceeded(self) -> str:
        """The text for the error: what took too long."""
        return f"timed out: {self.phase}"


@dataclass(slots=True)
class Timeouts:
    """Seconds for each kind of wait; None waits for ever. RFC 5321 section 4.5.3.2.

    ``latest`` is the point on the monotonic clock at which everything ends: another one for
    each message.
    """

    connect: float | None = 30.0
    command: float | None = 30.0
    content: float | None = 120.0
    latest: float | None = None

    def for_connect(self) -> Deadline:
        """For name resolution, the TCP connection and the TLS handshake."""
        return Deadline.after(self.connect, "connecting", latest=self.latest)

    def for_handshake(self) -> Deadline:
        """For the TLS handshake."""
        return Deadline.after(self.connect, "the TLS handshake", latest=self.latest)

    def for_login(self) -> Deadline:
        """For this side's own part of a login: a token, or the derivation of a key."""
        return Deadline.after(self.connect, "preparing the login", latest=self.latest)

    def for_reply(self) -> Deadline:
        """For the reply to a command, however slowly its bytes arrive."""
        return Deadline.after(self.command, "waiting for a reply", latest=self.latest)

    def for_content_reply(self) -> Deadline:
        """For the reply to the content."""
        return Deadline.after(
            self.content, "waiting for the reply to the content", latest=self.latest
        )

    def for_writing(self) -> Deadline:
        """For the server to take more bytes."""
        return Deadline.after(
            self.command, "waiting for the server to take more", latest=self.latest
        )
