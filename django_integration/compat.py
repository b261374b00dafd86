"""Where Django 5.2, 6.0 and 6.1 differ, said once."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from django_integration.errors import SettingsError

__all__ = [
    "HAS_MAILERS",
    "HAS_MODERN_EMAIL",
    "configuration_error",
    "email_setting",
    "is_said",
    "mailers_configured",
    "warn_of_construction",
]

HAS_MODERN_EMAIL = django.VERSION >= (6, 0)
"""``EmailMessage.message()`` takes a policy, and gives the email package's modern classes."""

HAS_MAILERS = django.VERSION >= (6, 1)
"""``settings.MAILERS`` and ``BaseEmailBackend(alias=...)``."""


def mailers_configured() -> bool:
    """True where ``MAILERS`` is set, and the ``EMAIL_*`` settings are therefore not read."""
    return HAS_MAILERS and hasattr(settings, "MAILERS")


def email_setting(name: str) -> Any:
    """The value of an ``EMAIL_*`` setting, or Django's default for it.

    Django 6.1 warns whoever reads one of them from outside Django. The application has
    been warned where it set them; a warning here would only name the wrong culprit, or be
    an error where warnings are errors. What `LazySettings` wraps does not warn.
    """
    if not settings.configured:
        _ = settings.DEFAULT_CHARSET  # loads the settings module
    return getattr(settings._wrapped, name)


def is_said(name: str) -> bool:
    """True where the application has set the setting itself, False at Django's default."""
    return bool(settings.is_overridden(name))


def configuration_error(message: str, alias: str | None) -> ImproperlyConfigured:
    """The exception for a configuration that cannot work: ``InvalidMailer`` under ``MAILERS``."""
    if alias is None or not HAS_MAILERS:
        return SettingsError(message)
    from django.core.mail import InvalidMailer

    return InvalidMailer(message, alias=alias)


def warn_of_construction(backend_class: type) -> None:
    """Django 6.1's warning for a backend that application code makes without an alias.

    Not where Django makes it, also by way of the constructors of subclasses: then the
    application has nothing to mend beyond the settings it has been warned of.
    """
    from django.utils.deprecation import (  # type: ignore[attr-defined, unused-ignore]
        RemovedInDjango2028Warning,
        warn_about_external_use,
    )

    warn_about_external_use(
        "Directly creating EmailBackend instances is deprecated. Use mail.mailers instead.",
        RemovedInDjango2028Warning,
        skip_name_prefixes=tuple(
            f"{cls.__module__}.{cls.__qualname__}._" for cls in backend_class.__mro__
        ),
    )
