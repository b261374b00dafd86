"""For the tests of an application: its mail to a server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flask import Flask

from flask_integration.backends import SmtpBackend
from flask_integration.config import Settings
from flask_integration.state import MailState

__all__ = ["mail_to"]

# What says where to deliver and how to get there. The rest is the application's own.
_WAY = (
    "allow_cleartext_auth",
    "auth_mechanisms",
    "host",
    "password",
    "port",
    "protocol",
    "rate",
    "rate_storage",
    "security",
    "socket_path",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_context",
    "ssl_keyfile",
    "token_provider",
    "username",
)


@contextmanager
def mail_to(app: Flask, host: str, port: int, **options: Any) -> Iterator[None]:
    """Within the block all mail of ``app`` goes to this server, without TLS and login.

    That of named mailers too, and also where ``TESTING`` suppresses sending. ``options``,
    such as ``security="starttls"``, are of this server.

    Raises:
        RuntimeError: the application has no mail.
    """
    state = app.extensions.get("mail")
    if not isinstance(state, MailState):
        raise RuntimeError(
            f"mail is not set up for the application {app.name!r}: call mail.init_app(app)"
        )
    way = {"host": host, "port": port, **options}
    changed = MailState(_changed(state.settings, way), app.config)
    changed.default_sender = state.default_sender
    app.extensions["mail"] = changed
    try:
        yield
    finally:
        app.extensions["mail"] = state
        changed.close()


def _changed(settings: Settings, way: dict[str, Any]) -> Settings:
    options = settings.options
    defaults = {name: getattr(type(options), name, None) for name in _WAY}
    return replace(
        settings,
        options=options.replace(**{**defaults, **way}),
        fallbacks=(),
        backend=SmtpBackend,
        suppress=False,
        client_certificate={},
        mailers={name: _changed(named, way) for name, named in settings.mailers.items()},
    )
