"""Each mistake in tests/support/mistakes.toml, made in a Django project."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import send_mail
from django.core.management import CommandError, call_command

from django_integration import asend_mail
from support.mistakes import Case, cases, check, filled, place_for, steps_that_say_something

Use = Callable[..., None]
_ERRORS = (OSError, TypeError, ValueError, ImproperlyConfigured, ImportError)

WAYS = ["email"] + ["mailers"] * (django.VERSION >= (6, 1))


def pairs() -> list[Any]:
    found = []
    for case in cases("django"):
        for way in WAYS:
            if way in case.setup.get("ways", WAYS):
                name = f"{case.mistake}, {case.setup.get('do', 'send')}, {way}"
                found.append(pytest.param(case, way, id=name))
    return found


@pytest.mark.parametrize(("case", "way"), pairs())
def test_the_error_for_a_mistake_suggests_a_fix(
    case: Case,
    way: str,
    use_settings: Use,
    use_email_settings: Use,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case.prepare(monkeypatch)
    with place_for(case.server) as place:
        setup = filled(case.setup, place)
        backend = setup.get("backend", "django_integration.EmailBackend")
        use_settings(**setup.get("settings", {}))
        if way == "email":
            use_email_settings(backend, **setup.get("options", {}))
        else:
            options = setup.get("options", {})
            use_settings(MAILERS={"default": {"BACKEND": backend, "OPTIONS": options}})
            from django.conf import settings

            del settings.EMAIL_BACKEND
        said = what_is_said(setup)
        check(case, said, place, way)
        if setup.get("do", "send") == "send":
            assert asyncio.run(said_in_a_loop(setup)) == said


def what_is_said(setup: dict[str, Any]) -> str:
    do = setup.get("do", "send")
    if do.startswith("check"):
        found = checks.run_checks(tags=["mail"], include_deployment_checks="--deploy" in do)
        # W013 is about the outbox of the project that the tests run in.
        ours = [each for each in found if str(each.id).startswith("mailbackends.")]
        ours = [each for each in ours if each.id != "mailbackends.W013"]
        return "\n".join(f"({each.id}) {each.msg}\n    HINT: {each.hint}" for each in ours)
    if do == "mail_doctor":
        output = io.StringIO()
        try:
            call_command("mail_doctor", "--json", stdout=output)
        except CommandError as error:
            if not output.getvalue():
                return f"CommandError: {error}"
        return steps_that_say_something(json.loads(output.getvalue())["steps"])
    try:
        return f"{send_mail(*mail_of(setup))} sent"
    except _ERRORS as error:
        return f"{type(error).__name__}: {error}"


async def said_in_a_loop(setup: dict[str, Any]) -> str:
    try:
        return f"{await asend_mail(*mail_of(setup))} sent"
    except _ERRORS as error:
        return f"{type(error).__name__}: {error}"


def mail_of(setup: dict[str, Any]) -> tuple[str, str, str | None, list[str]]:
    to = setup.get("to", ["ada@example.com"])
    return setup.get("subject", "Hello"), "Text", setup.get("sender"), to


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS is new in Django 6.1")
@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"OPTIONS": ["host"]}, "MAILERS['default']: OPTIONS must be a dictionary"),
        ({"OPTION": {"host": "h"}}, "the key 'OPTION' is not read: move it into OPTIONS"),
        ({"HOST": "h"}, "the key 'HOST' is not read: move it into OPTIONS"),
    ],
)
def test_an_entry_of_mailers_that_django_does_not_read_is_found(
    entry: dict[str, Any], words: str, use_settings: Use
) -> None:
    use_settings(MAILERS={"default": {"BACKEND": "django_integration.EmailBackend", **entry}})
    assert words in what_is_said({"do": "check"})
