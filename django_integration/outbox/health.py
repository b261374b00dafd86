"""Is the outbox being emptied? For load balancers, monitoring and Prometheus."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse

from django_integration.outbox import models
from django_integration.outbox.clock import database_now
from django_integration.outbox.configuration import outbox_database
from django_integration.outbox.statistics import settled_since
from django_integration.outbox.store import DjangoStore
from mailbackends.outbox import State, Status

__all__ = ["OutboxHealth", "check_outbox", "health", "metrics"]

_SEEN = 120.0
_MAX_AGE = 600.0
"""A worker that was not seen for so many seconds does not count."""


@dataclass(frozen=True, slots=True)
class OutboxHealth:
    """The result of `check_outbox`. It has no addresses."""

    is_ok: bool
    error: str | None
    """What is wrong, or None."""
    due: int
    """Messages that could be sent now."""
    oldest: float | None
    """Seconds for which the oldest of them is due."""
    queued: int
    unknown: int
    """Messages that wait for the decision of a person."""
    parked: int
    workers: int
    """Workers that were seen within two minutes."""
    paused: tuple[str, ...]
    """The aliases whose server cannot be reached, or is over its rate."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as a dictionary, for JSON."""
        return asdict(self)


def check_outbox(*, max_age: float = _MAX_AGE) -> OutboxHealth:
    """Whether mail gets out: no message that is due has waited longer than ``max_age`` seconds.

    Raises:
        DatabaseError: the outbox cannot be read.
    """
    return _examined(max_age)[1]


def _examined(max_age: float) -> tuple[Status, OutboxHealth]:
    using = outbox_database()
    status = DjangoStore(using).status()
    since = database_now(connections[using], plus=-_SEEN)
    workers = models.Worker.objects.using(using).filter(seen_at__gte=since).count()
    now = database_now(connections[using])
    paused = models.Pause.objects.using(using).filter(until__gt=now)
    error = None
    if status.oldest is not None and status.oldest > max_age:
        why = "a worker is behind" if workers else "no worker runs: manage.py outbox work"
        error = f"{status.due} due, the oldest for {status.oldest:.0f} s: {why}"
    return status, OutboxHealth(
        is_ok=error is None,
        error=error,
        due=status.due,
        oldest=status.oldest,
        queued=status.messages.get(State.QUEUED, 0),
        unknown=status.messages.get(State.UNKNOWN, 0),
        parked=status.messages.get(State.PARKED, 0),
        workers=workers,
        paused=tuple(sorted(paused.values_list("alias", flat=True))),
    )


def health(request: HttpRequest) -> JsonResponse:
    """A view: `check_outbox` as JSON, with status 503 if something is wrong."""
    found = check_outbox()
    return JsonResponse(found.as_dict(), status=200 if found.is_ok else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """A view: depth, age and rate of the outbox in Prometheus's text format.

    ``mailbackends_outbox_settled`` is the number of messages by the state that they came into
    in the last minute.
    """
    status, found = _examined(_MAX_AGE)
    lines = ["# TYPE mailbackends_outbox_messages gauge"]
    for state in State:
        count = status.messages.get(state, 0)
        lines.append(f'mailbackends_outbox_messages{{state="{state.value}"}} {count}')
    for name, value in (
        ("due", found.due),
        ("oldest_seconds", found.oldest or 0.0),
        ("workers", found.workers),
        ("leases_expired", status.leases_expired),
        ("paused_mailers", len(found.paused)),
    ):
        lines += [f"# TYPE mailbackends_outbox_{name} gauge", f"mailbackends_outbox_{name} {value}"]
    lines.append("# TYPE mailbackends_outbox_settled gauge")
    for name, count in sorted(settled_since(60.0).items()):
        lines.append(f'mailbackends_outbox_settled{{state="{name}"}} {count}')
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain; version=0.0.4")
