"""The outcomes of the messages of a batch, and how they were sent."""

from __future__ import annotations

from collections.abc import Iterable

from mailbackends import Outcome, Receipt

__all__ = ["mails", "outcomes"]


def outcomes(results: Iterable[Receipt | Exception]) -> list[Outcome | None]:
    """The outcome of each, in order; None for an exception that has none."""
    return [getattr(result, "outcome", None) for result in results]


def mails(flights: Iterable[bytes]) -> list[int]:
    """How many messages began in each flight or write, where any did."""
    return [count for flight in flights if (count := flight.count(b"MAIL FROM:"))]
