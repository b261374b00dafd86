"""Fixtures: Flask applications and the real servers they send to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("flask", reason="the Flask integration needs Flask")

from flask import Flask

from flask_integration import MailState
from support.server import MailServer

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Make an application with the given ``MAIL_`` settings; closes its connections after."""
    made: list[Flask] = []

    def make(**config: Any) -> Flask:
        app = Flask(f"app{len(made)}", root_path="/nowhere")
        app.config.update(MAIL_DEFAULT_SENDER="Shop <shop@example.com>")
        app.config.update(config)
        made.append(app)
        return app

    yield make
    for app in made:
        state = app.extensions.get("mail")
        if isinstance(state, MailState):  # not Flask-Mail's
            state.close()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with TESTING, which sends nothing."""
    return make_app(TESTING=True)


def settings_for(server: MailServer) -> dict[str, Any]:
    """Flask-Mail's settings for ``server``, and ours for its certificate."""
    settings: dict[str, Any] = {
        "MAIL_SERVER": server.host,
        "MAIL_PORT": server.port,
        "MAIL_USE_TLS": server.tls == "starttls",
        "MAIL_USE_SSL": server.tls == "tls",
    }
    if server.tls != "none":
        settings["MAIL_SSL_CAFILE"] = server.cafile
    if server.login:
        settings["MAIL_USERNAME"], settings["MAIL_PASSWORD"] = server.login
    return settings


@pytest.fixture
def secure_settings(secure_server: MailServer) -> dict[str, Any]:
    """The settings for ``secure_server``: STARTTLS and a login."""
    return settings_for(secure_server)


@pytest.fixture
def settings(mail_server: MailServer) -> dict[str, Any]:
    """The settings for ``mail_server``: neither TLS nor a login."""
    return settings_for(mail_server)
