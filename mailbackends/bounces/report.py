"""`BounceReport`: what a report of a mail server says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mailbackends.texts import fields_as_dict

__all__ = ["Action", "BounceReport", "BouncedRecipient", "Kind"]

Kind = Literal["delivery_status", "complaint", "unstructured", "none"]
"""The format: RFC 3464, RFC 5965, free text that flufl.bounce knows, or no report at all."""

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded", "complained"]
"""What became of a recipient (RFC 3464 section 2.3.3), or that it complained (RFC 5965)."""


@dataclass(frozen=True, slots=True)
class BouncedRecipient:
    """One recipient in a report."""

    address: str
    """The address as the message was sent to, where the report names that."""
    action: Action
    status: str | None = None
    """The enhanced status code (RFC 3463), such as ``"5.1.1"``."""
    diagnostic: str | None = None
    """What the last server answered, in at most 1,000 characters."""
    remote_mta: str | None = None
    """The server that answered it."""

    @property
    def is_permanent(self) -> bool:
        """True if sending again would fail again: action failed with status 5.x.x, or none."""
        return self.action == "failed" and (self.status or "5").startswith("5")

    @property
    def is_bad_address(self) -> bool:
        """True if the address itself does not exist: a failure with status 5.1.x (RFC 3463).

        5.1.7 and 5.1.8 are about the sender's address.
        """
        status = self.status or ""
        is_about_sender = status in ("5.1.7", "5.1.8")
        return self.is_permanent and status.startswith("5.1.") and not is_about_sender

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return fields_as_dict(self)


@dataclass(frozen=True, slots=True)
class BounceReport:
    """A report, or ``kind="none"`` for a message that is none. Nothing in it is authenticated.

    Anybody can send a report about any address: act on those whose ``reference`` is set.
    """

    kind: Kind
    recipients: tuple[BouncedRecipient, ...] = ()
    message_id: str | None = None
    """The Message-ID of the message that was sent, if the report contains its header."""
    envelope_id: str | None = None
    """The ENVID that the message was sent with (RFC 3461)."""
    reporting_mta: str | None = None
    feedback_type: str | None = None
    """Of a complaint: ``abuse``, ``fraud`` and others (RFC 5965 section 7.3)."""
    reference: str | None = None
    """What the message was marked with, if its signed token came back: see `BounceTokens`."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The addresses that failed for good."""
        return tuple(each.address for each in self.recipients if each.is_permanent)

    def as_dict(self) -> dict[str, Any]:
        """The report in JSON's types."""
        return fields_as_dict(self)
