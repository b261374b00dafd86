"""What one run counted at the real servers."""

from __future__ import annotations

from collections import Counter

__all__ = ["arrived", "disconnects", "lines", "messages"]

messages: Counter[str] = Counter()
"""Messages sent, by their outcome."""
arrived: Counter[str] = Counter()
"""Copies found at a server, by how they were compared."""
disconnects: Counter[str] = Counter()
"""Connections that a server closed or refused, by the reason."""


def lines() -> list[str]:
    """The sums, for people."""
    return [
        f"messages sent: {_listed(messages)}",
        f"copies found at a server and compared: {_listed(arrived)}",
        f"connections closed or refused by a server: {_listed(disconnects)}",
    ]


def _listed(counts: Counter[str]) -> str:
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return f"{counts.total():,} ({parts})"
