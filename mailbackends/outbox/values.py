"""What stores and workers exchange: messages, recipients, changes, and the receipt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from mailbackends.errors import ConfigurationError
from mailbackends.outbox.state import RecipientState, State
from mailbackends.reply import Reply
from mailbackends.suppressed import Suppression
from mailbackends.texts import fields_as_dict

__all__ = [
    "BlobPart",
    "Change",
    "LogEntry",
    "OnUnknown",
    "OutboxMessage",
    "OutboxRecipient",
    "Pause",
    "Priority",
    "Queued",
    "RecipientChange",
    "Status",
]


class OnUnknown(StrEnum):
    """What to do if nobody knows whether a message was delivered."""

    HOLD = "hold"
    """Leave it for a person to decide."""
    RESEND = "resend"
    """Send it again: for login codes and the like, of which a copy does no harm."""
    ASK = "ask"
    """Ask for a delivery status notification (RFC 3461), with the row's id as ENVID; hold it
    until one comes."""

    @classmethod
    def of(cls, value: OnUnknown | str) -> OnUnknown:
        """The member for a member or its value.

        Raises:
            ConfigurationError: there is none.
        """
        try:
            return cls(value)
        except ValueError:
            names = ", ".join(repr(str(each)) for each in cls)
            raise ConfigurationError(f"on_unknown must be one of {names}, got {value!r}") from None


class Priority(IntEnum):
    """How urgent a message is. A waiting message overtakes higher ones in time."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    URGENT = 3

    @classmethod
    def of(cls, value: Priority | int | str) -> Priority:
        """The priority for a member, its number, or its name in any case.

        Raises:
            ConfigurationError: it is none of them.
        """
        try:
            return cls[value.upper()] if isinstance(value, str) else cls(value)
        except (KeyError, ValueError):
            names = ", ".join(repr(each.name.lower()) for each in cls)
            raise ConfigurationError(f"priority must be one of {names}, got {value!r}") from None


@dataclass(frozen=True, slots=True)
class BlobPart:
    """A part of a content that is stored in a blob, and belongs at ``offset``."""

    offset: int
    """How many bytes of the stored content come before it."""
    digest: str
    """The SHA-256 of the blob, in hexadecimal: its name in the blob store."""
    size: int
    """The bytes of the blob, before base64."""
    encoding: str = "base64"
    """``"base64"`` where the blob is sent as base64 lines, ``"7bit"`` where it is sent as it is."""

    def as_list(self) -> list[Any]:
        """For a JSON column: ``[offset, digest, size, encoding]``."""
        return [self.offset, self.digest, self.size, self.encoding]

    @classmethod
    def all_from(cls, stored: Iterable[Iterable[Any]] | None) -> tuple[BlobPart, ...]:
        """The parts in a JSON column, in order."""
        return tuple(cls(*each) for each in stored or ())


@dataclass(frozen=True, slots=True)
class OutboxRecipient:
    """One recipient's row."""

    address: str
    state: RecipientState = RecipientState.PENDING
    code: int | None = None
    """The reply code of the last reply about this recipient."""
    enhanced: str = ""
    """Its enhanced status code (RFC 3463), such as ``"5.1.1"``; empty if there was none."""
    text: str = ""
    """The server's words."""
    server: str = ""
    """``"host:port"`` of the server that answered."""
    attempts: int = 0
    at: datetime | None = None
    """When the state was recorded."""

    @classmethod
    def from_row(cls, row: Any, *, at: datetime | None) -> OutboxRecipient:
        """The value of a row whose attributes are named as the fields.

        Raises:
            ValueError: it has a state that this version does not know.
        """
        return cls(
            address=row.address,
            state=RecipientState(row.state),
            code=row.code,
            enhanced=row.enhanced,
            text=row.text,
            server=row.server,
            attempts=row.attempts,
            at=at,
        )


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One message's row with its recipients, as `Store.insert` takes and `Store.claim` returns it.

    Times are aware datetimes in UTC. Rows have further columns, which only stores use:
    ``due_at`` (when it may be claimed), ``lease_until``, ``updated_at``, ``reason``.
    """

    id: UUID
    content: bytes = field(repr=False)
    """The finished MIME message with CRLF, without the parts that are in blobs, without Bcc."""
    sender: str
    """The reverse-path: empty for a message that must not bounce."""
    recipients: tuple[OutboxRecipient, ...]
    blobs: tuple[BlobPart, ...] = ()
    alias: str = "default"
    """The mailer that sends it."""
    key: str | None = None
    fingerprint: str = ""
    """Equal for equal messages, whatever their Date, Message-ID and boundaries."""
    priority: Priority = Priority.NORMAL
    on_unknown: OnUnknown = OnUnknown.HOLD
    stream: str = ""
    """The stream of mail, such as ``"newsletter"``; empty for none."""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    mail_options: tuple[str, ...] = ()
    rcpt_options: tuple[str, ...] = ()
    message_id: str = ""
    subject: str = ""
    size: int = 0
    """The bytes of the whole content, blobs in base64 included."""
    state: State = State.QUEUED
    attempts: int = 0
    """How often it was claimed since it was enqueued or sent again."""
    lost_leases: int = 0
    """How many leases in a row expired while it was claimed."""
    lease_by: str = ""
    """The token of its lease: see `lease_token`. Empty where nobody has one."""
    version: int = 0
    """How many changes were recorded: what is decided about this value applies to no other."""
    created_at: datetime | None = None
    """None before it was inserted: the database's clock sets it."""
    suppressed: Mapping[str, Suppression] | None = None
    """The recipients that the suppression list has, as a worker has asked; never stored."""

    @classmethod
    def from_row(cls, row: Any, **given: Any) -> OutboxMessage:
        """The value of a row; ``given`` are the fields that stores keep in different ways.

        Raises:
            ValueError: it has a priority or an ``on_unknown`` that this version does not know.
        """
        return cls(
            sender=row.sender,
            alias=row.alias,
            key=row.key,
            fingerprint=row.fingerprint,
            priority=Priority(row.priority),
            on_unknown=OnUnknown(row.on_unknown),
            stream=row.stream,
            message_id=row.message_id,
            subject=row.subject,
            size=row.size,
            lost_leases=row.lost_leases,
            version=row.version,
            **given,
        )

    @property
    def pending(self) -> tuple[str, ...]:
        """The addresses that the next attempt is for: those that are suppressed are left out."""
        left = (r.address for r in self.recipients if r.state is RecipientState.PENDING)
        return tuple(left if not self.suppressed else (a for a in left if a not in self.suppressed))


@dataclass(frozen=True, slots=True)
class RecipientChange:
    """What to write in one recipient's row, with ``at`` from the database's clock."""

    state: RecipientState
    reply: Reply | None = None
    """The server's reply; None leaves code, enhanced code and text as they are."""
    server: str = ""
    text: str | None = None
    """Where no server has replied: why it is in this state. None leaves the text as it is."""

    @property
    def columns(self) -> dict[str, Any]:
        """What to write besides ``state`` and ``at``, by the names of the columns."""
        found: dict[str, Any] = {} if self.text is None else {"text": self.text}
        if self.reply is not None:
            found["code"] = self.reply.code
            found["enhanced"] = str(self.reply.enhanced or "")
            found["text"] = self.reply.text
        if self.server:
            found["server"] = self.server
        return found


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a message's history."""

    kind: str
    """``"attempt"``, ``"lease expired"``, ``"expired"``, ``"parked"``, ``"resent"``,
    ``"cancelled"`` or ``"resolved"``."""
    text: str = ""
    by: str = ""
    """The worker, or the user who asked for it."""
    at: datetime | None = None
    """None before it was stored."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a store writes for one message, in one transaction.

    It applies only where the row's state is one of ``before``, and where ``lease_by`` and
    ``version`` are not None, equals these columns: somebody else may have the message by then.
    """

    id: UUID
    before: frozenset[State]
    state: State
    recipients: Mapping[str, RecipientChange] = field(default_factory=dict)
    delay: float | None = None
    """For `State.QUEUED`: seconds, by the database's clock, until it is due."""
    reason: str = ""
    """Why it is in this state; shown in lists."""
    log: LogEntry | None = None
    lease_by: str | None = None
    """The token of the lease under which it was decided."""
    version: int | None = None
    """The version of the row that it was decided from."""
    is_lease_over: bool = False
    """It applies only once the lease has expired: a worker may have renewed it meanwhile."""
    lost_leases: int = 0
    """The new value of that column."""
    attempted: tuple[str, ...] = ()
    """Those of ``recipients`` whose ``attempts`` is incremented."""
    restarts: bool = False
    """Set ``expires_at`` to NULL and ``attempts`` to 0."""


@dataclass(frozen=True, slots=True)
class Pause:
    """All mail of an alias waits: its server cannot be reached, or its rate is used up."""

    alias: str
    until: datetime
    failures: int
    """How many attempts in a row had no connection."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """The receipt of a message in the outbox. Its outcome is not known yet."""

    id: UUID
    key: str | None = None
    is_new: bool = True
    """False where a message with this key was there before."""
    message_id: str = ""

    @property
    def outcome(self) -> str:
        """Always ``"pending"``."""
        return "pending"

    def as_dict(self) -> dict[str, Any]:
        """The receipt in JSON's types: ``outcome``, ``id``, ``key``, ``is_new``, ``message_id``."""
        return {"outcome": self.outcome, **fields_as_dict(self)}

    # Celery's JSON serialiser asks for this one: a task may return the receipt itself.
    __json__ = as_dict

    def __str__(self) -> str:
        return f"{self.message_id or self.id} queued as {self.id}"


@dataclass(frozen=True, slots=True)
class Status:
    """The outbox at one moment."""

    messages: Mapping[State, int]
    """How many there are in each state."""
    due: int
    """Those that are queued and due."""
    oldest: float | None
    """Seconds since the oldest of them is due; None where none is."""
    leases_expired: int
    """Those whose lease has expired: a sweep is needed."""
    queued: Mapping[str, int]
    """How many are queued for each alias."""
    pauses: tuple[Pause, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return fields_as_dict(self)
