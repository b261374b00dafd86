"""A health check: can mail be sent? For load balancers and monitoring."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from asgiref.sync import sync_to_async

from django_integration.backend import EmailBackend
from django_integration.compat import backend_for
from django_integration.registry import async_registry, registry
from mailbackends import ConfigurationError, MailerStats

__all__ = ["MailHealth", "acheck_mail", "check_mail", "mail_stats"]


@dataclass(frozen=True, slots=True)
class MailHealth:
    """The result of `check_mail`. It contains no secret."""

    is_ok: bool
    server: str | None
    """``host:port``; None for a backend without a server."""
    seconds: float
    error: str | None = None
    """Why mail cannot be sent, or None."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as a dictionary, for JSON."""
        return asdict(self)


def check_mail(using: str | None = None) -> MailHealth:
    """Whether the server of the mailer ``using`` (or of the default one) can be reached.

    An open connection in the pool is enough. Without one, a connection is made and logged
    in, within ``connect_timeout`` and ``timeout``, and left in the pool. No message is sent,
    so this may be called every few seconds. For the outbox, nothing is connected: it is asked
    whether mail has been due for more than ten minutes.

    Raises:
        ImproperlyConfigured: the alias does not exist, or its options are wrong.
    """
    backend = backend_for(using)
    options = getattr(backend, "options", None)
    server = getattr(options, "server", None)
    started = time.monotonic()
    error: str | None = None
    backend.fail_silently = False
    try:
        if hasattr(backend, "check_health"):  # the outbox: is it being emptied?
            error = backend.check_health()
        backend.open()
    except ConfigurationError:
        raise
    except OSError as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        backend.close()
    return MailHealth(error is None, server, round(time.monotonic() - started, 4), error)


async def acheck_mail(using: str | None = None) -> MailHealth:
    """As `check_mail`, awaited: by a connection of the running event loop, which stays there.

    Raises:
        ImproperlyConfigured: the alias does not exist, or its options are wrong.
    """
    backend = await sync_to_async(backend_for)(using)
    if not isinstance(backend, EmailBackend) or backend._is_extended():
        return await sync_to_async(check_mail)(using)
    started = time.monotonic()
    error: str | None = None
    key = backend.mailer_key
    try:
        async with async_registry.mailer(key) as mailer:
            await mailer.open()
    except ConfigurationError:
        raise
    except OSError as problem:
        error = f"{type(problem).__name__}: {problem}"
    seconds = round(time.monotonic() - started, 4)
    return MailHealth(error is None, key.servers[0].server, seconds, error)


def mail_stats() -> list[MailerStats]:
    """The statistics of all Mailers of this process, those of event loops included.

    There is one for each configuration, and one for each configuration in an event loop.
    """
    return [*registry.stats().values(), *(stats for _, stats in async_registry.stats())]
