"""For the tests of a project: its mail to a server of the test's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from django.conf import settings
from django.test.utils import _TestState, override_settings

from django_integration.compat import mailers_configured
from django_integration.options import BEHAVIOUR

__all__ = ["mail_to"]

_BACKEND = "django_integration.EmailBackend"


@contextmanager
def mail_to(
    host: str,
    port: int,
    *,
    security: Literal["none", "starttls", "tls"] = "none",
    username: str = "",
    password: str = "",
    ssl_cafile: str | None = None,
) -> Iterator[None]:
    """Within the block all mail of Django goes to this server, by default without TLS and login.

    Every alias in ``MAILERS`` does, also where Django's test runner has put the backend that
    fills ``mail.outbox``. What concerns staging and partial refusals stays as it is set.
    """
    way: dict[str, Any] = {"host": host, "port": port}
    if username:
        way |= {"username": username, "password": password}
    further = {"ssl_cafile": ssl_cafile} if ssl_cafile else {}
    override = override_settings(**_changes(way, security, further))
    with _without_djangos_warning():
        override.enable()
    try:
        yield
    finally:
        with _without_djangos_warning():
            override.disable()


def _changes(way: dict[str, Any], security: str, further: dict[str, Any]) -> dict[str, Any]:
    uses = {"use_tls": security == "starttls", "use_ssl": security == "tls"}
    if mailers_configured():
        mailers: Mapping[str, Any] = settings.MAILERS
        return {
            "MAILERS": {
                alias: {
                    "BACKEND": _BACKEND,
                    "OPTIONS": {**_behaviour(config.get("OPTIONS")), **way, **uses, **further},
                }
                for alias, config in {"default": {}, **mailers, **_as_the_project_set()}.items()
            }
        }
    return {
        "EMAIL_BACKEND": _BACKEND,
        "EMAIL_HOST": way["host"],
        "EMAIL_PORT": way["port"],
        "EMAIL_HOST_USER": way.get("username", ""),
        "EMAIL_HOST_PASSWORD": way.get("password", ""),
        "EMAIL_USE_TLS": uses["use_tls"],
        "EMAIL_USE_SSL": uses["use_ssl"],
        "EMAIL_SSL_CERTFILE": None,
        "EMAIL_SSL_KEYFILE": None,
        "MAILBACKENDS": {**_behaviour(getattr(settings, "MAILBACKENDS", None)), **further},
    }


def _as_the_project_set() -> Mapping[str, Any]:
    """``MAILERS`` before Django's test environment put its own there, without OPTIONS."""
    saved = getattr(_TestState, "saved_data", None)
    return getattr(saved, "mailers", None) or {}


def _behaviour(options: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (options or {}).items() if name in BEHAVIOUR}


@contextmanager
def _without_djangos_warning() -> Iterator[None]:
    """Django 6.1 warns of EMAIL_*; the project has been warned where it set them."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield
