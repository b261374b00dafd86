"""Can mail be sent? For a view that a load balancer or a monitor asks."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from django_integration.compat import backend_for

__all__ = ["MailHealth", "check_mail"]


@dataclass(frozen=True, slots=True)
class MailHealth:
    """The answer. It holds no secret and may be shown."""

    is_ok: bool
    server: str | None
    """``host:port``, or None for a backend that has no server."""
    seconds: float
    error: str | None = None
    """Why mail cannot be sent; None where it can."""

    def as_dict(self) -> dict[str, Any]:
        """For a JSON answer."""
        return asdict(self)


def check_mail(using: str | None = None) -> MailHealth:
    """Whether the server of an alias (``MAILERS``), or of the default, takes mail from us.

    A connection that stands in the pool and has not been closed is proof enough; else one
    is made and logged in, within ``connect_timeout`` and ``timeout``, and left in the pool.
    So this may be asked every few seconds. Nothing is raised but for a wrong configuration.

    Raises:
        ImproperlyConfigured: there is no such alias, or its options are wrong.
    """
    backend = backend_for(using)
    options = getattr(backend, "options", None)
    server = getattr(options, "server", None)
    started = time.monotonic()
    error: str | None = None
    backend.fail_silently = False
    try:
        backend.open()
    except OSError as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        backend.close()
    return MailHealth(error is None, server, round(time.monotonic() - started, 4), error)
