"""``mailbackends outbox``: send and look after the messages in a database."""

from __future__ import annotations

import click

from mailbackends.cli.server import URL_VARIABLE, database_option, options_from
from mailbackends.mailer import Mailer

__all__ = ["outbox"]


@click.group()
@database_option
@click.option(
    "--blobs",
    metavar="DIRECTORY",
    type=click.Path(file_okay=False),
    help="Where the application stores large attachments.",
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="[ALIAS=]URL",
    help=f"The mail server; one for each alias. Default: {URL_VARIABLE}.",
)
@click.option("--create-tables", is_flag=True, help="Create the tables that do not exist.")
@click.pass_context
def outbox(
    ctx: click.Context,
    database: str,
    blobs: str | None,
    servers: tuple[str, ...],
    create_tables: bool,
) -> None:
    """Send and look after the messages in a database. See docs/outbox.md."""
    try:
        from mailbackends.outbox.outbox import Outbox
    except ImportError as error:
        raise click.UsageError(
            f"The outbox needs SQLAlchemy ({error}): install 'mailbackends[outbox]'."
        ) from error
    box = Outbox(database, blobs=blobs)
    ctx.call_on_close(box.close)
    if create_tables:
        box.create_tables()
    ctx.obj = (box, servers)


def _box() -> object:
    return click.get_current_context().find_object(tuple)[0]  # type: ignore[index]


def _mailers() -> dict[str, Mailer]:
    _, servers = click.get_current_context().find_object(tuple) or ((), ())
    made: dict[str, Mailer] = {}
    for server in servers or ("",):
        alias, equals, url = server.partition("=")
        if not equals or "://" in alias:
            alias, url = "default", server
        made[alias] = Mailer(
            options_from(
                url or None,
                username=None,
                password_file=None,
                ask_password=False,
                cafile=None,
                timeout=None,
            )
        )
    return made


try:
    from mailbackends.outbox.commands import add_outbox_commands
except ImportError:  # Without SQLAlchemy the group itself says what is missing.
    pass
else:
    add_outbox_commands(outbox, _box, _mailers)  # type: ignore[arg-type]
