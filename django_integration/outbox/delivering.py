"""Which mailer delivers, and the backend behind each alias in the rows."""

from __future__ import annotations

from typing import Any

from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from django_integration.compat import (
    backend_for,
    backends_configured,
    configuration_error,
    mailers_configured,
)
from django_integration.outbox.configuration import DELIVERING_ALIAS, outbox_settings

__all__ = ["default_via", "delivering_aliases", "delivering_backend", "is_outbox"]


def default_via() -> str:
    """The alias of the mailer that delivers where none is given.

    Raises:
        ImproperlyConfigured: there is none.
    """
    if not mailers_configured():
        return DELIVERING_ALIAS
    via = outbox_settings().via
    if via is None:
        configured = backends_configured()
        path, options = configured.get("default", ("", {}))
        if not is_outbox(path):
            return "default"
        via = options.get("via")
    if via is None:
        raise configuration_error(
            "The outbox needs a mailer that delivers: add 'via' to the OPTIONS, such as "
            '{"via": "smtp"}, and that alias to MAILERS.',
            "default",
        )
    return str(via)


def is_outbox(path: str) -> bool:
    """True for the path of a backend that queues."""
    try:
        found = import_string(path)
    except ImportError:
        return False
    return bool(getattr(found, "queues_mail", False))


def delivering_aliases() -> list[str]:
    """All aliases that can be in rows: those of the mailers that do not queue."""
    if not mailers_configured():
        return [DELIVERING_ALIAS]
    return sorted(
        str(alias) for alias, (path, _) in backends_configured().items() if not is_outbox(path)
    )


def delivering_backend(alias: str) -> Any:
    """A new backend that delivers the mail of this alias.

    Raises:
        ImproperlyConfigured: the alias does not exist, or its mailer queues.
    """
    if mailers_configured():
        path = backends_configured().get(alias, ("", {}))[0]
        if is_outbox(path):
            raise configuration_error(
                f"The mailer {alias!r} queues mail itself, and cannot deliver it: give the alias "
                "of a mailer with another BACKEND in 'via'.",
                alias,
            )
        return backend_for(alias)
    path = outbox_settings().backend
    if is_outbox(path):
        raise configuration_error(
            f"MAILBACKENDS['outbox']['backend'] is {path!r}, which queues mail and cannot deliver "
            'it: use "django_integration.EmailBackend".',
            None,
        )
    # Called by Django, since Django 6.1 warns of applications that make backends.
    made: Any = SimpleLazyObject(import_string(path))
    made._setup()
    return made._wrapped
