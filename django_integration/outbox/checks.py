"""System checks of the outbox.

=====================  ================================================================
``mailbackends.E005``  the outbox is not usable: ``via`` does not exist or queues itself, a
                       setting is unknown or unusable, the app is not installed
``mailbackends.W014``  (``check --database``) no worker has been seen, and mail is queued
``mailbackends.W013``  (deploy) a database without row locks: workers wait for each other
=====================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from django_integration.compat import backend_for, backends_configured, mailers_configured
from django_integration.outbox.configuration import outbox_database, outbox_settings
from django_integration.outbox.delivering import default_via, delivering_backend, is_outbox
from django_integration.outbox.health import OutboxHealth, check_outbox
from mailbackends import ConfigurationError, SMTPException

__all__ = ["check_configuration", "check_database", "check_workers", "register"]


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_configuration, "mail")
    checks.register(check_database, "mail", deploy=True)
    checks.register(check_workers, checks.Tags.database)


def check_configuration(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find settings with which mail would be queued and never be delivered."""
    return [
        checks.Error(
            str(error),
            hint="Change MAILERS or MAILBACKENDS['outbox'].",
            id="mailbackends.E005",
        )
        for error in _errors()
    ]


def _errors() -> Iterator[Exception]:
    try:
        outbox_settings()
    except ImproperlyConfigured as error:
        yield error
        return
    seen: set[str] = set()
    for alias, (path, _) in backends_configured().items():
        if not is_outbox(path):
            continue
        try:
            via = backend_for(alias).via
            if via not in seen:
                seen.add(via)
                _check_delivering(via)
        except (ImproperlyConfigured, ImportError, SMTPException, ValueError) as error:
            yield error
    if mailers_configured() and outbox_settings().via is not None:
        try:
            delivering_backend(default_via())
        except (ImproperlyConfigured, ImportError) as error:
            yield error


def _check_delivering(via: str) -> None:
    backend = delivering_backend(via)
    # With EMAIL_*, only the key shows whether the options fit together.
    if not mailers_configured() and hasattr(backend, "mailer_key"):
        try:
            _ = backend.mailer_key
        except ConfigurationError as error:
            raise ImproperlyConfigured(str(error)) from error


def check_database(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Report a database that lets one worker write at a time."""
    try:
        vendor = connections[outbox_database()].vendor
    except ImproperlyConfigured:
        return []  # reported by check_configuration
    if vendor != "sqlite":
        return []
    return [
        checks.Warning(
            "The outbox is in SQLite, which has no row locks: workers and views that write wait "
            "for each other.",
            hint="Use PostgreSQL or MySQL for more than one worker; on SQLite set the init_command "
            "'PRAGMA journal_mode=WAL' and a timeout of 20 seconds.",
            id="mailbackends.W013",
        )
    ]


def check_workers(
    app_configs: Any, databases: Any = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Report mail that waits for a worker when none runs."""
    try:
        if outbox_database() not in (databases or ()):
            return []
        health: OutboxHealth = check_outbox()
    except (ImproperlyConfigured, DatabaseError):
        return []  # before the first migration
    if health.workers or not health.due:
        return []
    return [
        checks.Warning(
            f"{health.due} messages in the outbox are due, and no worker has been seen.",
            hint="Run 'manage.py outbox work' as a service, or 'manage.py outbox work --once' "
            "every minute.",
            id="mailbackends.W014",
        )
    ]
