"""For tests of a project: send its mail to the test's own server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from django.conf import settings
from django.test.utils import _TestState, override_settings

from django_integration.compat import mailers_configured
from django_integration.settings import BEHAVIOUR

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
    """Within the block, all mail of Django is sent to this server.

    This applies to every alias in ``MAILERS``, and replaces the backend of Django's test
    runner that fills ``mail.outbox``. Options for staging and partial refusals stay as set.
    """
    server: dict[str, Any] = {"host": host, "port": port}
    if username:
        server |= {"username": username, "password": password}
    further = {"ssl_cafile": ssl_cafile} if ssl_cafile else {}
    override = override_settings(**_changes(server, security, further))
    with _ignore_email_warnings():
        override.enable()
    try:
        yield
    finally:
        with _ignore_email_warnings():
            override.disable()


def _changes(server: dict[str, Any], security: str, further: dict[str, Any]) -> dict[str, Any]:
    uses = {"use_tls": security == "starttls", "use_ssl": security == "tls"}
    if mailers_configured():
        mailers: Mapping[str, Any] = settings.MAILERS
        return {
            "MAILERS": {
                alias: {
                    "BACKEND": _BACKEND,
                    "OPTIONS": {**_behaviour(config.get("OPTIONS")), **server, **uses, **further},
                }
                for alias, config in {"default": {}, **mailers, **_as_the_project_set()}.items()
            }
        }
    return {
        "EMAIL_BACKEND": _BACKEND,
        "EMAIL_HOST": server["host"],
        "EMAIL_PORT": server["port"],
        "EMAIL_HOST_USER": server.get("username", ""),
        "EMAIL_HOST_PASSWORD": server.get("password", ""),
        "EMAIL_USE_TLS": uses["use_tls"],
        "EMAIL_USE_SSL": uses["use_ssl"],
        "EMAIL_SSL_CERTFILE": None,
        "EMAIL_SSL_KEYFILE": None,
        "MAILBACKENDS": {**_behaviour(getattr(settings, "MAILBACKENDS", None)), **further},
    }


def _as_the_project_set() -> Mapping[str, Any]:
    """``MAILERS`` before Django's test environment replaced it."""
    saved = getattr(_TestState, "saved_data", None)
    return getattr(saved, "mailers", None) or {}


def _behaviour(options: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (options or {}).items() if name in BEHAVIOUR}


@contextmanager
def _ignore_email_warnings() -> Iterator[None]:
    """Ignore Django 6.1's warnings of EMAIL_*: the project gets them where it sets them."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield
