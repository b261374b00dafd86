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


_FAR, _NEAR, _QUIET = "text-80-tls", "text-0-tls", "quiet-40-tls"
_WAIT = "time for a mail, server 80 ms away"
_MANY = "time for a mail to 50 recipients, server 20 ms away"
_RATE = "mails a second, one thread, server on the same machine"
_CPU = "processor time for a mail over TLS"
_LARGE = "processor time for a mail with 5 MB attached"
_MEMORY = "memory to send 25 MB attached"

GAINS: dict[str, tuple[str, tuple[Gain, ...]]] = {
    "django": (
        "Django's backend",
        (
            Gain(_WAIT, _FAR, "django-view", "ours-django-view", "wait"),
            Gain(
                "time for the first mail after a quiet minute, server 40 ms away, `min_idle=1`",
                *(_QUIET, "django-view", "ours-django-upkeep", "wait"),
            ),
            Gain(_MANY, "many-20-tls", "django-view", "ours-django-view", "wait"),
            Gain(_RATE, _NEAR, "django-view", "ours-django-view", "rate"),
            Gain(_CPU, _NEAR, "django-view", "ours-django-view", "CPU"),
            Gain(_LARGE, "5mb-0-plain", "django-view", "ours-django-view", "CPU"),
            Gain(_MEMORY, "25mb-0-plain", "django-view", "ours-django-view", "MiB"),
        ),
    ),
    "flask": (
        "Flask-Mail",
        (
            Gain(_WAIT, _FAR, "flask-mail", "ours-flask", "wait"),
            Gain(_MANY, "many-20-tls", "flask-mail", "ours-flask", "wait"),
            Gain(_RATE, _NEAR, "flask-mail", "ours-flask", "rate"),
            Gain(_CPU, _NEAR, "flask-mail", "ours-flask", "CPU"),
            Gain(_LARGE, "5mb-0-plain", "flask-mail", "ours-flask", "CPU"),
            Gain(_MEMORY, "25mb-0-plain", "flask-mail", "ours-flask", "MiB"),
        ),
    ),
    "smtplib": (
        "smtplib, connection kept",
        (
            Gain(_WAIT, _FAR, "smtplib-kept", "ours-core", "wait"),
            Gain(_MANY, "many-20-tls", "smtplib-kept", "ours-core", "wait"),
            Gain(_RATE, _NEAR, "smtplib-kept", "ours-core", "rate"),
            Gain(_CPU, _NEAR, "smtplib-kept", "ours-core", "CPU"),
            Gain(_LARGE, "5mb-0-plain", "smtplib-kept", "ours-core", "CPU"),
            Gain(_MEMORY, "25mb-0-plain", "smtplib-kept", "ours-core", "MiB"),
        ),
    ),
    "asyncio": (
        "aiosmtplib, connection kept",
        (
            Gain(_WAIT, _FAR, "aiosmtplib-kept", "ours-async", "wait"),
            Gain(_MANY, "many-20-tls", "aiosmtplib-kept", "ours-async", "wait"),
            Gain(_RATE, _NEAR, "aiosmtplib-kept", "ours-async", "rate"),
            Gain(_CPU, _NEAR, "aiosmtplib-kept", "ours-async", "CPU"),
        ),
    ),
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
