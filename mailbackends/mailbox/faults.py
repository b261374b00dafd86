"""Faults on demand: errors that the mailbox's server produces for a developer."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["KINDS", "Fault", "Faults"]

KINDS = {
    "refuse": "Refuse the recipient",
    "reject": "Refuse the message after its content",
    "delay": "Delay the reply to the content",
    "drop": "Close the connection after the content, without a reply",
}
_REPLIES = {"refuse": "550 5.1.1 No such user here", "reject": "552 5.2.2 Mailbox full"}
# A negative reply that fits on one line (RFC 5321 section 4.5.3.1.5).
_REPLY = re.compile(r"[45][0-5][0-9] [ -~]{1,400}")
_LONGEST_DELAY = 300.0  # seconds
_MOST = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Raises:
        ValueError: a value is invalid. The page shows the text of the error.
    """

    kind: str
    recipient: str = "*"
    """The recipients concerned: an address, or a pattern with ``*`` and ``?``; case is ignored."""
    reply: str = ""
    """For "refuse" and "reject": a 4xx or 5xx reply."""
    seconds: float = 0.0
    """For "delay"."""
    times: int | None = None
    """How often it still happens; None for always."""
    id: int = 0
    count: int = 0
    """How often it has happened."""

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not isinstance(self.recipient, str) or not 0 < len(self.recipient) <= 320:
            raise ValueError("recipient must be an address or a pattern, such as *@example.com")
        if self.kind in _REPLIES:
            if not self.reply:
                object.__setattr__(self, "reply", _REPLIES[self.kind])
            if not isinstance(self.reply, str) or not _REPLY.fullmatch(self.reply):
                raise ValueError("reply must be one line, such as: 450 4.2.1 Try again later")
        if self.kind == "delay" and not 0 < self.seconds <= _LONGEST_DELAY:
            raise ValueError(f"seconds must be more than 0 and at most {_LONGEST_DELAY:.0f}")
        if self.times is not None and not 0 <= self.times <= 1_000_000:
            raise ValueError("times must be an integer from 1, or empty for always")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fault:
        """From JSON or a form, where every value may be text, or missing.

        Raises:
            ValueError: as for the class; also for a name that is unknown.
        """
        known = {"kind", "recipient", "reply", "seconds", "times"}
        if unknown := set(values) - known:
            raise ValueError(f"unknown field {min(unknown)!r}: use {', '.join(sorted(known))}")
        given = {name: value for name, value in values.items() if value not in ("", None)}
        try:
            seconds = float(given.get("seconds", 0))
            times = int(given["times"]) if "times" in given else None
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("seconds and times must be numbers") from error
        if times == 0:
            raise ValueError("times must be an integer from 1, or empty for always")
        return cls(
            given.get("kind", ""),
            given.get("recipient", "*"),
            given.get("reply", ""),
            seconds,
            times,
        )

    @property
    def is_spent(self) -> bool:
        """True if it will not happen again."""
        return self.times == 0

    def concerns(self, recipients: Iterable[str]) -> bool:
        """True if one of these matches ``recipient``."""
        pattern = self.recipient.casefold()
        return any(fnmatchcase(recipient.casefold(), pattern) for recipient in recipients)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Faults:
    """The faults that are set. Thread-safe."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._faults: dict[int, Fault] = {}
        self._last = 0
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> Fault:
        """Add a fault, and return it with its number.

        Raises:
            ValueError: there are 100 already.
        """
        with self._lock:
            if len(self._faults) >= _MOST:
                raise ValueError(f"there are {_MOST} faults already: remove some")
            self._last += 1
            fault = replace(fault, id=self._last, count=0)
            self._faults[fault.id] = fault
            return fault

    def all(self) -> list[Fault]:
        """All faults, including spent ones, oldest first."""
        with self._lock:
            return list(self._faults.values())

    def remove(self, number: int) -> bool:
        """Remove a fault; False if it does not exist."""
        with self._lock:
            return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def use(self, kind: str, recipients: Iterable[str]) -> Fault | None:
        """The first fault of this kind for one of the recipients, which is counted; or None."""
        recipients = list(recipients)
        with self._lock:
            for fault in self._faults.values():
                if fault.kind == kind and not fault.is_spent and fault.concerns(recipients):
                    left = None if fault.times is None else fault.times - 1
                    fault = replace(fault, count=fault.count + 1, times=left)
                    self._faults[fault.id] = fault
                    return fault
        return None
