"""What puts an address onto the list: reports, refusals and a provider's events, by a policy.

Pure functions, without database or network.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from mailbackends.bounces.report import BouncedRecipient, BounceReport
from mailbackends.errors import ConfigurationError
from mailbackends.reply import Reply
from mailbackends.suppressed import EVERYTHING, Reason, Suppression
from mailbackends.suppression.entries import comparable, new_entry

__all__ = [
    "SuppressionPolicy",
    "from_event",
    "from_replies",
    "from_report",
    "is_bad_address",
    "recipient_reference",
    "soft_bounce_entry",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPolicy:
    """What puts an address onto the list by itself. Unsubscribing always does.

    Raises:
        ConfigurationError: a number is not usable.
    """

    refusals: bool = False
    """Addresses that our own server refuses with 5.1.1, 5.1.2, 5.1.3, 5.1.6 or 5.1.10."""
    hard_bounces: bool = True
    complaints: bool = True
    soft_bounces: int | None = 5
    """So many failures that may pass, within ``soft_bounce_days``; None for never."""
    soft_bounce_days: float = 30.0
    soft_bounce_expiry_days: float = 30.0
    """After that an address with too many soft bounces gets mail again."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "bool" and not isinstance(value, bool):
                raise ConfigurationError(f"{each.name} must be True or False, got {value!r}")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if each.type == "float" and not (is_number and 0 < value < 100_000):
                raise ConfigurationError(f"{each.name} must be a number above 0, got {value!r}")
        most = self.soft_bounces
        if most is not None and (type(most) is not int or most < 1):
            raise ConfigurationError(f"soft_bounces must be None, or 1 or more, got {most!r}")


# RFC 3463 section 3.2. 5.1.0 says nothing certain, 5.1.7 and 5.1.8 are about the sender.
_BAD_ADDRESS = frozenset({1, 2, 3, 6, 10})


def is_bad_address(reply: Reply) -> bool:
    """True if the recipient's address does not exist: 5yz with one of some 5.1.x codes."""
    status = reply.enhanced
    return (
        500 <= reply.code < 600
        and status is not None
        and (status.status_class, status.subject) == (5, 1)
        and status.detail in _BAD_ADDRESS
    )


def from_replies(
    refused: Mapping[str, Reply], policy: SuppressionPolicy, *, source: str = "refusal"
) -> list[Suppression]:
    """The entries that refusals by our own server mean, by the policy."""
    if not policy.refusals:
        return []
    return [
        new_entry(address, Reason.REFUSED, source=source, detail=str(reply))
        for address, reply in refused.items()
        if is_bad_address(reply)
    ]


def recipient_reference(address: str) -> str:
    """A reference for `mailbackends.bounces.BounceTokens` that names one recipient.

    A report with this reference is about nobody else, whatever addresses it contains: so a
    stranger who got a message cannot have others suppressed.
    """
    digest = hashlib.sha256(b"mailbackends.recipient:" + comparable(address).encode()).digest()
    return f"r{b32encode(digest).decode('ascii')[:24].lower()}"


def from_report(
    report: BounceReport,
    policy: SuppressionPolicy,
    recipients: Collection[str] = (),
    *,
    source: str = "",
) -> list[Suppression]:
    """The entries that a report means, by the policy; none for a report that is not ours.

    ``recipients`` are those of the message that its reference names, as far as the caller knows
    them. Otherwise the reference has to be the `recipient_reference` of the address. A failure
    that may pass is an entry with the reason ``soft_bounce``, for `SuppressionStore.note` to
    count.
    """
    if report.reference is None:
        return []
    known = {comparable(each) for each in recipients}
    found: list[Suppression] = []
    for each in report.recipients:
        address = comparable(each.address)
        if address not in known and recipient_reference(address) != report.reference:
            continue
        if (reason := _reason_of(each, policy)) is not None:
            detail = " ".join(filter(None, (each.status, each.diagnostic, report.feedback_type)))
            found.append(new_entry(address, reason, source=source or report.kind, detail=detail))
    return found


def _reason_of(recipient: BouncedRecipient, policy: SuppressionPolicy) -> Reason | None:
    if recipient.action == "complained":
        return Reason.COMPLAINT if policy.complaints else None
    if recipient.action != "failed":
        return None  # A delayed message may still arrive, or fail with another report.
    if recipient.is_permanent and not _may_pass(recipient.status):
        return Reason.HARD_BOUNCE if policy.hard_bounces else None
    return Reason.SOFT_BOUNCE if policy.soft_bounces is not None else None


def _may_pass(status: str | None) -> bool:
    """True for a failure that says nothing about the address for good (RFC 3463).

    5.0.x: no reason is given; 5.2.2: the mailbox is full; X.3 and X.4: systems and networks; X.5:
    the protocol; X.6 and X.7: this message's content, or a policy against its sender.
    """
    if status is None:
        return False
    _, subject, detail = (int(each) for each in status.split("."))
    return subject not in (1, 2) or (subject, detail) in ((2, 2), (2, 3), (1, 7), (1, 8))


# django-anymail's names, which are the same for all providers.
_OF_EVENTS = {
    "bounced": Reason.HARD_BOUNCE,
    "complained": Reason.COMPLAINT,
    "unsubscribed": Reason.UNSUBSCRIBED,
}
_OF_REJECTIONS = {
    "invalid": Reason.HARD_BOUNCE,
    "bounced": Reason.HARD_BOUNCE,
    "spam": Reason.COMPLAINT,
    "unsubscribed": Reason.UNSUBSCRIBED,
}
_SOFT = frozenset({"timed_out", "blocked", "spam", "other"})


def from_event(
    event_type: str,
    address: str,
    policy: SuppressionPolicy,
    *,
    reject_reason: str | None = None,
    stream: str | None = None,
    source: str = "",
    detail: str = "",
) -> Suppression | None:
    """The entry that an event of a provider means, by the names of django-anymail, or None.

    ``rejected`` is what the provider did not even try, because its own list has the address.
    """
    reason = _OF_EVENTS.get(event_type)
    if event_type == "rejected":
        reason = _OF_REJECTIONS.get(reject_reason or "")
    elif event_type == "bounced" and reject_reason in _SOFT:
        reason = Reason.SOFT_BOUNCE
    is_wanted = {
        Reason.HARD_BOUNCE: policy.hard_bounces,
        Reason.COMPLAINT: policy.complaints,
        Reason.SOFT_BOUNCE: policy.soft_bounces is not None,
        Reason.UNSUBSCRIBED: True,
    }
    if reason is None or not is_wanted[reason]:
        return None
    scope = stream if stream and reason is Reason.UNSUBSCRIBED else EVERYTHING
    return new_entry(address, reason, scope, source=source, detail=detail)


def soft_bounce_entry(entry: Suppression, policy: SuppressionPolicy, count: int) -> Suppression:
    """The entry for an address that has failed ``count`` times."""
    return new_entry(
        entry.address,
        Reason.SOFT_BOUNCE,
        source=entry.source,
        detail=f"{count} failures; the last: {entry.detail}",
        expires_at=datetime.now(UTC) + timedelta(days=policy.soft_bounce_expiry_days),
    )
