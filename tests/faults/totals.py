"""How many connections were cut, and how many messages had which outcome."""

from __future__ import annotations

from collections import Counter

__all__ = ["cuts", "lines", "messages"]

cuts: Counter[str] = Counter()
"""By what was done to the connection."""
messages: Counter[str] = Counter()
"""By outcome."""


def lines() -> list[str]:
    """The sums, for people."""

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())

    return [
        f"dialogues broken off: {cuts.total():,} ({listed(cuts)})",
        f"messages accounted for: {messages.total():,} ({listed(messages)})",
        "lost without an error: 0, delivered twice: 0; at the first one a test fails",
    ]
