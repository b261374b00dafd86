"""`Mail`: the extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app, has_app_context

from flask_integration import cli
from flask_integration.config import read, without_secrets
from flask_integration.sending import Sender
from flask_integration.state import MailState
from flask_integration.suppression import set_up_suppression
from mailbackends.integration import nearest

__all__ = ["Mail", "NamedMail"]

# The attributes that Flask-Mail's and Flask-Mailman's Mail read from their state.
_STATE_ATTRIBUTES = (
    "ascii_attachments",
    "backend",
    "debug",
    "default_sender",
    "file_path",
    "mail_options",
    "max_emails",
    "options",
    "outbox",
    "password",
    "port",
    "server",
    "suppress",
    "timeout",
    "use_ssl",
    "use_tls",
    "username",
)


class Mail(Sender):
    """Mail for Flask applications::

        mail = Mail(app)

    or, where applications come from a factory::

        mail = Mail()

        def create_app():
            app = Flask(__name__)
            mail.init_app(app)
            return app

    The first form sends for that application everywhere. The second sends for the current
    application, so it needs a request, a command or ``with app.app_context():``. Each
    application has its own configuration and its own connections.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self.app = app
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> MailState:
        """Read the application's configuration, and set up mail for it.

        Connections are opened when the first message is sent.

        Raises:
            mailbackends.ConfigurationError: the configuration cannot be used. The text
                names the key, the value and what to write.
        """
        set_up_suppression(app)
        state = self.init_mail(app.config, app.debug, app.testing)
        app.extensions["mail"] = state
        # The application may have its own command of that name.
        app.cli.commands.setdefault("mail", cli.mail)
        return state

    def init_mail(
        self, config: Mapping[str, Any], debug: bool | int = False, testing: bool = False
    ) -> MailState:
        """Return the settings in a configuration, without an application.

        ``debug`` exists for Flask-Mail and has no effect: set MAIL_DEBUG to log
        conversations. With ``testing``, sending is suppressed whatever TESTING says.

        Raises:
            mailbackends.ConfigurationError: the configuration cannot be used.
        """
        # TESTING is not copied, so that setting it later has an effect.
        fixed = testing and not config.get("TESTING")
        try:
            return MailState(read(config), config, testing=fixed)
        except Exception as error:
            raised = without_secrets(error)
        del config  # a debug page would show it
        raise raised

    @property
    def state(self) -> MailState | None:
        """The settings of this extension's application, or of the current one, or None."""
        if self.app is None and not has_app_context():
            return None
        found = self._app().extensions.get("mail")
        return found if isinstance(found, MailState) else None

    @state.setter
    def state(self, state: MailState) -> None:
        # Applications that change their configuration later write
        # ``mail.state = mail.init_app(app)``, as with Flask-Mail.
        self._app().extensions["mail"] = state

    def using(self, name: str) -> NamedMail:
        """Return the mailer of that name in MAIL_MAILERS. Works before ``init_app``, too."""
        return NamedMail(self, name)

    def warm_up(self, timeout: float = 0.0) -> int:
        """Begin to open the connections of each mailer with MAIL_MIN_IDLE, and keep them ready.

        Call it in each worker process after the fork. Mailers without MAIL_MIN_IDLE are left
        alone. Returns how many connections are ready: at once, or after ``timeout`` seconds for
        each mailer at the latest. A server that cannot be reached raises nothing; it is tried
        again in the background.
        """
        return self._target()[1].warm_up(timeout)

    def close(self) -> None:
        """Close all connections. The next message opens a new one."""
        self._target()[1].close()

    def __getattr__(self, name: str) -> Any:
        if name in _STATE_ATTRIBUTES:
            return getattr(self.state, name, None)
        meant = nearest(name, {*_STATE_ATTRIBUTES, *dir(type(self))})
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def _app(self) -> Flask:
        if self.app is not None:
            return self.app
        if has_app_context():
            return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]
        raise RuntimeError(
            "there is no application: send in a request or inside "
            "'with app.app_context():', or create the extension with Mail(app)"
        )

    def _target(self) -> tuple[Flask, MailState]:
        app = self._app()
        state = app.extensions.get("mail")
        if not isinstance(state, MailState):
            raise RuntimeError(
                f"mail is not set up for the application {app.name!r}: call mail.init_app(app)"
            )
        return app, state


class NamedMail(Sender):
    """A mailer of MAIL_MAILERS, from `Mail.using`. It has the sending methods of `Mail`."""

    def __init__(self, mail: Mail, name: str) -> None:
        self.mail = mail
        self.name = name

    def __repr__(self) -> str:
        return f"<NamedMail {self.name!r}>"

    @property
    def _alias(self) -> str:
        return self.name

    @property
    def state(self) -> MailState | None:
        """This mailer's settings, or None if there is no application."""
        state = self.mail.state
        return state.named(self.name) if state is not None else None

    def _target(self) -> tuple[Flask, MailState]:
        app, state = self.mail._target()
        return app, state.named(self.name)
