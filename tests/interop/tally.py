"""The sums of one run against real servers."""

from __future__ import annotations

from collections import Counter

__all__ = ["arrived", "cuts", "lines", "messages"]

messages: Counter[str] = Counter()
"""Sent, by what the caller was told."""
arrived: Counter[str] = Counter()
"""Copies that were found at a server, by how they were compared."""
cuts: Counter[str] = Counter()
"""Connections that a server ended, or did not let come about, by how."""


def lines() -> list[str]:
    """The sums, for people."""
    return [
        f"messages sent: {_listed(messages)}",
        f"copies found at a server and compared: {_listed(arrived)}",
        f"connections cut: {_listed(cuts)}",
    ]


def _listed(counts: Counter[str]) -> str:
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return f"{counts.total():,} ({parts})"
