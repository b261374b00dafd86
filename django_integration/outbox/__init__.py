"""The outbox: mail in the application's own database, sent once by a worker.

``"django_integration.outbox"`` in ``INSTALLED_APPS`` brings the tables, and
``manage.py outbox work`` the worker. `EmailBackend` queues all mail; `enqueue` one message.

- ``models``, ``indexes``, ``migrations``: the tables
- ``store``, ``queries``, ``rows``, ``clock``, ``listening``: the statements on them
- ``backend``, ``queueing``, ``delivering``, ``blobs``: from a message to its row, and the mailer
  that delivers
- ``working``, ``sending``, ``stored``: the worker, and an attempt through any backend
- ``operations``, ``admin``, ``management``: what people do; ``health``, ``statistics``,
  ``signals``: what monitoring sees
- ``configuration``, ``checks``: the settings
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_integration.outbox.backend import EmailBackend, aenqueue, enqueue
    from django_integration.outbox.operations import settle_unknown
    from django_integration.outbox.signals import message_settled
    from django_integration.outbox.working import deliver

__all__ = [
    "EmailBackend",
    "aenqueue",
    "deliver",
    "enqueue",
    "message_settled",
    "settle_unknown",
]

# Imported when first used: models can only be imported once Django is set up.
_MODULE_OF = {
    **dict.fromkeys(__all__, "backend"),
    "deliver": "working",
    "message_settled": "signals",
    "settle_unknown": "operations",
}


def __getattr__(name: str) -> Any:
    """Return a public name from its module (PEP 562)."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'django_integration.outbox' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"django_integration.outbox.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
