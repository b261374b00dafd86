"""``mailbackends suppression``: who gets no mail, in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailbackends.cli.server import database_option, opened_list
from mailbackends.suppression import SuppressionStore

if TYPE_CHECKING:
    from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore

__all__ = ["suppression"]


@click.group()
@database_option
@click.pass_context
def suppression(ctx: click.Context, database: str) -> None:
    """Show and change the list of addresses that get no mail. See docs/suppression.md."""
    ctx.obj = ctx.with_resource(opened_list(database))


def _store() -> SQLAlchemySuppressionStore:
    found: SQLAlchemySuppressionStore | None
    found = click.get_current_context().find_object(SuppressionStore)  # type: ignore[type-abstract, assignment]
    if found is None:  # pragma: no cover - the group has made it
        raise click.UsageError("--database is missing")
    return found


try:
    from mailbackends.suppression.commands import add_suppression_commands
except ImportError:  # Without SQLAlchemy the group itself says what is missing.
    pass
else:
    add_suppression_commands(suppression, _store)
