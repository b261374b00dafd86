"""System checks: ``manage.py check``, and ``check --deploy`` for what production needs.

=====================  ================================================================
``mailbackends.E001``  an option is unknown, unusable or contradicts another
``mailbackends.E002``  (deploy) mail is not sent: console, file, dummy, locmem or mailbox
``mailbackends.E003``  a backend cannot be imported
``mailbackends.W001``  (deploy) no TLS to a server on another machine
``mailbackends.W002``  (deploy) credentials are sent without encryption
``mailbackends.W003``  (deploy) a wait has no limit
``mailbackends.W004``  (deploy) an option for staging is set
``mailbackends.W005``  a user name without a password: no login
``mailbackends.W006``  ``MAILBACKENDS`` is not read since ``MAILERS`` is set, but for ``outbox``
``mailbackends.W007``  a client certificate without TLS is not used
``mailbackends.W008``  a switch such as ``EMAIL_USE_TLS`` is text
``mailbackends.W009``  a password without a user name: no login
``mailbackends.W010``  port 465 without ``use_ssl``, or port 587 with it
``mailbackends.W011``  (deploy) the sender is Django's default, at localhost
``mailbackends.E004``  ``MAILBACKENDS_UNSUBSCRIBE_URL`` is not a https URL
``mailbackends.W012``  (deploy) links for unsubscribing without ``dkim``
=====================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_integration.addresses import is_local_default
from django_integration.backend import EmailBackend
from django_integration.compat import (
    backend_for,
    backends_configured,
    current_settings,
    mailers_configured,
    misspelled_mailers,
)
from django_integration.settings import ATTRIBUTES, BOOLEANS
from django_integration.unsubscribe.checks import check_link, check_signatures
from mailbackends import ConfigurationError, Mailer, Options
from mailbackends.integration import nearest

__all__ = ["check_configuration", "check_deployment", "register"]

_TAG = "mail"  # Django 6.1's own
_DJANGO = "django.core.mail.backends.{}.EmailBackend"
_NOT_SENDING = {*map(_DJANGO.format, ("console", "dummy", "filebased", "locmem"))}


_BACKENDS = sorted(
    {
        "django_integration.EmailBackend",
        "django_integration.mailbox.EmailBackend",
        _DJANGO.format("smtp"),
        *_NOT_SENDING,
    }
)
_MAILBOX_NEEDS = ("aiosmtpd", "jinja2", "markupsafe", "nh3")
# The options that are True or False.
_SWITCHES = (*BOOLEANS, *(n for n in Options.known() if type(getattr(Options, n, None)) is bool))


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_configuration, _TAG)
    checks.register(check_deployment, _TAG, deploy=True)


def check_configuration(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find options that cannot work, or do not do what they seem to do."""
    found: list[checks.CheckMessage] = []
    if mailers_configured() and set(getattr(settings, "MAILBACKENDS", None) or ()) - {"outbox"}:
        found.append(
            checks.Warning(
                "MAILBACKENDS is not read, since MAILERS is set.",
                hint="Move its entries into the OPTIONS of the mailers that need them.",
                id="mailbackends.W006",
            )
        )
    found += [
        checks.Error(f"{_where(alias)}: {text}", id="mailbackends.E001")
        for alias, text in misspelled_mailers()
    ]
    found += _check_imports()
    found += check_link()
    for alias, backend_class, options in _ours():
        found += _check_switches(alias, options)
        try:
            if backend_class.is_for_development:
                backend_class.check_settings()
                continue
            backend = _made(alias)
            found += _check_login(backend, alias)
            found += _check_certificate(backend, alias)
            servers = backend.mailer_key.servers
            found += [warning for server in servers for warning in _check_port(server, alias)]
            # Only the Mailer reads the files: a missing certificate, for example.
            Mailer(servers).close()
        except (ImproperlyConfigured, ConfigurationError) as error:
            text = str(error)
            if alias is not None and not text.startswith(_where(alias)):
                text = f"{_where(alias)}: {text}"
            found.append(
                checks.Error(
                    text,
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
    for alias, backend_class, _ in _ours():
        if backend_class.is_for_development:
            found.append(
                checks.Error(
                    f"{_where(alias)} sends no mail: the mailbox keeps it in this process.",
                    hint='Use "django_integration.EmailBackend" in production.',
                    id="mailbackends.E002",
                )
            )
            continue
        found += _check_senders(found)
        try:
            backend = _made(alias)
            servers = backend.mailer_key.servers
        except (ImproperlyConfigured, ConfigurationError):
            continue  # reported by check_configuration
        for options in servers:
            found += _check_tls(options, alias)
        found += _check_limits(servers[0], alias)
        found += check_signatures(servers, _where(alias))
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


def _check_imports() -> Iterator[checks.CheckMessage]:
    for alias, (path, _) in backends_configured().items():
        ours = [each for each in _BACKENDS if "django_integration" in each]
        try:
            if not isinstance(import_string(path), type):
                yield checks.Error(
                    f"{_where(alias)}: the backend {path!r} is not a class.",
                    hint=f'Write "{nearest(path, ours) or ours[0]}".',
                    id="mailbackends.E003",
                )
        except ImportError as error:
            if getattr(error, "name", None) in _MAILBOX_NEEDS:
                hint = 'Install the extra: python -m pip install "mailbackends[mailbox]"'
            else:
                near = nearest(path, _BACKENDS if "django.core" in path else ours)
                near = near or (ours[0] if path.startswith("mailbackends") else None)
                hint = f'Write "{near}".' if near else "Write the path of a class."
            yield checks.Error(
                f"{_where(alias)}: the backend {path!r} cannot be imported: {error}.",
                hint=hint,
                id="mailbackends.E003",
            )


def _check_switches(alias: str | None, options: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    """Text is read by its meaning; Django's own backend treats any text as True."""
    given = {f"OPTIONS[{name!r}]": options.get(name) for name in _SWITCHES}
    if alias is None:
        more = getattr(settings, "MAILBACKENDS", None)
        given = {
            **{ATTRIBUTES[n]: getattr(current_settings(), ATTRIBUTES[n]) for n in BOOLEANS},
            **{f"MAILBACKENDS[{n!r}]": more.get(n) for n in _SWITCHES if isinstance(more, Mapping)},
        }
    for setting, value in given.items():
        if isinstance(value, str):
            place = setting if alias is None else f"{_where(alias)}: {setting}"
            yield checks.Warning(
                f"{place} is the text {value!r}, not True or False.",
                hint="Write True or False; from the environment: "
                'os.environ.get("NAME", "").lower() == "true".',
                id="mailbackends.W008",
            )


def _check_login(backend: EmailBackend, alias: str | None) -> Iterator[checks.CheckMessage]:
    if backend.username and backend.options.username is None:
        yield checks.Warning(
            f"{_where(alias)} has a user name but no password: no login is made.",
            hint=backend.options.wording.sentence("set {password}, or remove {username}"),
            id="mailbackends.W005",
        )
    if backend.password and not backend.username:
        yield checks.Warning(
            f"{_where(alias)} has a password but no user name: no login is made.",
            hint=backend.options.wording.sentence("set {username}, or remove {password}"),
            id="mailbackends.W009",
        )


def _check_port(options: Options, alias: str | None) -> Iterator[checks.CheckMessage]:
    """The ports of RFC 8314: 465 is TLS from the first byte, 587 is STARTTLS."""
    if options.socket_path is not None:
        return
    if options.port == 465 and options.security != "tls":
        used = "STARTTLS" if options.security == "starttls" else "no TLS"
        yield checks.Warning(
            f"{_where(alias)} uses {used} on port 465, where servers expect TLS from the "
            "first byte: the connection would time out.",
            hint=options.wording.sentence("{use_tls}, or set {port} to 587 for STARTTLS"),
            id="mailbackends.W010",
        )
    if options.port == 587 and options.security == "tls":
        yield checks.Warning(
            f"{_where(alias)} uses TLS from the first byte on port 587, where "
            "servers expect STARTTLS: the TLS handshake would fail.",
            hint=options.wording.sentence("{use_starttls}, or set {port} to 465"),
            id="mailbackends.W010",
        )


def _check_senders(found: list[checks.CheckMessage]) -> Iterator[checks.CheckMessage]:
    if any(message.id == "mailbackends.W011" for message in found):
        return
    senders = {"DEFAULT_FROM_EMAIL": settings.DEFAULT_FROM_EMAIL}
    if settings.ADMINS or settings.MANAGERS:
        senders["SERVER_EMAIL"] = settings.SERVER_EMAIL
    for name, sender in senders.items():
        if is_local_default(sender):
            yield checks.Warning(
                f"{name} is {sender!r}: many servers refuse this sender, and nobody can reply.",
                hint=f"Set {name} to an address in a domain that you send for.",
                id="mailbackends.W011",
            )


def _check_certificate(backend: EmailBackend, alias: str | None) -> Iterator[checks.CheckMessage]:
    given = [name for name in ("ssl_certfile", "ssl_keyfile") if getattr(backend, name)]
    if given and not (backend.use_tls or backend.use_ssl):
        yield checks.Warning(
            f"{_where(alias)} has {' and '.join(given)} set, but not TLS: they are not used.",
            hint=backend.options.wording.sentence(
                "{use_starttls} (port 587) or {use_tls} (port 465), or remove "
                + " and ".join(f"{{{name}}}" for name in given),
            ),
            id="mailbackends.W007",
        )


def _check_tls(options: Options, alias: str | None) -> Iterator[checks.CheckMessage]:
    if options.security != "none" or options.is_local:
        return
    yield checks.Warning(
        f"{_where(alias)} sends mail to {options.server} without TLS.",
        hint=options.wording.sentence("{use_starttls} (port 587), or {use_tls} (port 465)"),
        id="mailbackends.W001",
    )
    if options.username is not None:
        yield checks.Warning(
            f"{_where(alias)} sends user name and password to {options.server} without encryption.",
            hint=options.wording.sentence("{use_any_tls}, and remove {allow_cleartext_auth}"),
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
            hint=options.wording.sentence(
                "remove "
                + ", ".join(f"{{{name}}}" for name in unlimited)
                + " to use the defaults, or set a number of seconds",
            ),
            id="mailbackends.W003",
        )


def _ours() -> Iterator[tuple[str | None, type[EmailBackend], dict[str, Any]]]:
    misspelled = {alias for alias, _ in misspelled_mailers()}
    for alias, (path, options) in backends_configured().items():
        if alias in misspelled:
            continue  # reported by check_configuration
        try:
            backend_class = import_string(path)
        except ImportError:
            continue  # reported by check_configuration
        if isinstance(backend_class, type) and issubclass(backend_class, EmailBackend):
            yield alias, backend_class, options


def _made(alias: str | None) -> EmailBackend:
    backend: EmailBackend = backend_for(alias)
    return backend


def _where(alias: str | None) -> str:
    return "EMAIL_BACKEND" if alias is None else f"MAILERS[{alias!r}]"
