"""The database's clock, and times on their way into the database and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Value
from django.db.models.functions import Now
from django.utils import timezone

__all__ = ["aware", "database_now", "for_database", "now_sql"]


class _DatabaseNow(Now):
    """Django's ``Now``, in UTC on MySQL whatever the session's time zone is."""

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template=now_sql(connection), **extra)


def database_now(connection: Any, *, plus: float = 0.0) -> Any:
    """The database's now, plus seconds, as an expression.

    SQLite runs in this process: its clock is this machine's, and its own function would not
    have the format in which Django stores times.
    """
    if connection.vendor == "sqlite":
        return Value(timezone.now() + timedelta(seconds=plus))
    return _DatabaseNow() + timedelta(seconds=plus) if plus else _DatabaseNow()


def now_sql(connection: Any) -> str | None:
    """The database's now in SQL; None on SQLite, whose clock is this process's."""
    if connection.vendor == "sqlite":
        return None
    if connection.vendor == "mysql":
        is_utc = settings.USE_TZ and connection.timezone_name == "UTC"
        return "UTC_TIMESTAMP(6)" if is_utc else "CURRENT_TIMESTAMP(6)"
    return "STATEMENT_TIMESTAMP()" if connection.vendor == "postgresql" else "CURRENT_TIMESTAMP"


def for_database(moment: datetime | None) -> datetime | None:
    """An aware time as Django stores it: naive, in the current time zone, without ``USE_TZ``."""
    if moment is None or settings.USE_TZ:
        return moment
    return timezone.make_naive(moment)


def aware(moment: datetime | None) -> datetime | None:
    """A time from the database, or from an application, as an aware time in UTC."""
    if moment is None:
        return None
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment.astimezone(UTC)
