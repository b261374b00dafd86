"""Where Django 5.2, 6.0 and 6.1 differ, said once."""

from __future__ import annotations

import email.policy
from email.policy import Policy
from functools import lru_cache
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import empty

from django_integration.errors import SettingsError

__all__ = [
    "HAS_MAILERS",
    "HAS_MODERN_EMAIL",
    "PART_POLICY",
    "backend_for",
    "backends_configured",
    "configuration_error",
    "is_said",
    "mailers_configured",
    "settings_now",
    "warn_of_construction",
]

HAS_MODERN_EMAIL = django.VERSION >= (6, 0)
"""``EmailMessage.message()`` takes a policy, and gives the email package's modern classes."""

PART_POLICY: Policy[Any] = email.policy.default if HAS_MODERN_EMAIL else email.policy.compat32
"""That of the message which a part will stand in."""

HAS_MAILERS = django.VERSION >= (6, 1)
"""``settings.MAILERS`` and ``BaseEmailBackend(alias=...)``."""


def mailers_configured() -> bool:
    """True where ``MAILERS`` is set, and the ``EMAIL_*`` settings are therefore not read."""
    return HAS_MAILERS and hasattr(settings, "MAILERS")


def settings_now() -> Any:
    """The settings, or Django's defaults for them, also the ``EMAIL_*`` ones.

    Django 6.1 warns whoever reads one of those from outside Django. The application has
    been warned where it set them; a warning here would only name the wrong culprit, or be
    an error where warnings are errors. What `LazySettings` wraps does not warn.
    """
    found = settings._wrapped
    if found is empty:
        _ = settings.DEFAULT_CHARSET  # loads the settings module
        found = settings._wrapped
    return found


def is_said(name: str) -> bool:
    """True where the application has set the setting itself, False at Django's default."""
    return bool(settings.is_overridden(name))


def configuration_error(message: str, alias: str | None) -> ImproperlyConfigured:
    """The exception for a configuration that cannot work: ``InvalidMailer`` under ``MAILERS``."""
    if alias is None or not HAS_MAILERS:
        return SettingsError(message)
    from django.core.mail import InvalidMailer

    return InvalidMailer(message, alias=alias)


def backend_for(using: str | None = None) -> Any:
    """The backend of an alias, or the default one, as Django itself would make it.

    Raises:
        ImproperlyConfigured: there is no such alias.
    """
    if HAS_MAILERS:
        from django.core.mail import mailers

        return mailers[using or "default"]
    if using not in (None, "default"):
        raise SettingsError(
            f"There is no mailer {using!r}: MAILERS needs Django 6.1, "
            f"and this is {django.get_version()}."
        )
    from django.core.mail import get_connection

    return get_connection()


def backends_configured() -> dict[str | None, tuple[str, dict[str, Any]]]:
    """For each alias in ``MAILERS`` its backend's path and OPTIONS; None is ``EMAIL_BACKEND``."""
    if not mailers_configured():
        return {None: (str(settings_now().EMAIL_BACKEND), {})}
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    return {
        alias: (str(config.get("BACKEND", smtp)), dict(config.get("OPTIONS") or {}))
        for alias, config in settings.MAILERS.items()
    }


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
        skip_name_prefixes=_constructors(backend_class),
    )


@lru_cache(maxsize=64)
def _constructors(backend_class: type) -> tuple[str, ...]:
    return tuple(f"{cls.__module__}.{cls.__qualname__}._" for cls in backend_class.__mro__)
