"""The tables of the outbox. Rows are the truth: engines and workers only read and change them.

States are changed by `django_integration.outbox.store` alone, which applies the transitions
of `mailbackends.outbox`. The columns are those of its values.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models

from django_integration.fields import ExactCharField
from django_integration.outbox.indexes import PartialIndex
from mailbackends.outbox import OnUnknown, Priority, RecipientState, State

__all__ = ["LogEntry", "Message", "Pause", "Recipient", "Worker"]

# Given, so that this can be imported where the app is not installed.
APP_LABEL = "mailbackends_outbox"


def _choices(values: Any) -> list[tuple[Any, str]]:
    return [(each.value, each.name.lower().replace("_", " ")) for each in values]


class Message(models.Model):
    """One message: its content, its envelope sender, and what became of it."""

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, editable=False)
    key: models.CharField[str | None, str | None] = ExactCharField(
        max_length=200,
        null=True,
        blank=True,
        unique=True,
        help_text="A second message with this key is not queued.",
    )
    fingerprint: models.CharField[str, str] = models.CharField(max_length=64, blank=True)
    alias: models.CharField[str, str] = models.CharField("mailer", max_length=100)
    sender: models.CharField[str, str] = models.CharField(max_length=320, blank=True)
    subject: models.CharField[str, str] = models.CharField(max_length=500, blank=True)
    message_id: models.CharField[str, str] = ExactCharField(
        "Message-ID", max_length=500, blank=True
    )
    state: models.CharField[str, str] = models.CharField(max_length=10, choices=_choices(State))
    reason: models.TextField[str, str] = models.TextField(blank=True)
    priority: models.SmallIntegerField[int, int] = models.SmallIntegerField(
        choices=_choices(Priority), default=Priority.NORMAL.value
    )
    on_unknown: models.CharField[str, str] = models.CharField(
        max_length=10, choices=_choices(OnUnknown)
    )
    stream: models.CharField[str, str] = models.CharField(
        max_length=50, blank=True, help_text="Such as newsletter: see the suppression list."
    )
    not_before: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True
    )
    expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True
    )
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    updated_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    due_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        help_text="When it may be claimed."
    )
    lease_until: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True
    )
    lease_by: models.CharField[str, str] = models.CharField(max_length=200, blank=True)
    version: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(
        default=0, editable=False
    )
    attempts: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(default=0)
    lost_leases: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(default=0)
    mail_options: models.TextField[str, str] = models.TextField(
        default="[]", blank=True, help_text="A list in JSON."
    )
    rcpt_options: models.TextField[str, str] = models.TextField(
        default="[]", blank=True, help_text="A list in JSON."
    )
    size: models.PositiveBigIntegerField[int, int] = models.PositiveBigIntegerField(
        default=0, help_text="In bytes."
    )
    content: models.BinaryField[bytes, bytes] = models.BinaryField(
        help_text="Empty once it was erased."
    )
    blobs: models.TextField[str, str] = models.TextField(
        default="[]", blank=True, help_text="A list in JSON."
    )
    erased_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True
    )

    class Meta:
        """Indexes for what workers, searches and pruning ask for."""

        app_label = APP_LABEL
        verbose_name = "message"
        default_permissions: tuple[str, ...] = ("view",)
        permissions: tuple[tuple[str, str], ...] = (
            ("read_content", "Can read the content of messages"),
            ("manage_outbox", "Can resend, cancel and resolve messages"),
        )
        indexes: tuple[models.Index, ...] = (
            # Claiming reads nothing but messages that wait, however many rows there are.
            PartialIndex(
                fields=["alias", "priority", "due_at"],
                name="mb_outbox_queued",
                where=models.Q(state="queued"),
            ),
            PartialIndex(
                fields=["lease_until"],
                name="mb_outbox_leased",
                where=models.Q(state__in=["claimed", "begun"]),
            ),
            PartialIndex(
                fields=["expires_at"],
                name="mb_outbox_expires",
                where=models.Q(state="queued"),
            ),
            models.Index(fields=["state", "updated_at"], name="mb_outbox_state"),
            models.Index(fields=["message_id"], name="mb_outbox_message_id"),
            models.Index(fields=["created_at"], name="mb_outbox_created"),
        )

    def __str__(self) -> str:
        return f"{self.subject or '(no subject)'} [{self.state}]"

    @property
    def is_erased(self) -> bool:
        """True once the content was erased: the message cannot be sent again."""
        return self.erased_at is not None


class Recipient(models.Model):
    """One recipient of a message, with the server's last reply about it."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    message: models.ForeignKey[Message, Message] = models.ForeignKey(
        Message, models.CASCADE, related_name="recipients"
    )
    address: models.CharField[str, str] = ExactCharField(max_length=320)
    state: models.CharField[str, str] = models.CharField(
        max_length=10, choices=_choices(RecipientState)
    )
    code: models.SmallIntegerField[int | None, int | None] = models.SmallIntegerField(
        null=True, blank=True
    )
    enhanced: models.CharField[str, str] = models.CharField(max_length=15, blank=True)
    text: models.TextField[str, str] = models.TextField(blank=True)
    server: models.CharField[str, str] = models.CharField(max_length=300, blank=True)
    attempts: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(default=0)
    at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True
    )

    class Meta:
        """The index is for "where is the mail to Ada?"."""

        app_label = APP_LABEL
        default_permissions: tuple[str, ...] = ()
        ordering: tuple[str, ...] = ("id",)
        indexes: tuple[models.Index, ...] = (
            models.Index(fields=["address"], name="mb_outbox_address"),
            models.Index(fields=["state", "at"], name="mb_outbox_rcpt_state"),
        )

    def __str__(self) -> str:
        return f"{self.address} [{self.state}]"

    @property
    def reply(self) -> str:
        """The server's last reply, such as ``"550 5.1.1 No such user"``."""
        return f"{self.code or ''} {self.text}".strip()


class LogEntry(models.Model):
    """One line of a message's history: an attempt, or what a person did."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    message: models.ForeignKey[Message, Message] = models.ForeignKey(
        Message, models.CASCADE, related_name="log"
    )
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    kind: models.CharField[str, str] = models.CharField(max_length=30)
    text: models.TextField[str, str] = models.TextField(blank=True)
    by: models.CharField[str, str] = models.CharField(max_length=200, blank=True)

    class Meta:
        """In the order of what happened."""

        app_label = APP_LABEL
        default_permissions: tuple[str, ...] = ()
        ordering: tuple[str, ...] = ("id",)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.text)))


class Pause(models.Model):
    """All mail of an alias waits until then."""

    alias: models.CharField[str, str] = models.CharField(primary_key=True, max_length=100)
    until: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    failures: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(default=0)
    reason: models.TextField[str, str] = models.TextField(blank=True)

    class Meta:
        """Workers write it."""

        app_label = APP_LABEL
        default_permissions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.alias} until {self.until}"


class Worker(models.Model):
    """A worker's sign of life: the checks and the health view look for it."""

    name: models.CharField[str, str] = models.CharField(primary_key=True, max_length=200)
    started_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    seen_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()

    class Meta:
        """Workers write it."""

        app_label = APP_LABEL
        default_permissions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.name)
