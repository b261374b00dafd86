"""The tables of the suppression list."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from django_integration.fields import ExactCharField
from mailbackends import ConfigurationError, InvalidAddressError
from mailbackends.suppression import EVERYTHING, Reason, new_entry

__all__ = ["SoftBounce", "Suppression"]

# Given, so that this can be imported where the app is not installed.
APP_LABEL = "mailbackends_suppression"
_REASONS = [(each.value, each.value.replace("_", " ")) for each in Reason]


class Suppression(models.Model):
    """One entry: an address that gets no mail of one stream, or none at all."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    address: models.CharField[str, str] = ExactCharField(
        max_length=320, help_text="Stored in lower case."
    )
    scope: models.CharField[str, str] = ExactCharField(
        max_length=50,
        default=EVERYTHING,
        help_text="The stream of mail, such as newsletter, or all.",
    )
    reason: models.CharField[str, str] = models.CharField(
        max_length=20, choices=_REASONS, default=Reason.MANUAL.value
    )
    source: models.CharField[str, str] = models.CharField(
        max_length=500, blank=True, help_text="Who or what has added it."
    )
    detail: models.CharField[str, str] = models.CharField(max_length=500, blank=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        default=timezone.now, editable=False
    )
    expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, blank=True, help_text="When it ends; empty for never."
    )

    class Meta:
        """The constraint's index is what a look-up uses."""

        app_label = APP_LABEL
        verbose_name = "suppressed address"
        verbose_name_plural = "suppressed addresses"
        ordering: tuple[str, ...] = ("address", "scope", "reason")
        constraints: tuple[models.UniqueConstraint, ...] = (
            models.UniqueConstraint(
                fields=("address", "scope", "reason"), name="mb_suppression_once"
            ),
        )
        indexes: tuple[models.Index, ...] = (
            models.Index(fields=["expires_at"], name="mb_suppression_expires"),
        )

    def __str__(self) -> str:
        return f"{self.address} ({self.scope}: {self.reason})"

    def clean_fields(self, exclude: Any = None) -> None:
        """Check the entry, and write the address in the form in which it is compared."""
        super().clean_fields(exclude=exclude)
        for name, error in (("address", InvalidAddressError), ("scope", ConfigurationError)):
            try:
                address = self.address if name == "address" else "a@example.com"
                scope = self.scope if name == "scope" else EVERYTHING
                entry = new_entry(address, Reason.MANUAL, scope)
            except error as problem:
                raise ValidationError({name: str(problem)}) from problem
            if name == "address":
                self.address = entry.address


class SoftBounce(models.Model):
    """How often mail to an address has failed for now."""

    address: models.CharField[str, str] = ExactCharField(primary_key=True, max_length=320)
    bounces: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(default=0)
    since: models.DateTimeField[datetime, datetime] = models.DateTimeField()

    class Meta:
        """The store writes it."""

        app_label = APP_LABEL
        default_permissions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.address}: {self.bounces}"
