"""A small tea shop on Flask that sends mail with `flask_integration`.

Run it from the folder above::

    python -m flask --app flask_shop run

Without MAIL_DEMO_HOST it prints its mail in the terminal. See `config` for the settings. With
the outbox, an order and its confirmation are stored together, and a worker sends the mail::

    export SHOP_DATABASE=sqlite:////tmp/shop.sqlite3
    python -m flask --app flask_shop mail outbox create-tables
    python -m flask --app flask_shop run
    python -m flask --app flask_shop mail outbox work   # in another terminal
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from flask_integration import unsubscribe
from flask_integration.suppression import suppression_of

from . import commands, config, errors, log, views
from .extensions import mail

__all__ = ["create_app"]


def create_app(settings: Mapping[str, Any] | None = None) -> Flask:
    """The application; ``settings`` take precedence over those from the environment."""
    app = Flask("flask_shop", root_path=str(config.FOLDER))
    app.config.from_mapping(config.from_environment())
    app.config.from_mapping(settings)
    mail.init_app(app)
    log.listen(app)
    app.register_blueprint(views.blueprint)
    if app.config.get("MAIL_UNSUBSCRIBE_URL"):
        app.register_blueprint(unsubscribe.blueprint)
        suppression_of(app).create_tables()
    if app.config["MAIL_BACKEND"] == "mailbox":
        from flask_integration import mailbox  # needs the extra of that name

        app.register_blueprint(mailbox.blueprint)
    app.cli.add_command(commands.send_newsletter)
    errors.register(app)
    return app
