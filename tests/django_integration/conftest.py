"""Django, configured for the tests; each test sets its own mail settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.test.utils import override_settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="for the tests",
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django_integration",
            "django_integration.outbox",
        ],
        # For the outbox, whose tests use other databases in its place.
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ALLOWED_HOSTS=["*"],
        DEFAULT_FROM_EMAIL="shop@example.com",
        USE_TZ=True,
    )
    django.setup()

from django_integration.registry import registry
from support.browser import Browser, browser, require
from support.server import MailServer

BACKEND = "django_integration.EmailBackend"
# The names in OPTIONS, and the setting of each.
EMAIL = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
}

Use = Callable[..., None]


@pytest.fixture(autouse=True)
def pools() -> Iterator[None]:
    """Begin and end each test without a connection."""
    registry.close()
    yield
    registry.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the tests of one module; skipped where it is not installed."""
    require()
    folder = tmp_path_factory.mktemp("chromium")
    (folder / "downloads").mkdir()
    with browser(folder / "profile", folder / "downloads") as opened:
        opened.downloads = folder / "downloads"  # type: ignore[attr-defined]
        yield opened


@pytest.fixture
def use_settings() -> Iterator[Use]:
    """Call it with settings that apply until the test ends.

    Django 6.1 warns about ``EMAIL_*`` settings when they are set. Only here that warning is
    ignored.
    """
    overrides: list[override_settings] = []

    def use(**given: Any) -> None:
        override = override_settings(**given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            override.enable()
        overrides.append(override)

    yield use
    for override in reversed(overrides):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            override.disable()


@pytest.fixture
def use_email_settings(use_settings: Use) -> Use:
    """Call it with options, to set ``EMAIL_*`` and ``MAILBACKENDS``."""

    def use(backend: str = BACKEND, **options: Any) -> None:
        more = {name: value for name, value in options.items() if name not in EMAIL}
        email = {EMAIL[name]: options[name] for name in options if name in EMAIL}
        use_settings(EMAIL_BACKEND=backend, MAILBACKENDS=more, **email)

    return use


@pytest.fixture(params=["EMAIL_*"] + ["MAILERS"] * (django.VERSION >= (6, 1)))
def use_mail(request: pytest.FixtureRequest, use_settings: Use, use_email_settings: Use) -> Use:
    """Call it with options, to set them in each way that this Django has."""
    if request.param == "EMAIL_*":
        return use_email_settings

    def use(backend: str = BACKEND, **options: Any) -> None:
        use_settings(MAILERS={"default": {"BACKEND": backend, "OPTIONS": options}})
        # Set by Django's test environment, which started without MAILERS. With both, Django's
        # error reports fail.
        del settings.EMAIL_BACKEND

    return use


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A server on loopback, without TLS and login."""
    with MailServer() as server:
        yield server


@pytest.fixture
def mail(server: MailServer, use_mail: Use) -> MailServer:
    """The server, to which Django's mail is sent."""
    use_mail(host=server.host, port=server.port)
    return server


@pytest.fixture
def secure_options() -> Callable[[MailServer], dict[str, Any]]:
    """Call it with a server to get the options for a login there."""

    def options(server: MailServer) -> dict[str, Any]:
        return {
            "host": server.host,
            "port": server.port,
            "username": "user",
            "password": "secret",
            "use_tls": server.tls == "starttls",
            "use_ssl": server.tls == "tls",
            "ssl_cafile": server.cafile,
        }

    return options
