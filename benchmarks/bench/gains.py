"""What an application gains: the figures that its users notice, beside those of other clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.results import Cell, Results

__all__ = ["GAINS", "Gain", "figures"]

Measure = Literal["wait", "rate", "CPU", "MiB"]


@dataclass(frozen=True, slots=True)
class Gain:
    """One figure of two clients in one case."""

    title: str
    case: str
    theirs: str
    ours: str
    measure: Measure


_QUIET = "time for the first mail after a quiet minute, server 40 ms away, `min_idle=1`"


def _beside(theirs: str, ours: str) -> tuple[Gain, ...]:
    """The gains in each case; tables leave out those of which a client was not measured."""
    gains: tuple[tuple[str, str, Measure], ...] = (
        ("time for a mail, server 80 ms away", "text-80-tls", "wait"),
        ("time for a mail to 50 recipients, server 20 ms away", "many-20-tls", "wait"),
        ("mails a second, one thread, server on the same machine", "text-0-tls", "rate"),
        ("processor time for a mail over TLS", "text-0-tls", "CPU"),
        ("processor time for a mail with 5 MB attached", "5mb-0-plain", "CPU"),
        ("memory to send 25 MB attached", "25mb-0-plain", "MiB"),
    )
    return tuple(Gain(title, case, theirs, ours, measure) for title, case, measure in gains)


_FIRST, *_OTHERS = _beside("django-view", "ours-django-view")

GAINS: dict[str, tuple[str, tuple[Gain, ...]]] = {
    "django": (
        "Django's backend",
        (
            _FIRST,
            Gain(_QUIET, "quiet-40-tls", "django-view", "ours-django-upkeep", "wait"),
            *_OTHERS,
        ),
    ),
    "flask": ("Flask-Mail", _beside("flask-mail", "ours-flask")),
    "smtplib": ("smtplib, connection kept", _beside("smtplib-kept", "ours-core")),
    "asyncio": ("aiosmtplib, connection kept", _beside("aiosmtplib-kept", "ours-async")),
}


def figures(results: Results, gain: Gain) -> tuple[float, float, float] | None:
    """The other client's figure, ours, and how many times better ours is; None if not measured.

    Milliseconds, messages a second or MiB.
    """
    values = [
        _value(results.cell(gain.case, client), gain.measure) for client in (gain.theirs, gain.ours)
    ]
    theirs, ours = values
    if theirs is None or ours is None:
        return None
    return theirs, ours, ours / theirs if gain.measure == "rate" else theirs / ours


def _value(cell: Cell | None, measure: Measure) -> float | None:
    if cell is None:
        return None
    match measure:
        case "wait":
            return cell.median_wall * 1000
        case "rate":
            return 1 / cell.median_wall
        case "CPU":
            return cell.median_cpu * 1000
        case "MiB":
            return None if cell.peak is None else cell.peak / 2**20
