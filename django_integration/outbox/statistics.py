"""Numbers about the outbox: recipients per day, and what has just become of messages."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import Count
from django.db.models.functions import TruncDate

from django_integration.outbox import models
from django_integration.outbox.clock import database_now
from django_integration.outbox.configuration import outbox_database

__all__ = ["per_day", "settled_since"]

_DAY = 86400.0


def per_day(days: int) -> list[dict[str, Any]]:
    """How many recipients got each outcome, for each of the last days, the latest first.

    What was pruned is not counted any more.
    """
    using = outbox_database()
    since = database_now(connections[using], plus=-days * _DAY)
    found: dict[str, dict[str, int]] = {}
    rows = (
        models.Recipient.objects.using(using)
        .exclude(state="pending")
        .filter(at__gte=since)
        .annotate(day=TruncDate("at"))
        .values_list("day", "state")
        .annotate(Count("id"))
        .order_by("-day", "state")
    )
    for day, state, count in rows:
        found.setdefault(str(day), {})[state] = count
    return [{"day": day, "recipients": counts} for day, counts in found.items()]


def settled_since(seconds: float) -> dict[str, int]:
    """How many messages came into each state in the last seconds, and are in it still."""
    using = outbox_database()
    since = database_now(connections[using], plus=-seconds)
    rows = models.Message.objects.using(using).filter(updated_at__gte=since)
    return dict(rows.values_list("state").annotate(Count("id")).order_by())
