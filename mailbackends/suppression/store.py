"""Suppression lists: what a Mailer asks, and what a list in a database can do besides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Protocol

from mailbackends.errors import ConfigurationError, SuppressionError
from mailbackends.suppressed import EVERYTHING, Reason, Suppression
from mailbackends.suppression.entries import Exempt, chosen, comparable, new_entry
from mailbackends.suppression.sources import SuppressionPolicy, soft_bounce_entry

__all__ = ["SuppressionList", "SuppressionLookup", "SuppressionStore"]

_AT_ONCE = 500
"""Addresses in one query: databases limit its parameters."""


class SuppressionList(Protocol):
    """What the option ``suppression`` of a Mailer takes. Thread-safe."""

    def suppressed(
        self, addresses: Collection[str], stream: str | None
    ) -> Mapping[str, Suppression]:
        """Those of the addresses, as they were given, that get no mail of the stream, and why.

        It is called once for each stream of a batch. If it raises, nothing is sent.
        """


class SuppressionStore(ABC):
    """A suppression list in a database: it asks, adds, removes and counts. Thread-safe.

    Subclasses run the statements.
    """

    def __init__(
        self, *, exempt: Exempt | None = None, policy: SuppressionPolicy | None = None
    ) -> None:
        self._exempt = exempt or Exempt()
        self._policy = policy or SuppressionPolicy()

    @property
    def exempt(self) -> Exempt:
        """The streams that reach people in spite of entries for all mail."""
        return self._exempt

    @property
    def policy(self) -> SuppressionPolicy:
        """What puts an address onto the list by itself."""
        return self._policy

    def suppressed(
        self, addresses: Collection[str], stream: str | None
    ) -> Mapping[str, Suppression]:
        """See `SuppressionList`. One query for up to 500 addresses."""
        given = {address: comparable(address) for address in addresses}
        wanted = list(dict.fromkeys(given.values()))
        scopes = [EVERYTHING] if stream in (None, EVERYTHING) else [EVERYTHING, str(stream)]
        entries: dict[str, list[Suppression]] = defaultdict(list)
        for start in range(0, len(wanted), _AT_ONCE):
            for entry in self._entries(wanted[start : start + _AT_ONCE], scopes):
                entries[entry.address].append(entry)
        if not entries:
            return {}
        now = datetime.now(UTC)
        found = {
            address: chosen(entries.get(key, ()), stream, self.exempt, now)
            for address, key in given.items()
        }
        return {address: entry for address, entry in found.items() if entry is not None}

    def check(self, address: str) -> list[Suppression]:
        """All entries of an address, those that have expired included."""
        return sorted(
            self._entries([comparable(address)], None), key=lambda each: (each.scope, each.reason)
        )

    def unsubscribe(self, address: str, stream: str, *, source: str = "unsubscribe link") -> None:
        """Note that the recipient has left a stream.

        Raises:
            InvalidAddressError, ConfigurationError: as `new_entry`.
        """
        self.add([new_entry(address, Reason.UNSUBSCRIBED, stream, source=source)])

    def note(self, entries: Iterable[Suppression]) -> list[Suppression]:
        """Add what the policy has found; count soft bounces. Returns what is on the list now."""
        added: list[Suppression] = []
        for entry in entries:
            if entry.reason is not Reason.SOFT_BOUNCE:
                added.append(entry)
                continue
            count = self._count_soft_bounce(entry.address, self.policy.soft_bounce_days)
            most = self.policy.soft_bounces
            if most is not None and count >= most:
                added.append(soft_bounce_entry(entry, self.policy, count))
        if added:
            self.add(added)
        return added

    @abstractmethod
    def add(self, entries: Iterable[Suppression]) -> int:
        """Store entries, in one transaction; returns how many there were.

        One with the address, scope and reason of another takes its place: the newer source,
        detail and end count, the older beginning stays.
        """

    @abstractmethod
    def remove(self, address: str, scope: str | None = None) -> int:
        """Delete the entries of an address: all, or those of one scope. Returns how many."""

    @abstractmethod
    def entries(self) -> Iterator[Suppression]:
        """All entries, in the order of the address, read a part at a time."""

    @abstractmethod
    def count(self) -> int:
        """The number of entries."""

    @abstractmethod
    def prune(self) -> int:
        """Delete the entries that have expired, and counts of bounces long ago; returns how many
        entries that were."""

    @abstractmethod
    def _entries(
        self, addresses: Collection[str], scopes: Collection[str] | None
    ) -> Iterable[Suppression]:
        """The entries of these addresses with these scopes, or with any, by one query."""

    @abstractmethod
    def _count_soft_bounce(self, address: str, days: float) -> int:
        """Count one more; returns how many there were since the first, which starts anew when it
        is more than so many days old."""


class SuppressionLookup:
    """The answers of a list for one batch: each address and stream is asked for once.

    Not thread-safe.
    """

    def __init__(self, listed: SuppressionList) -> None:
        self._list = listed
        self._answers: dict[str | None, dict[str, Suppression | None]] = defaultdict(dict)

    def prefetch(self, messages: Iterable[tuple[str | None, Iterable[str]]]) -> None:
        """Ask about the recipients of messages, given as pairs of a stream and addresses.

        One call of the list for each stream.

        Raises:
            SuppressionError: the list could not be asked.
        """
        wanted: dict[str | None, dict[str, None]] = defaultdict(dict)
        for stream, addresses in messages:
            wanted[stream].update(dict.fromkeys(addresses))
        for stream, asked in wanted.items():
            answers = self._answers[stream]
            if missing := [address for address in asked if address not in answers]:
                found = self._asked(missing, stream)
                answers.update({address: found.get(address) for address in missing})

    def suppressed(self, addresses: Iterable[str], stream: str | None) -> dict[str, Suppression]:
        """Those of the addresses that get no mail of the stream; the list is asked if needed.

        Raises:
            SuppressionError: the list could not be asked.
        """
        addresses = tuple(addresses)
        if not self.knows(addresses, stream):
            self.prefetch([(stream, addresses)])
        answers = self._answers[stream]
        found = {address: answers[address] for address in addresses}
        return {address: entry for address, entry in found.items() if entry is not None}

    def knows(self, addresses: Iterable[str], stream: str | None) -> bool:
        """True if `suppressed` needs not ask the list."""
        return self._answers[stream].keys() >= set(addresses)

    def _asked(self, addresses: list[str], stream: str | None) -> Mapping[str, Suppression]:
        try:
            return self._list.suppressed(addresses, stream)
        except Exception as error:
            raise unreadable(error) from error


def unreadable(error: Exception) -> SuppressionError:
    """The error for a list that could not be asked, without the text of a database's error, in
    which addresses may be; of a wrong setting with it."""
    if isinstance(error, ConfigurationError):
        return SuppressionError(
            f"the suppression list could not be asked, so nothing was sent: {error}"
        )
    return SuppressionError(
        f"the suppression list could not be asked ({type(error).__name__}), so nothing was sent"
    ).suggesting(
        "look at the cause of this error (has the table been created?), and send the message again"
    )
