"""What django-post_office and django-mailer have still queued, moved into the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from django_integration.outbox.backend import enqueue
from mailbackends.outbox import Priority

__all__ = ["SOURCES", "Imported", "import_from"]

# Theirs in the order of their numbers: see the modules `models` of both packages.
_POST_OFFICE = (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT)
_MAILER = {1: Priority.HIGH, 2: Priority.NORMAL, 3: Priority.LOW, 4: Priority.LOW}


@dataclass(frozen=True, slots=True)
class Imported:
    """One message of the other queue."""

    source: str
    """Its key in the outbox, such as ``post_office:17``."""
    reason: str | None = None
    """Why it was left where it is; None if it is in the outbox now."""


def import_from(source: str) -> Iterator[Imported]:
    """Move the messages that wait in another queue; those that fail stay there.

    Each is moved in its own transaction, with its number as its key: a second run cannot
    queue it twice. Stop the other queue's workers first.

    Raises:
        ImproperlyConfigured: the package is not in ``INSTALLED_APPS``.
    """
    label, move = SOURCES[source]
    if not apps.is_installed(label):
        raise ImproperlyConfigured(
            f'{label} is not installed: leave "{label}" in INSTALLED_APPS until its queue is empty.'
        )
    for row in move.rows():
        key = f"{label}:{row.pk}"
        try:
            with transaction.atomic(using=row._state.db):
                move(row, key)
        except Exception as error:  # theirs may raise anything; the next may be fine
            yield Imported(key, f"{type(error).__name__}: {error}")
        else:
            yield Imported(key)


class _PostOffice:
    """Rows that are queued or requeued become failed there, with a log that says why."""

    def rows(self) -> list[Any]:
        from post_office.models import STATUS, Email

        return [*Email.objects.filter(status__in=(STATUS.queued, STATUS.requeued)).order_by("pk")]

    def __call__(self, row: Any, key: str) -> None:
        from post_office.models import STATUS

        priority = Priority.NORMAL if row.priority is None else _POST_OFFICE[row.priority]
        expires = row.expires_at
        if expires is not None and expires <= timezone.now():
            raise ValueError(f"it expired at {expires:%Y-%m-%d %H:%M}")
        queued = enqueue(
            row.email_message(), key=key, at=row.scheduled_time, expires=expires, priority=priority
        )
        row.status = STATUS.failed
        row.save(update_fields=["status", "last_updated"])
        row.logs.create(status=STATUS.failed, message=f"Moved to the outbox as {queued.id}")


class _Mailer:
    """Rows are deleted, as django-mailer does with what it has sent."""

    def rows(self) -> list[Any]:
        from mailer.models import Message

        return [*Message.objects.order_by("pk")]

    def __call__(self, row: Any, key: str) -> None:
        message = row.email
        if message is None:
            raise ValueError("its pickle cannot be read")
        enqueue(message, key=key, priority=_MAILER.get(row.priority, Priority.NORMAL))
        row.delete()


SOURCES: dict[str, tuple[str, _PostOffice | _Mailer]] = {
    "post_office": ("post_office", _PostOffice()),
    "django_mailer": ("mailer", _Mailer()),
}
"""The names for ``manage.py outbox import``: the package's app, and what moves a row."""
