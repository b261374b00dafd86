"""The outbox of a Flask application, with or without Flask-SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from flask_integration.backends import SmtpBackend
from flask_integration.database import LateGroup, database_of, for_command
from flask_integration.posting import Posting
from mailbackends import ConfigurationError, Options

# The outbox is loaded when it is used: most applications have none.
if TYPE_CHECKING:
    from mailbackends.outbox import OutboxMessage
    from mailbackends.outbox.delivery import Hooks, Result
    from mailbackends.outbox.outbox import Outbox
    from mailbackends.suppression import SuppressionList

__all__ = ["StateDelivery", "outbox_group", "outbox_of", "session_of"]

_EXTENSION = "mail_outbox"


def outbox_of(app: Flask) -> Outbox:
    """The outbox of an application; made when it is first asked for.

    It is in the database of Flask-SQLAlchemy, or in MAIL_OUTBOX_DATABASE (a SQLAlchemy engine
    or its URL). Large attachments are stored in the directory MAIL_OUTBOX_BLOBS, if set.

    Raises:
        ConfigurationError: there is neither, or SQLAlchemy is not installed.
    """
    found = app.extensions.get(_EXTENSION)
    if found is None:
        found = app.extensions[_EXTENSION] = _made(app)
    made: Outbox = found
    return made


def session_of(app: Flask) -> Any:
    """The session that a message is stored in, if none is given: Flask-SQLAlchemy's, or None."""
    if app.config.get("MAIL_OUTBOX_DATABASE"):
        return None
    return app.extensions["sqlalchemy"].session


def _made(app: Flask) -> Outbox:
    try:
        from mailbackends.outbox.outbox import Outbox
    except ImportError as error:
        raise ConfigurationError(
            f"the outbox needs SQLAlchemy ({error}): install 'mailbackends[outbox]'"
        ) from error
    blobs = app.config.get("MAIL_OUTBOX_BLOBS")
    path = None if blobs is None else Path(app.instance_path, blobs)
    database, metadata = database_of(app, "the outbox", "MAIL_OUTBOX_DATABASE")
    return Outbox(database, blobs=path, metadata=metadata)


class StateDelivery:
    """A `mailbackends.outbox.Deliver` by the mailers of an application."""

    def __init__(self, state: Any, outbox: Outbox) -> None:
        self._state = state
        self._blobs = outbox.blobs
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        self.rendering_context: Callable[[], AbstractContextManager[Any]] = app.app_context
        """What is entered while a function makes a content: it may call ``render_template``."""

    @property
    def aliases(self) -> Sequence[str]:
        """The names in MAIL_MAILERS, and ``"default"``."""
        return sorted({"default", *self._state.settings.mailers})

    def suppression(self, alias: str) -> SuppressionList | None:
        """The suppression list of that mailer; see `mailbackends.outbox.Deliver`."""
        options: Options = self._state.named(alias).options
        return options.suppression

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        """See `mailbackends.outbox.Deliver`."""
        from mailbackends.outbox import MailerDelivery
        from mailbackends.outbox.other_backends import send_by

        backend = self._state.named(alias).backend
        if type(backend) is SmtpBackend:
            delivery = MailerDelivery({alias: backend.mailer}, self._blobs)
            yield from delivery.deliver(alias, messages, hooks)
            return
        yield from send_by(
            lambda _, posting: backend.send(posting),
            messages,
            hooks,
            prepare=_posting,
            blobs=self._blobs,
        )


def _posting(message: OutboxMessage, content: bytes) -> Posting:
    return Posting(
        message,
        content,
        message.sender,
        message.pending,
        message.mail_options,
        message.rcpt_options,
        message.message_id,
    )


def _add_commands(group: click.Group) -> None:
    from mailbackends.outbox.commands import add_outbox_commands

    add_outbox_commands(group, _outbox, _delivery, with_appcontext)
    group.command("create-tables")(with_appcontext(_create_tables))


outbox_group: click.Group = LateGroup(
    "outbox",
    "The outbox",
    _add_commands,
    help="Send and look after the messages in the database.",
)


def _outbox() -> Outbox:
    return for_command(outbox_of)


def _delivery() -> StateDelivery:
    state = current_app.extensions.get("mail")
    if state is None:
        raise click.ClickException("mail is not set up: call mail.init_app(app)")
    if state.suppress:
        raise click.ClickException(
            "sending is suppressed: unset TESTING and MAIL_SUPPRESS_SEND for the worker"
        )
    return StateDelivery(state, _outbox())


def _create_tables() -> None:
    """Create the tables that do not exist; for applications without migrations."""
    _outbox().create_tables()
