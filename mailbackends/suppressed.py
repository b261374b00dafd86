"""`Suppression`: why an address gets no mail, and the error where nobody is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from mailbackends.outcome import Outcome, SMTPException
from mailbackends.texts import fields_as_dict, one_line

__all__ = ["EVERYTHING", "Reason", "RecipientsSuppressed", "Suppression"]

EVERYTHING = "all"
"""The scope of an entry that is about all mail, whatever its stream."""


class Reason(StrEnum):
    """Why an address gets no mail. The values are stored."""

    UNSUBSCRIBED = "unsubscribed"
    """The recipient has asked for it."""
    COMPLAINT = "complaint"
    """The recipient has called a message spam."""
    HARD_BOUNCE = "hard_bounce"
    """A report said that mail to the address fails for good."""
    SOFT_BOUNCE = "soft_bounce"
    """Mail to the address has failed for now too often."""
    REFUSED = "refused"
    """Our server refused the address for good: it does not exist."""
    MANUAL = "manual"
    """Somebody has added it."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry of a suppression list."""

    address: str
    """As `mailbackends.suppression.comparable` writes it."""
    reason: Reason
    scope: str = EVERYTHING
    """The stream of mail concerned, such as ``"newsletter"``, or ``"all"``."""
    source: str = ""
    """Who or what has added it: a user, a file, ``"unsubscribe link"``."""
    detail: str = ""
    """More about it, such as the answer of the server that refused the address."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    """When it ends; None for never."""

    @classmethod
    def from_row(cls, row: Any) -> Suppression:
        """The entry of a row whose attributes are named as the fields.

        Raises:
            ValueError: it has a reason that this version does not know.
        """
        return cls(
            row.address,
            Reason(row.reason),
            row.scope,
            row.source,
            row.detail,
            row.created_at,
            row.expires_at,
        )

    def as_dict(self) -> dict[str, Any]:
        """The entry in JSON's types."""
        return fields_as_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Suppression:
        """The entry that `as_dict` has described."""
        moments = {
            name: None if values[name] is None else datetime.fromisoformat(values[name])
            for name in ("created_at", "expires_at")
        }
        return cls(**{**values, "reason": Reason(values["reason"]), **moments})

    def __str__(self) -> str:
        scope = "all mail" if self.scope == EVERYTHING else f"the stream {self.scope!r}"
        return f"{self.reason.value.replace('_', ' ')}, for {scope}"


class RecipientsSuppressed(SMTPException):
    """The suppression list has all recipients: nothing was sent, and nothing should be.

    ``suppressed`` maps each to its entry.
    """

    outcome: Outcome | None = Outcome.SUPPRESSED
    is_transient = False
    _own_fields = ("suppressed",)
    _always_concerns_a_message = True

    def __init__(self, suppressed: Mapping[str, Suppression | Mapping[str, Any]] | str) -> None:
        # Result backends of task queues keep the arguments as JSON, or a text only.
        given = {} if isinstance(suppressed, str) else suppressed
        self.suppressed: dict[str, Suppression] = {
            to: entry if isinstance(entry, Suppression) else Suppression.from_dict(entry)
            for to, entry in given.items()
        }
        shown = {to: entry.as_dict() for to, entry in self.suppressed.items()}
        self.args: tuple[Any, ...] = (suppressed if isinstance(suppressed, str) else shown,)

    def _what(self) -> str:
        if not self.suppressed:
            return one_line(str(self.args[0]))
        first = islice(self.suppressed.items(), 3)
        shown = [f"<{one_line(address)}> {one_line(str(entry))}" for address, entry in first]
        more = len(self.suppressed) - len(shown)
        tail = f"; and {more} more" if more else ""
        count = len(self.suppressed)
        people = "the recipient is" if count == 1 else f"all {count} recipients are"
        return f"{people} suppressed: {'; '.join(shown)}{tail}"
