"""The values of a ledger: its limits and statistics, and the leases and connections in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from mailbackends.texts import fields_as_dict

__all__ = ["Entry", "Lease", "Limits", "PoolStats", "Stage"]

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be, and for how long. `math.inf` means no limit."""

    size: int
    max_messages_per_connection: float
    max_lifetime: float
    """Seconds since a connection was opened."""
    max_idle: float
    """Seconds since a connection was last used, or checked."""
    min_idle: int = 0
    """The number of idle connections that upkeep keeps ready; see `upkeep`."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of a pool. Totals count from its creation, or from the fork of its process."""

    open: int
    """Open connections: those idle and those in use."""
    idle: int
    in_use: int
    opening: int
    """Connections being opened; they take a place too."""
    waiters: int
    """Callers waiting for a connection."""
    made: int
    """Connections opened in all."""
    reused: int
    """How often an open connection was handed out again."""
    retired: dict[str, int]
    """Connections closed in all, by reason: ``"messages"``, ``"age"``, ``"idle"``, ``"renewed"``
    (by upkeep, before one of these limits), ``"dead"`` (the server had closed it before it was
    used again), ``"error"``, ``"refusals"`` (many in a row), ``"closed"`` (with the pool),
    ``"forked"`` (inherited from the parent, and dropped)."""
    opened_ahead: int = 0
    """Those of ``made`` that upkeep opened, before anybody asked for them."""
    checked: int = 0
    """How often upkeep asked a server whether an idle connection still works."""
    failed_ahead: int = 0
    """How often upkeep failed to open a connection."""

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return fields_as_dict(self)

    def __add__(self, other: PoolStats) -> PoolStats:
        """Two pools taken together."""
        numbers = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(PoolStats)
            if each.name != "retired"
        }
        return PoolStats(**numbers, retired=dict(Counter(self.retired) + Counter(other.retired)))


class Stage(Enum):
    """What a lease does with its place."""

    OPENING = auto()
    IN_USE = auto()
    CHECKING = auto()
    """Upkeep has an idle connection for a moment, and puts it back."""
    CLOSING = auto()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Entry(Generic[C]):
    """An open connection, with its age and use."""

    connection: C
    opened_at: float
    messages: int = 0
    idle_since: float = 0.0
    seen_at: float = 0.0
    """When the server last answered: to the login, a message or a check."""
    looked_at: float = 0.0
    """When upkeep last looked whether the server had closed it."""
    checks: int = 0
    """The checks since it was opened, or carried its last message."""


@dataclass(slots=True, eq=False)
class Lease(Generic[C]):
    """One caller's claim to a place, from the request until the place is free again.

    A new one is empty. Create it first, then let the pool fill it, so that its owner can release it
    wherever an exception occurs.
    """

    fresh: bool = False
    """True if only a new connection will do, never a used one."""
    is_reused: bool = False
    """True if the connection was used before: the server may have closed it unnoticed."""
    entry: Entry[C] | None = field(default=None, repr=False)
    """The connection in the place, as the pool knows it."""
    reason: str = field(default="", repr=False)
    """Why that connection is being closed."""
    wake: Callable[[], object] = field(default=lambda: None, repr=False)
    """Called once: when the lease gets its place, or when the ledger closes."""
    last: C | None = field(default=None, repr=False)
    gives_way: bool = field(default=False, repr=False)
    """True if upkeep has this lease, and should end it soon: somebody waits for its place."""

    @property
    def connection(self) -> C:
        """The connection; after the release, the one it had.

        Raises:
            RuntimeError: there was none.
        """
        if self.last is None:
            raise RuntimeError("the lease has no connection yet")
        return self.last
