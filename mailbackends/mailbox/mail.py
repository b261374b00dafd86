"""What the mailbox knows of a message beside its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Arrival", "Mail", "Summary"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came, and what its sender was told."""

    sender: str = ""
    """The reverse-path; empty for the null sender."""
    accepted: tuple[str, ...] = ()
    """Recipients of the envelope that were accepted, Bcc among them."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Recipient -> the reply that refused it."""
    outcome: str = "accepted"
    """"accepted", "refused", or "unknown" where the connection was cut in place of a reply."""
    reply: str = ""
    """The reply to the content; empty where there was none."""
    duration: float = 0.0
    """Seconds from MAIL to the reply."""
    connection: int = 0
    """Which connection to the mailbox brought it, from 1."""
    user: str | None = None
    """The name that the sender logged in with. Any is taken."""
    options: tuple[str, ...] = ()
    """The parameters of MAIL, such as ``BODY=8BITMIME``."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Arrival:
        """The opposite of `as_dict`."""
        tuples = {name: tuple(values[name]) for name in ("accepted", "options")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True, slots=True)
class Summary:
    """A line in the list."""

    id: int
    received: float
    """Seconds since the epoch."""
    outcome: str
    subject: str
    author: str
    addressees: str
    excerpt: str
    attachments: int
    size: int
    """In bytes, as it came over the wire."""
    is_read: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message with all that is known of it."""

    summary: Summary
    arrival: Arrival
    content: bytes
