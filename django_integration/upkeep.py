"""Connections that are ready before the first request: `warm_up`, for the start of a worker."""

from __future__ import annotations

from django_integration.backend import EmailBackend
from django_integration.compat import backend_for, backends_configured
from django_integration.registry import registry

__all__ = ["warm_up"]


def warm_up(timeout: float = 0.0) -> int:
    """Begin to open the connections of each mailer with ``min_idle``, and keep them ready.

    Call it in each worker process after the fork: from `AppConfig.ready`, or from gunicorn's
    ``post_fork`` where the application is loaded before the fork. Mailers without ``min_idle``, and
    those of other backends, are left alone. Returns how many connections are ready: at once, or
    after ``timeout`` seconds for each mailer at the latest. A server that cannot be reached raises
    nothing; it is tried again in the background.

    Raises:
        ImproperlyConfigured: the options of a mailer are wrong.
    """
    ready = 0
    for alias in backends_configured():
        backend = backend_for(alias)
        if not isinstance(backend, EmailBackend):
            continue
        key = backend.mailer_key
        if any(server.min_idle for server in key.servers):
            with registry.mailer(key) as mailer:
                ready += mailer.warm_up(timeout)
    return ready
