"""System checks of the outbox."""

from __future__ import annotations

__all__ = ["register"]


def register() -> None:
    """Register the checks with Django."""
