"""The receipt: the result of a message that was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailbackends.errors import Outcome
from mailbackends.jsonable import jsonable
from mailbackends.reply import Reply

__all__ = ["Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A server took responsibility for a message, for at least one recipient.

    ``refused`` maps the other recipients to the reply that refused each: a receipt with
    any is a partial refusal.
    """

    accepted: tuple[str, ...]
    reply: Reply
    """The reply to the content. Most servers name their queue id in it."""
    refused: Mapping[str, Reply] = field(default_factory=dict)
    message_id: str | None = None
    """The message's own Message-ID field, to look for in logs."""
    duration: float = 0.0
    """Seconds from the call to the reply, the wait for a connection included."""

    @property
    def outcome(self) -> Outcome:
        """Always `Outcome.ACCEPTED`. See `outcomes` for each recipient."""
        return Outcome.ACCEPTED

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome for each recipient."""
        return {
            **dict.fromkeys(self.accepted, Outcome.ACCEPTED),
            **dict.fromkeys(self.refused, Outcome.REFUSED),
        }

    def as_dict(self) -> dict[str, Any]:
        """The receipt in JSON's types, to log it or to return it from a task.

        The keys are ``outcome``, ``accepted`` (a list of addresses), ``refused`` (addresses to
        replies), ``reply``, ``message_id`` and ``duration``; a reply is as `Reply.as_dict`.
        """
        return {
            "outcome": str(self.outcome),
            "accepted": list(self.accepted),
            "refused": jsonable(self.refused),
            "reply": self.reply.as_dict(),
            "message_id": self.message_id,
            "duration": self.duration,
        }

    # Celery's JSON serialiser asks for this one: a task may return the receipt itself.
    __json__ = as_dict

    def __str__(self) -> str:
        refused = "".join(f"; <{to}> refused: {reply}" for to, reply in self.refused.items())
        people = f"{len(self.accepted)} recipient{'s' if len(self.accepted) != 1 else ''}"
        identity = f"{self.message_id} " if self.message_id else ""
        return f"{identity}accepted for {people} in {self.duration:.3f} s: {self.reply}{refused}"
