"""System checks of the suppression list.

=====================  ================================================================
``mailbackends.E006``  ``MAILBACKENDS_SUPPRESSION`` is not usable
``mailbackends.W015``  (deploy) people cannot leave: no links for unsubscribing
=====================  ================================================================
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_integration.suppression.configuration import suppression_settings

__all__ = ["check_deployment", "check_settings", "register"]

_TAG = "mail"


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings, _TAG)
    checks.register(check_deployment, _TAG, deploy=True)


def check_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find a setting that cannot work."""
    try:
        suppression_settings()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="mailbackends.E006")]
    return []


def check_deployment(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find a list that nobody can get onto by one click."""
    if getattr(settings, "MAILBACKENDS_UNSUBSCRIBE_URL", None):
        return []
    return [
        checks.Warning(
            "django_integration.suppression is installed, and MAILBACKENDS_UNSUBSCRIBE_URL is not "
            "set: bulk mail goes out without one-click unsubscribe (RFC 8058), which Gmail and "
            "Yahoo require.",
            hint="Set it and include django_integration.unsubscribe.urls, or silence this if all "
            "mail is transactional.",
            id="mailbackends.W015",
        )
    ]
