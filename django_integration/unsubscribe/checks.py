"""System checks of links for unsubscribing: see `django_integration.checks`."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.core import checks

from django_integration.unsubscribe.links import SETTING
from mailbackends import ConfigurationError, Options
from mailbackends.integration import check_unsubscribe_url

__all__ = ["check_link", "check_signatures"]


def check_link() -> list[checks.CheckMessage]:
    """Find a URL that mail programs would not use."""
    url = getattr(settings, SETTING, None)
    if url is None:
        return []
    try:
        check_unsubscribe_url(url, SETTING)
    except ConfigurationError as error:
        return [checks.Error(str(error), id="mailbackends.E004")]
    return []


def check_signatures(servers: Iterable[Options], where: str) -> list[checks.CheckMessage]:
    """Find a mailer whose links for unsubscribing no signature covers."""
    if getattr(settings, SETTING, None) is None or all(each.dkim for each in servers):
        return []
    return [
        checks.Warning(
            f"{where} does not sign mail, and {SETTING} is set: Gmail and Yahoo use such links "
            "only where DKIM covers them (RFC 8058).",
            hint="Set the option 'dkim', or have the server sign both fields, and silence this.",
            id="mailbackends.W012",
        )
    ]
