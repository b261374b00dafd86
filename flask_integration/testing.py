"""For the tests of an application: send its mail to a server of the test."""

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

# The options that say where to deliver and how to connect; the application keeps its others.
_WAY = (
    "allow_cleartext_auth",
    "auth_mechanisms",
    "certificate_file",
    "client_id",
    "client_secret",
    "client_secret_file",
    "host",
    "managed_identity",
    "oauth",
    "password",
    "port",
    "protocol",
    "rate",
    "rate_storage",
    "refresh_token",
    "refresh_token_file",
    "security",
    "service_account_file",
    "socket_path",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_context",
    "ssl_keyfile",
    "tenant",
    "token_provider",
    "token_url",
    "username",
)


@contextmanager
def mail_to(app: Flask, host: str, port: int, **options: Any) -> Iterator[None]:
    """Send all mail of ``app`` to this server within the block, without TLS and login.

    This includes named mailers, and mail that ``TESTING`` would suppress. ``options`` are
    those of this server, such as ``security="starttls"``.

    Raises:
        RuntimeError: mail is not set up for the application.
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
