"""System checks: ``manage.py check``, and ``check --deploy`` for what production needs.

=====================  ================================================================
``mailbackends.E001``  an option is unknown, unusable or contradicts another
``mailbackends.E002``  (deploy) mail is not sent: console, file, dummy or locmem backend
``mailbackends.W001``  (deploy) no TLS to a server on another machine
``mailbackends.W002``  (deploy) credentials are sent without encryption
``mailbackends.W003``  (deploy) a wait has no limit
``mailbackends.W004``  (deploy) an option for staging is set
``mailbackends.W005``  a user name without a password: no login
``mailbackends.W006``  ``MAILBACKENDS`` is not read since ``MAILERS`` is set
``mailbackends.W007``  a client certificate without TLS is not used
=====================  ================================================================
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_integration.backend import EmailBackend
from django_integration.compat import backend_for, backends_configured, mailers_configured
from mailbackends import ConfigurationError, Mailer, Options

__all__ = ["check_configuration", "check_deployment", "register"]

_TAG = "mail"  # Django 6.1's own
_NOT_SENDING = {
    f"django.core.mail.backends.{name}.EmailBackend"
    for name in ("console", "dummy", "filebased", "locmem")
}


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_configuration, _TAG)
    checks.register(check_deployment, _TAG, deploy=True)


def check_configuration(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find options that cannot work, or do not do what they seem to do."""
    found: list[checks.CheckMessage] = []
    if mailers_configured() and getattr(settings, "MAILBACKENDS", None):
        found.append(
            checks.Warning(
                "MAILBACKENDS is not read, since MAILERS is set.",
                hint="Move its entries into the OPTIONS of the mailers that need them.",
                id="mailbackends.W006",
            )
        )
    for alias, _ in _ours():
        try:
            backend = _made(alias)
            found += _check_login(backend, alias)
            found += _check_certificate(backend, alias)
            # Only the Mailer reads the files: a missing certificate, for example.
            Mailer(backend.mailer_key.servers).close()
        except (ImproperlyConfigured, ConfigurationError) as error:
            found.append(
                checks.Error(
                    str(error),
                    hint="Change " + ("MAILERS." if alias else "EMAIL_* or MAILBACKENDS."),
                    id="mailbackends.E001",
                )
            )
    return found


def check_deployment(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find settings that production should not have."""
    found: list[checks.CheckMessage] = []
    for alias, (path, _) in backends_configured().items():
        # Django 6.1 reports its default mailer itself (mail.E001).
        if path in _NOT_SENDING and alias != "default":
            found.append(
                checks.Error(
                    f"{_where(alias)} sends no mail: its backend is {path}.",
                    hint='Use "django_integration.EmailBackend" in production.',
                    id="mailbackends.E002",
                )
            )
    for alias, _ in _ours():
        try:
            backend = _made(alias)
            servers = backend.mailer_key.servers
        except (ImproperlyConfigured, ConfigurationError):
            continue  # reported by check_configuration
        for options in servers:
            found += _check_tls(options, alias)
        found += _check_limits(servers[0], alias)
        if backend.staging.is_active:
            found.append(
                checks.Warning(
                    f"{_where(alias)} has 'redirect_all_to' or 'allowed_recipients' set: "
                    "mail does not reach its recipients.",
                    hint="Remove these options in production: they are for staging systems.",
                    id="mailbackends.W004",
                )
            )
    return found


def _check_login(backend: EmailBackend, alias: str | None) -> Iterator[checks.CheckMessage]:
    if backend.username and backend.options.username is None:
        yield checks.Warning(
            f"{_where(alias)} has a user name but no password: no login is made.",
            hint="Set the password, or remove the user name.",
            id="mailbackends.W005",
        )


def _check_certificate(backend: EmailBackend, alias: str | None) -> Iterator[checks.CheckMessage]:
    given = [name for name in ("ssl_certfile", "ssl_keyfile") if getattr(backend, name)]
    if given and not (backend.use_tls or backend.use_ssl):
        yield checks.Warning(
            f"{_where(alias)} has {' and '.join(given)} set, but not TLS: they are not used.",
            hint="Set use_tls (STARTTLS, port 587) or use_ssl (port 465), or remove them.",
            id="mailbackends.W007",
        )


def _check_tls(options: Options, alias: str | None) -> Iterator[checks.CheckMessage]:
    if options.security != "none" or _is_on_this_machine(options):
        return
    yield checks.Warning(
        f"{_where(alias)} sends mail to {options.server} without TLS.",
        hint="Set use_tls (STARTTLS, port 587) or use_ssl (port 465).",
        id="mailbackends.W001",
    )
    if options.username is not None:
        yield checks.Warning(
            f"{_where(alias)} sends user name and password to {options.server} without encryption.",
            hint="Set use_tls or use_ssl, and remove allow_cleartext_auth.",
            id="mailbackends.W002",
        )


def _check_limits(options: Options, alias: str | None) -> Iterator[checks.CheckMessage]:
    unlimited = [
        name
        for name in ("timeout", "content_timeout", "deadline", "pool_timeout")
        if getattr(options, name) is None
    ]
    if unlimited:
        yield checks.Warning(
            f"{_where(alias)} has no limit for {', '.join(unlimited)}: a server that does not "
            "answer would block a request for ever.",
            hint="Remove them to use the defaults, or set a number of seconds.",
            id="mailbackends.W003",
        )


def _ours() -> Iterator[tuple[str | None, dict[str, Any]]]:
    for alias, (path, options) in backends_configured().items():
        try:
            backend_class = import_string(path)
        except ImportError:
            continue  # Django reports it when the backend is used
        if isinstance(backend_class, type) and issubclass(backend_class, EmailBackend):
            yield alias, options


def _made(alias: str | None) -> EmailBackend:
    backend: EmailBackend = backend_for(alias)
    return backend


def _where(alias: str | None) -> str:
    return "EMAIL_BACKEND" if alias is None else f"MAILERS[{alias!r}]"


def _is_on_this_machine(options: Options) -> bool:
    if options.socket_path is not None or options.host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(options.host.strip("[]")).is_loopback
    except ValueError:
        return False
