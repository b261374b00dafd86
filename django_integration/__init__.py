"""Django's mail over the pooled connections of `mailbackends`.

Set ``EMAIL_BACKEND = "django_integration.EmailBackend"`` or, from Django 6.1 on,
``"BACKEND": "django_integration.EmailBackend"`` in ``MAILERS``. System checks and
``manage.py mail_doctor`` come with ``"django_integration"`` in ``INSTALLED_APPS``.

- ``settings``, ``configuration``, ``staging``: from Django's settings to options
- ``backend``, ``copies``, ``delivery``, ``messages``, ``registry``: from ``send_messages()`` to
  a Mailer; ``async_mail``, ``async_delivery``: the same in an event loop
- ``checks``, ``health``, ``upkeep``, ``signals``, ``mailbox``, ``testing``: everything around it
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_integration.async_mail import asend, asend_mail, asend_mass_mail
    from django_integration.attachments import (
        as_django_message,
        attach_inline_image,
        attach_path,
    )
    from django_integration.backend import EmailBackend
    from django_integration.delivery import receipt_of
    from django_integration.errors import (
        BatchError,
        InvalidHeaderError,
        PartialRefusal,
        SendCancelled,
        SettingsError,
    )
    from django_integration.messages import RawEmailMessage
    from django_integration.signals import post_send, pre_send, send_failed
    from django_integration.upkeep import warm_up

__all__ = [
    "BatchError",
    "EmailBackend",
    "InvalidHeaderError",
    "PartialRefusal",
    "RawEmailMessage",
    "SendCancelled",
    "SettingsError",
    "as_django_message",
    "asend",
    "asend_mail",
    "asend_mass_mail",
    "attach_inline_image",
    "attach_path",
    "post_send",
    "pre_send",
    "receipt_of",
    "send_failed",
    "warm_up",
]

# Imported when first used: the pytest plugin must not import Django, nor need it.
_MODULES = (
    "errors",
    "signals",
    "attachments",
    "messages",
    "delivery",
    "backend",
    "async_mail",
    "upkeep",
)


def __getattr__(name: str) -> Any:
    """Return a public name from its module (PEP 562)."""
    if name in __all__:
        for module in _MODULES:
            found = importlib.import_module(f"django_integration.{module}")
            if name in found.__all__:
                value = globals()[name] = getattr(found, name)
                return value
    raise AttributeError(f"module 'django_integration' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
