"""Each mistake in tests/support/mistakes.toml, made in a Flask application."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest
from flask import Flask

from flask_integration import Mail, Message
from support.mistakes import Case, cases, check, filled, place_for, steps_that_say_something


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, id=f"{each.mistake}, {each.setup}") for each in cases("flask")],
)
def test_the_error_for_a_mistake_suggests_a_fix(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.prepare(monkeypatch)
    for name, value in case.setup.get("environment", {}).items():
        monkeypatch.setenv(name, value)
    with place_for(case.server) as place:
        setup = filled(case.setup, place)
        said = what_is_said(setup)
        check(case, said, place)
        if setup.get("do", "send") == "send":
            assert what_is_said(setup, in_a_loop=True) == said


def what_is_said(setup: dict[str, Any], *, in_a_loop: bool = False) -> str:
    app = Flask("shop", root_path="/nowhere")
    app.config["MAIL_DEFAULT_SENDER"] = "shop@example.com"
    app.config.from_prefixed_env()
    app.config.update(setup.get("config", {}))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            text = _done(app, setup, in_a_loop=in_a_loop)
        except (OSError, ValueError, TypeError, ImportError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
    shown = [f"{each.category.__name__}: {each.message}" for each in warned]
    return "\n".join([*shown, *([text] if text else [])])


def _done(app: Flask, setup: dict[str, Any], *, in_a_loop: bool) -> str:
    mail = Mail(app)
    do = setup.get("do", "send")
    if do == "init":
        return ""
    if do == "doctor":
        result = app.test_cli_runner().invoke(args=["mail", "doctor", "--json"])
        if not result.stdout.startswith("{"):
            return str(result.output).strip()
        places = json.loads(result.stdout)["places"]
        return steps_that_say_something([step for each in places for step in each["steps"]])
    with app.app_context():
        message = Message(
            setup.get("subject", "Hello"),
            setup.get("to", ["ada@example.com"]),
            body="Text",
            sender=setup.get("sender"),
        )
        if "attach" in setup:
            message.attach(*setup["attach"])
        mail.send(message) if not in_a_loop else asyncio.run(mail.asend(message))
    return "sent"
