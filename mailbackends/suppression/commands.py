"""The commands of a suppression list, for any program that uses click."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from mailbackends.errors import SMTPException
from mailbackends.suppressed import EVERYTHING, Reason
from mailbackends.suppression.csv_files import BadRow, import_csv, open_csv, write_csv
from mailbackends.suppression.entries import new_entry
from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore

__all__ = ["add_suppression_commands"]

_reason = click.option(
    "--reason", type=click.Choice([each.value for each in Reason]), default=Reason.MANUAL.value
)
_scope = click.option(
    "--scope", default=EVERYTHING, show_default=True, help="A stream such as newsletter, or all."
)
_source = click.option("--source", help="Who or what has added them.")
_addresses = click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")


def add_suppression_commands(
    group: click.Group,
    store: Callable[[], SQLAlchemySuppressionStore],
    decorate: Callable[[Any], Any] = lambda command: command,
) -> None:
    """Add the commands to a group. ``store`` is called when it is needed.

    ``decorate`` is applied to each function, such as Flask's ``with_appcontext``.
    """

    @group.command(name="create-tables")
    @decorate
    def create_tables() -> None:
        """Create the tables that do not exist; for applications without migrations."""
        store().create_tables()

    @group.command(name="import")
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
    @click.option("--dry-run", is_flag=True, help="Check the rows, and change nothing.")
    @_reason
    @_scope
    @_source
    @decorate
    def import_(file: str, dry_run: bool, reason: str, scope: str, source: str | None) -> None:
        """Add the addresses in a CSV FILE in UTF-8, in batches; - is standard input.

        Its first row names the columns: address, and as many of reason, scope, source, detail,
        created_at and expires_at as there are. Rows that cannot be used are shown with their
        line, and the others are imported; the exit status is then 1.
        """
        try:
            with open_csv(sys.stdin.fileno() if file == "-" else file) as rows:
                added, bad = import_csv(
                    rows,
                    None if dry_run else store(),
                    reason=reason,
                    scope=scope,
                    source=source or f"import of {file} by {_who()}",
                    on_bad=_show_bad,
                    on_progress=_show_progress,
                )
        except (SMTPException, OSError) as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"{added} addresses {'can be' if dry_run else 'were'} imported.")
        if bad:
            raise click.ClickException(
                f"{bad} rows cannot be used: correct them, and import them again."
            )

    @group.command()
    @click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
    @decorate
    def export(file: Any) -> None:
        """Write the list as CSV, to FILE or standard output; import reads it again."""
        count = write_csv(store().entries(), file)
        click.echo(f"{count} entries", err=True)

    @group.command()
    @_addresses
    @_reason
    @_scope
    @_source
    @click.option("--detail", default="", help="More about it.")
    @click.option("--days", type=float, help="They get mail again after that.")
    @decorate
    def add(
        addresses: tuple[str, ...],
        reason: str,
        scope: str,
        source: str | None,
        detail: str,
        days: float | None,
    ) -> None:
        """Add addresses."""
        if days is not None and not 0 < days < 100_000:
            raise click.BadParameter(f"must be more than 0, got {days:g}", param_hint="--days")
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        more: dict[str, Any] = {"source": source or _who(), "detail": detail, "expires_at": until}
        try:
            entries = [new_entry(each, reason, scope, **more) for each in addresses]
        except SMTPException as error:
            raise click.ClickException(str(error)) from error
        store().add(entries)
        for entry in entries:
            click.echo(f"{entry.address}: {entry}.")

    @group.command()
    @_addresses
    @click.option("--scope", help="Only this stream; all entries if left out.")
    @decorate
    def remove(addresses: tuple[str, ...], scope: str | None) -> None:
        """Remove addresses: they get mail again."""
        missing = 0
        for each in addresses:
            removed = store().remove(each, scope)
            missing += not removed
            click.echo(f"{each}: {removed or 'no'} entries were removed.")
        if missing:
            raise click.ClickException(f"{missing} addresses were not on the list.")

    @group.command()
    @_addresses
    @click.option("--stream", help="Whether this stream would reach them.")
    @decorate
    def check(addresses: tuple[str, ...], stream: str | None) -> None:
        """Show why an address gets no mail. Exit status 1 if one does not."""
        box = store()
        found = box.suppressed(addresses, stream)
        what = "mail" if stream is None else f"mail of the stream {stream!r}"
        for each in addresses:
            entry = found.get(each)
            click.echo(f"{each} gets {what if entry is None else f'no {what}: {entry}'}.")
            for other in box.check(each):
                end = f" until {other.expires_at:%Y-%m-%d}" if other.expires_at else ""
                words = " ".join(filter(None, (other.source, other.detail)))
                click.echo(f"    {other.scope} {other.reason.value}{end} {words}".rstrip())
        if found:
            raise SystemExit(1)

    @group.command()
    @decorate
    def prune() -> None:
        """Delete entries that have expired."""
        click.echo(f"{store().prune()} entries were deleted.")


def _show_bad(row: BadRow) -> None:
    click.echo(f"line {row.line}: {row.error}", err=True)


def _show_progress(count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{count} addresses", err=True, nl=False)


def _who() -> str:
    try:
        return f"command line ({getpass.getuser()})"
    except (ImportError, KeyError, OSError):
        return "command line"
