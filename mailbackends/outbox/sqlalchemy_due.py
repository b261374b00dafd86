"""Which messages are due, and which of them come first, by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, or_, select, text, type_coerce, union_all

from mailbackends.outbox.policy import order_of_priorities
from mailbackends.outbox.tables import IS_QUEUED, Tables
from mailbackends.outbox.values import Priority
from mailbackends.sql import now_ms

__all__ = ["due_bands", "is_due"]


def due_bands(
    connection: Connection, tables: Tables, aliases: Sequence[str]
) -> list[tuple[str, Priority]]:
    """The aliases and priorities with due messages, in the order in which to claim."""
    message, pause = tables.message, tables.pause
    paused = set(connection.scalars(select(pause.c.alias).where(pause.c.until > now_ms())))
    running = [alias for alias in aliases if alias not in paused]
    if not running:
        return []
    due_at = type_coerce(message.c.due_at, BigInteger)
    # One look into the index for each, instead of at all that is due.
    peeks = union_all(
        *(
            select(
                now_ms()
                # Not min(), for which PostgreSQL reads all of them in a UNION.
                - select(due_at)
                .where(
                    text(IS_QUEUED),
                    message.c.alias == alias,
                    message.c.priority == int(priority),
                )
                .order_by(message.c.due_at)
                .limit(1)
                .scalar_subquery()
            )
            for alias in running
            for priority in Priority
        )
    )
    ages = connection.scalars(peeks).all()
    bands = [(alias, priority) for alias in running for priority in Priority]
    waiting = {band: age / 1000 for band, age in zip(bands, ages, strict=True) if age is not None}
    due = {band: age for band, age in waiting.items() if age >= 0}
    oldest: dict[Priority, float] = {}
    for (_, priority), age in due.items():
        oldest[priority] = max(age, oldest.get(priority, 0.0))
    return [
        band
        for priority in order_of_priorities(oldest)
        for band in sorted(due, key=due.__getitem__, reverse=True)
        if band[1] is priority
    ]


def is_due(tables: Tables, alias: str, priority: Priority) -> tuple[Any, ...]:
    """The WHERE of the messages of one alias and priority that are due."""
    message = tables.message
    return (
        text(IS_QUEUED),
        message.c.alias == alias,
        message.c.priority == int(priority),
        message.c.due_at <= now_ms(),
        or_(message.c.expires_at.is_(None), message.c.expires_at > now_ms()),
    )
