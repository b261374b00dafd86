"""A health check: can mail be sent? For load balancers and monitoring."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from django_integration.compat import backend_for
from mailbackends import ConfigurationError

__all__ = ["MailHealth", "check_mail"]


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
    so this may be called every few seconds.

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
        backend.open()
    except ConfigurationError:
        raise
    except OSError as problem:
        error = f"{type(problem).__name__}: {problem}"
    finally:
        backend.close()
    return MailHealth(error is None, server, round(time.monotonic() - started, 4), error)
