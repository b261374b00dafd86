"""Passwords of the settings, on Django's error page and in the variables of tracebacks."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import send_mail
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.views.debug import technical_500_response

from django_integration.checks import check_configuration, check_deployment
from django_integration.compat import backend_for
from mailbackends import Secret
from support.server import MailServer

Use = Callable[..., None]

PASSWORD = "S3CRET-hunter2"
urlpatterns: list[Any] = []

# Every one of them fails, with the password among the values that are read before.
MISTAKES: list[dict[str, Any]] = [
    {"host": "mail.example.com", "pool_sise": 3},
    {"host": "mail.example.com"},  # without TLS
    {"host": "mail.example.com", "use_tls": True, "timeout": "abc"},
    {"host": "mail.example.com", "use_tls": True, "use_ssl": True},
    {"host": "mail.example.com", "use_tls": "maybe"},
    {"host": "mail.example.com", "use_tls": True, "ssl_cafile": "/nowhere/ca.pem"},
    {"host": "mail.example.com", "use_tls": True, "strategy": "random"},
    {"host": "mail.example.com", "use_tls": True, "redirect_all_to": ["no address"]},
    {"host": "127.0.0.1", "port": 1},
]


def view(request: HttpRequest) -> HttpResponse:
    send_mail("s", "b", "shop@example.com", ["a@example.com"])
    return HttpResponse()


def failure(function: Callable[[], Any]) -> Any:
    try:
        function()
    except Exception:
        return sys.exc_info()
    raise AssertionError("nothing was raised")


def shown(info: Any, request: HttpRequest) -> str:
    """What error pages and error reporters show: frames with their variables, and settings."""
    lines = traceback.TracebackException(*info, capture_locals=True).format()
    with override_settings(DEBUG=True, ROOT_URLCONF=__name__):
        page = technical_500_response(request, *info).content.decode()
    return "".join(lines) + page + repr(info[1])


@pytest.mark.parametrize("options", MISTAKES)
def test_an_error_in_a_view_shows_no_password(use_mail: Use, options: dict[str, Any]) -> None:
    use_mail(username="shop", password=PASSWORD, **options)
    request = RequestFactory().get("/")
    text = shown(failure(lambda: view(request)), request)
    assert "send_mail" in text
    assert PASSWORD not in text


@pytest.mark.parametrize(
    "url",
    [
        f"smtp+starttls://shop@example.com:{PASSWORD}@mail.example.com:587?pool_sise=2",
        f"smtp+tls://shop:{PASSWORD}@mail.example.com",
        f"smtp://shop:{PASSWORD}@mail.example.com",
        f"smtp+starttls://shop:{PASSWORD}@mail.example.com:port",
    ],
)
def test_an_error_in_a_url_shows_no_password(use_mail: Use, url: str) -> None:
    # In a Secret: Django's page shows settings, and hides them by their names only.
    use_mail(url=Secret(url))
    request = RequestFactory().get("/")
    assert PASSWORD not in shown(failure(lambda: view(request)), request)
    assert PASSWORD not in str(check_configuration(None) + check_deployment(None))


def test_a_refused_login_shows_no_password(
    use_mail: Use, secure_options: Callable[[MailServer], dict[str, Any]]
) -> None:
    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        use_mail(**secure_options(server) | {"password": PASSWORD})
        request = RequestFactory().get("/")
        assert PASSWORD not in shown(failure(lambda: view(request)), request)
        assert PASSWORD not in shown(failure(lambda: backend_for().open()), request)


@pytest.mark.parametrize("options", MISTAKES)
def test_checks_and_the_doctor_show_no_password(use_mail: Use, options: dict[str, Any]) -> None:
    use_mail(username="shop", password=PASSWORD, connect_timeout=0.01, **options)
    found = check_configuration(None) + check_deployment(None)
    assert PASSWORD not in repr([(str(one), one.hint, vars(one)) for one in found])
    out = io.StringIO()
    info = failure(lambda: call_command("mail_doctor", stdout=out, no_color=True))
    assert PASSWORD not in "".join(
        traceback.TracebackException(*info, capture_locals=True).format()
    )
    assert PASSWORD not in out.getvalue()


def test_the_representations_of_a_backend_show_no_password(use_mail: Use) -> None:
    use_mail(host="mail.example.com", use_tls=True, username="shop", password=PASSWORD)
    backend = backend_for()
    shown = [backend, backend.options, backend.mailer_key, backend._configuration]
    assert PASSWORD not in repr(shown)


@pytest.mark.parametrize(
    "options",
    [
        *({"username": "shop", "password": PASSWORD, **options} for options in MISTAKES),
        {"url": f"smtp+starttls://shop@example.com:{PASSWORD}@mail.example.com:587"},
        {"url": f"smtp+tls://shop:{PASSWORD}@mail.example.com"},
        {"url": f"smtp://shop:{PASSWORD}@mail.example.com"},
        {"url": [f"smtps://shop:{PASSWORD}@127.0.0.1:1", f"smtp:/shop:{PASSWORD}@b.example"]},
    ],
)
def test_no_variable_of_ours_shows_a_password_that_is_given_as_text(
    use_mail: Use, options: dict[str, Any]
) -> None:
    use_mail(**options)
    info = failure(lambda: view(RequestFactory().get("/")))
    assert PASSWORD not in str(info[1])
    error: BaseException | None = info[1]
    while error is not None:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        ours = [
            one for one in frames if "_integration/" in one.filename or "functools" in one.filename
        ]
        ours = [one for one in ours if "/tests/" not in one.filename]
        ours += [one for one in frames if "/mailbackends/" in one.filename]
        for frame in ours:
            assert PASSWORD not in str(frame.locals), (frame.filename, frame.name)
        error = error.__cause__ or error.__context__


@pytest.mark.skipif(django.VERSION < (6, 1), reason="there are no MAILERS before Django 6.1")
def test_options_with_a_password_as_text_are_refused_when_the_backend_is_used(
    use_settings: Use,
) -> None:
    def use(password: str | Secret) -> None:
        options = {"host": "h", "username": "shop", "password": password, "pool_size": 0}
        backend = "django_integration.EmailBackend"
        use_settings(MAILERS={"default": {"BACKEND": backend, "OPTIONS": options}})

    use(Secret(PASSWORD))
    with pytest.raises(ImproperlyConfigured, match="pool_size"):
        backend_for()
    use(PASSWORD)
    backend = backend_for()
    for method in (backend.open, lambda: backend.options, lambda: backend.send_messages([1])):
        with pytest.raises(ImproperlyConfigured, match="pool_size"):
            method()
