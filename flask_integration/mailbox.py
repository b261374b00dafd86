"""The mailbox in an application, for development.

``app.register_blueprint(flask_integration.mailbox.blueprint)`` serves it at ``/mailbox/``,
and ``MAIL_BACKEND = "mailbox"`` sends all mail there. It needs the extra ``mailbox`` and
works only in debug mode. Its configuration:

========================  ==========================================================
MAILBOX_PATH              an SQLite file; by default mail is stored in memory
MAILBOX_KEEP              the number of messages to store, by default 1000
MAILBOX_SMTP_PORT         the port of its SMTP server; by default any free port
MAILBOX_HOSTS             host names to serve, besides those of loopback
MAILBOX_PREVIEWS          modules to import, which register previews
MAILBOX_OUTSIDE_DEBUG     True: also outside of debug mode
MAILBOX_GUARD             a function that says who may use the pages of the outbox
========================  ==========================================================

The outbox is shown below ``/mailbox/outbox/``, in production too. ``MAILBOX_GUARD`` is called in
each request with ``"view"``, ``"read"`` (contents) or ``"manage"``, and returns whether the user
may, or the user's name, which the history then shows. It may also call `flask.abort`. Without it
the pages exist in debug mode only.
"""

from __future__ import annotations

import threading
import weakref
from importlib import import_module
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, abort, request

from flask_integration.backends import BackendSettings, SmtpBackend
from flask_integration.outbox import outbox_of
from flask_integration.sending import current_application
from mailbackends import ConfigurationError, Mailer, Options
from mailbackends.mailbox import Mailbox, Request, outbox_page, request_from_environ

__all__ = ["MailboxBackend", "blueprint", "get_mailbox", "is_allowed"]

blueprint: Blueprint = Blueprint("mailbox", __name__, url_prefix="/mailbox")
_lock = threading.Lock()
_LIMITS = ("timeout", "content_timeout", "deadline", "pool_size", "pool_timeout")
_KEY = "mailbackends_mailbox"


def is_allowed(app: Flask) -> bool:
    """Return True in debug mode, or if MAILBOX_OUTSIDE_DEBUG is set."""
    return bool(app.debug or app.config.get("MAILBOX_OUTSIDE_DEBUG"))


def get_mailbox(app: Flask) -> Mailbox:
    """Return the application's mailbox, created by the first call, with its SMTP server.

    Raises:
        ConfigurationError: debug mode is off, or the port cannot be used.
        ImportError: a module of MAILBOX_PREVIEWS does not exist.
        OSError, sqlite3.Error: the file cannot be used.
    """
    if not is_allowed(app):
        raise ConfigurationError(
            "the mailbox is for development, but debug mode is off, and mail sent to it reaches "
            "nobody: set another MAIL_BACKEND, or MAILBOX_OUTSIDE_DEBUG = True"
        )
    with _lock:
        box: Mailbox | None = app.extensions.get(_KEY)
        if box is None:
            for module in app.config.get("MAILBOX_PREVIEWS") or ():
                import_module(module)
            box = app.extensions[_KEY] = Mailbox(
                app.config.get("MAILBOX_PATH"),
                keep=app.config.get("MAILBOX_KEEP", 1000),
                hosts=app.config.get("MAILBOX_HOSTS") or (),
            )
            weakref.finalize(app, box.close)
    port = app.config.get("MAILBOX_SMTP_PORT") or 0
    try:
        box.listen(port)
    except (OSError, OverflowError, TypeError) as error:
        raise ConfigurationError(
            f"MAILBOX_SMTP_PORT={port!r} cannot be used ({error}): set another port, or none to "
            "use any free port"
        ) from error
    return box


class MailboxBackend(SmtpBackend):
    """Sends over SMTP to the mailbox of the application, whatever MAIL_SERVER is."""

    delivers = False

    def __init__(self, state: BackendSettings) -> None:
        server = get_mailbox(current_application()).listen()
        # The application's own timeouts, so that a delay set in the mailbox shows their effect.
        options = state.options
        limits = {name: getattr(options, name) for name in (*_LIMITS, "suppression")}
        self.mailer: Mailer = Mailer(Options(host=server.host, port=server.port, **limits))


@blueprint.route("/outbox/", defaults={"path": ""}, methods=["GET", "POST"])
@blueprint.route("/outbox/<path:path>", methods=["GET", "POST"])
def outbox(path: str) -> Response:
    """Serve the pages of the outbox to whom the application's guard allows it."""
    app = current_application()
    guard = app.config.get("MAILBOX_GUARD")
    if guard is None:
        if not app.debug:
            app.logger.warning(
                "The outbox is not shown: outside of debug mode it needs MAILBOX_GUARD, a function "
                "that says who may see it."
            )
            abort(404)
        guard = _allow_in_debug_mode
    elif not callable(guard):
        raise ConfigurationError(
            f"MAILBOX_GUARD must be a function, got {guard!r}: it is called with 'view', 'read' or "
            "'manage', and returns the user's name, or False"
        )
    box = outbox_of(app)
    response = outbox_page(box, _core_request(path), guard)
    return Response(response.body, response.status, dict(response.headers))


def _allow_in_debug_mode(permission: str) -> str:
    return "debug mode"


def _core_request(path: str) -> Request:
    """The request for the mailbox's own code, which knows nothing of Flask."""
    place = request.path[: len(request.path) - len(path)]
    base = quote(f"{request.root_path.rstrip('/')}{place}")
    environ: dict[str, Any] = request.environ
    return request_from_environ(environ, base=base, path=path)


@blueprint.route("/", defaults={"path": ""}, methods=["GET", "POST", "DELETE"])
@blueprint.route("/<path:path>", methods=["GET", "POST", "DELETE"])
def page(path: str) -> Response:
    """Serve all pages of the mailbox; 404 outside of debug mode."""
    app = current_application()
    if not is_allowed(app):
        app.logger.warning("The mailbox is not served because debug mode is off.")
        abort(404)
    response = get_mailbox(app).handle(_core_request(path))
    return Response(response.body, response.status, dict(response.headers))
