"""The targets, and how far each was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.cases import CASES
from bench.results import Cell, Results

__all__ = ["WANTED", "Finding", "Wanted", "findings"]

Measure = Literal["round trips", "time", "CPU", "MiB"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target: at most ``value`` round trips or MiB, or ``value`` times less than a client."""

    title: str
    case: str
    ours: str
    theirs: str
    measure: Measure
    value: float

    @property
    def is_ratio(self) -> bool:
        """True if the target is a ratio to another client."""
        return self.measure in ("time", "CPU")


_FAR, _NEAR, _QUIET = "text-80-tls", "text-0-plain", "quiet-40-tls"

WANTED = (
    Wanted("warm send, CHUNKING", _FAR, "ours-core", "django-view", "round trips", 1.1),
    Wanted("warm, PIPELINING", _FAR, "ours-core-pipelining", "django-view", "round trips", 2.1),
    Wanted("cold send, CHUNKING", _FAR, "ours-cold", "django-view", "round trips", 8.3),
    Wanted("cold, PIPELINING", _FAR, "ours-cold-pipelining", "django-view", "round trips", 9.3),
    Wanted("cold, Django", _FAR, "ours-django-cold", "django-view", "round trips", 9.5),
    Wanted("PIPELINING only", _FAR, "ours-core-pipelining", "nodemailer", "round trips", 2.1),
    Wanted("the same", _NEAR, "ours-core-pipelining", "nodemailer", "CPU", 4),
    Wanted("after a quiet minute", _QUIET, "ours-upkeep", "django-view", "round trips", 1.1),
    Wanted("the same, Django", _QUIET, "ours-django-upkeep", "django-view", "round trips", 1.1),
    Wanted("50 recipients", "many-20-tls", "ours-core", "django-view", "round trips", 1.3),
    Wanted("2 KB objects", _NEAR, "ours-batch-pipelining", "django-batch", "time", 8),
    Wanted("the same, CHUNKING", _NEAR, "ours-batch", "django-batch", "time", 10),
    Wanted("the same, 16 in flight", _NEAR, "ours-pipelined", "django-batch", "time", 20),
    Wanted("2 KB bytes", _NEAR, "ours-bytes-pipelining", "django-batch", "time", 8),
    Wanted("the same, CHUNKING", _NEAR, "ours-bytes", "django-batch", "time", 20),
    Wanted("the same, 16 in flight", _NEAR, "ours-bytes-pipelined", "django-batch", "time", 20),
    Wanted("the same, beside C", _NEAR, "ours-bytes-pipelined", "smtp-source", "time", 1),
    Wanted("built, with HTML", "built-0-plain", "ours-email", "smtplib-built", "CPU", 8),
    Wanted("backend, batch", _NEAR, "ours-django-batch", "django-batch", "CPU", 8),
    Wanted("the same, HTML", "html-0-plain", "ours-django-batch", "django-batch", "CPU", 8),
    Wanted("backend, view over TLS", "text-0-tls", "ours-django-view", "django-view", "CPU", 15),
    Wanted("5 MB attachment", "5mb-0-plain", "ours-django-batch", "django-batch", "CPU", 12),
    Wanted("25 MB attachment, Django", "25mb-0-plain", "ours-django-view", "django-view", "MiB", 1),
    Wanted("25 MB attachment, Mailer", "25mb-0-plain", "ours-core", "django-view", "MiB", 1),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A target and its measurements, in the target's unit; seconds per message for ratios."""

    wanted: Wanted
    theirs: float | None
    ours: float
    reached: float | None
    """The value to compare with the target; None if the other client was not measured."""

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is reached; None if it was not measured."""
        if self.reached is None:
            return None
        if self.wanted.is_ratio:
            return self.reached >= self.wanted.value
        # Rounded to as many digits as the target has: 1.14 round trips are 1.1.
        return round(self.reached, 1) <= self.wanted.value


def findings(results: Results) -> list[Finding]:
    """All targets with measurements."""
    found = []
    for wanted in WANTED:
        cell = results.cell(wanted.case, wanted.ours)
        ours = _measured(results, cell, wanted.measure)
        if cell is None or ours is None:
            continue
        theirs = _measured(results, results.cell(wanted.case, wanted.theirs), wanted.measure)
        reached = ours if not wanted.is_ratio else theirs / ours if theirs is not None else None
        found.append(Finding(wanted, theirs, ours, reached))
    return found


def _measured(results: Results, cell: Cell | None, measure: Measure) -> float | None:
    if cell is None:
        return None
    match measure:
        case "time":
            return cell.median_wall
        case "CPU":
            return cell.median_cpu
        case "round trips":
            return cell.median_wall / results.round_trip(CASES[cell.case].delay)
        case "MiB":
            return None if cell.peak is None else cell.peak / 2**20
