"""MAIL_MIN_IDLE: connections that are ready before the first message."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_integration import Mail, Message
from support.server import MailServer

from .conftest import MakeApp, settings_for

PAGE = Path(__file__).parents[2] / "docs" / "upkeep.md"


def test_warm_up_opens_the_connections_that_mail_then_uses(make_app: MakeApp) -> None:
    with MailServer() as server:
        app = make_app(**settings_for(server), MAIL_MIN_IDLE=2)
        mail = Mail(app)
        assert mail.warm_up(10) == 2
        for _ in range(3):
            mail.send_message("s", recipients=["a@example.com"], body="b")
        assert len(server.messages) == 3
        assert server.connections == 2
        [stats] = app.extensions["mail"].backend.stats()
        assert (stats.pool.opened_ahead, stats.pool.made) == (2, 2)
        mail.close()


def test_warm_up_is_for_named_mailers_too(make_app: MakeApp) -> None:
    with MailServer() as server:
        here = {"SERVER": server.host, "PORT": server.port}
        named = {"bulk": {**here, "MIN_IDLE": 1}, "other": here}
        app = make_app(**settings_for(server), MAIL_MIN_IDLE=2, MAIL_MAILERS=named)
        mail = Mail(app)
        assert mail.warm_up(10) == 3
        assert server.connections == 3


def test_warm_up_leaves_an_application_without_the_option_alone(make_app: MakeApp) -> None:
    with MailServer() as server:
        mail = Mail(make_app(**settings_for(server)))
        assert mail.warm_up(10) == 0
        assert server.connections == 0


def test_nothing_is_opened_where_sending_is_suppressed(app: Flask) -> None:
    app.config["MAIL_MIN_IDLE"] = 1
    assert Mail(app).warm_up(10) == 0


def test_each_event_loop_has_its_upkeep(make_app: MakeApp) -> None:
    with MailServer() as server:
        app = make_app(**settings_for(server), MAIL_MIN_IDLE=1)
        mail = Mail(app)

        async def send() -> None:
            with app.app_context():
                for _ in range(2):
                    await mail.asend(Message("s", recipients=["a@example.com"], body="b"))

        asyncio.run(send())
        assert len(server.messages) == 2
        assert server.connections == 1


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not here")
def test_the_sample_for_flask() -> None:
    code = PAGE.read_text("utf-8").partition("# flask_app.py\n")[2].partition("```")[0]
    with MailServer() as server:
        code = code.replace("MAIL_USE_TLS=True", f"MAIL_PORT={server.port}")
        names: dict[str, Any] = {"__name__": "flask_app"}
        exec(compile(code.replace("smtp.example.com", server.host), str(PAGE), "exec"), names)  # noqa: S102
        names["post_fork"](None, None)
        assert names["mail"].warm_up(10) == 2
        assert server.connections == 2
        names["mail"].close()
