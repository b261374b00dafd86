"""The database of an application, and the groups of commands that need SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from flask import Flask, current_app

from mailbackends import ConfigurationError

__all__ = ["LateGroup", "database_of", "for_command"]

Found = TypeVar("Found")


def database_of(app: Flask, what: str, *settings: str) -> tuple[Any, Any]:
    """What the first of the settings that is given has (an engine or its URL), and None; without
    one, a function that returns Flask-SQLAlchemy's engine, and the metadata to take tables up.

    Raises:
        ConfigurationError: there is neither. ``what`` needs it.
    """
    for name in settings:
        if database := app.config.get(name):
            return database, None
    db = app.extensions.get("sqlalchemy")
    if db is None:
        raise ConfigurationError(
            f"{what} needs a database: set {settings[0]} to a SQLAlchemy engine or its URL, or use "
            "Flask-SQLAlchemy"
        )

    def engine() -> Any:
        with app.app_context():
            return db.engine

    return engine, db.metadata


def for_command(find: Callable[[Flask], Found]) -> Found:
    """What ``find`` returns for the current application.

    Raises:
        click.ClickException: a setting is missing or not usable.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        return find(app)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


class LateGroup(click.Group):
    """Commands that need SQLAlchemy: ``add`` adds them when one is asked for.

    ``what`` is what an error says needs it.
    """

    def __init__(
        self, name: str, what: str, add: Callable[[click.Group], object], *, help: str
    ) -> None:
        super().__init__(name, help=help)
        self._what = what
        self._add = add

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        self._add_once()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name, or None."""
        self._add_once()
        return super().get_command(ctx, cmd_name)

    def _add_once(self) -> None:
        if self.commands:
            return
        try:
            self._add(self)
        except ImportError as error:
            raise click.ClickException(
                f"{self._what} needs SQLAlchemy ({error}): install 'mailbackends[outbox]'."
            ) from error
