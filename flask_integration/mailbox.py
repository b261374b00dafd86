"""The mailbox inside of an application, for development.

``app.register_blueprint(flask_integration.mailbox.blueprint)`` shows it below ``/mailbox/``,
and ``MAIL_BACKEND = "mailbox"`` sends all mail there. Needs the extra ``mailbox``; refused
outside of debug mode. Its configuration:

========================  ==========================================================
MAILBOX_PATH              an SQLite file; mail is in memory where it is not given
MAILBOX_KEEP              how many messages are kept, by default 1000
MAILBOX_SMTP_PORT         where it takes mail; a free port where it is not given
MAILBOX_HOSTS             names for browsers, beside those of loopback
MAILBOX_PREVIEWS          modules to import, which register previews
MAILBOX_OUTSIDE_DEBUG     True: also outside of debug mode
========================  ==========================================================
"""

from __future__ import annotations

import threading
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, abort, current_app, request

from flask_integration.backends import SmtpBackend
from mailbackends import ConfigurationError, Mailer, Options
from mailbackends.mailbox import Mailbox, request_from_environ

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["MailboxBackend", "blueprint", "get_mailbox", "is_allowed"]

blueprint = Blueprint("mailbox", __name__, url_prefix="/mailbox")
_lock = threading.Lock()
_LIMITS = ("timeout", "content_timeout", "deadline", "pool_size", "pool_timeout")
_KEY = "mailbackends_mailbox"


def is_allowed(app: Flask) -> bool:
    """True in debug mode, or where MAILBOX_OUTSIDE_DEBUG is set."""
    return bool(app.debug or app.config.get("MAILBOX_OUTSIDE_DEBUG"))


def get_mailbox(app: Flask) -> Mailbox:
    """The application's mailbox, its SMTP server listening; made at the first call.

    Raises:
        ConfigurationError: it is not allowed here.
        ImportError: a module of MAILBOX_PREVIEWS is not there.
        OSError, sqlite3.Error: the port is taken, or the file cannot be used.
    """
    if not is_allowed(app):
        raise ConfigurationError(
            "the mailbox is for development, and debug mode is off: mail sent there reaches "
            "nobody. Set another MAIL_BACKEND, or MAILBOX_OUTSIDE_DEBUG = True"
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
    box.listen(app.config.get("MAILBOX_SMTP_PORT") or 0)
    return box


class MailboxBackend(SmtpBackend):
    """Sends over SMTP to the mailbox of the application, whatever server MAIL_SERVER names."""

    delivers = False

    def __init__(self, state: MailState) -> None:
        server = get_mailbox(_app()).listen()
        # How long a view waits is the application's own: a delay shows what comes of it.
        limits = {name: getattr(state.options, name) for name in _LIMITS}
        self.mailer = Mailer(Options(host=server.host, port=server.port, **limits))


@blueprint.route("/", defaults={"path": ""}, methods=["GET", "POST", "DELETE"])
@blueprint.route("/<path:path>", methods=["GET", "POST", "DELETE"])
def page(path: str) -> Response:
    """All pages of the mailbox; 404 where it is not allowed."""
    app = _app()
    if not is_allowed(app):
        app.logger.warning("The mailbox is not shown, for debug mode is off.")
        abort(404)
    place = request.path[: len(request.path) - len(path)]
    base = quote(f"{request.root_path.rstrip('/')}{place}")
    environ: dict[str, Any] = request.environ
    response = get_mailbox(app).handle(request_from_environ(environ, base=base, path=path))
    return Response(response.body, response.status, dict(response.headers))


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
