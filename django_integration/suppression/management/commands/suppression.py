"""``manage.py suppression``: look at the suppression list, change it, and move it as CSV."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_integration.suppression.lists import suppression_list
from mailbackends import SMTPException
from mailbackends.suppression import (
    EVERYTHING,
    BadRow,
    Reason,
    import_csv,
    new_entry,
    open_csv,
    write_csv,
)

__all__ = ["Command"]

_REASONS = [each.value for each in Reason]


class Command(BaseCommand):
    """Imports, exports, adds, removes, checks and prunes."""

    help = "Look at the list of addresses that get no mail, change it, and move it as CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand for each task."""
        commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
        for name, text in (
            ("import", "Add the addresses in a CSV file, in batches."),
            ("export", "Write the list as CSV, which import reads again."),
            ("add", "Add addresses."),
            ("remove", "Remove addresses: they get mail again."),
            ("check", "Show why an address gets no mail. Exit status 1 if one does not."),
            ("prune", "Delete entries that have expired."),
        ):
            command = commands.add_parser(name, help=text, description=text)
            if name in ("add", "remove", "check"):
                command.add_argument("addresses", nargs="+", metavar="ADDRESS")
            if name == "import":
                command.add_argument("file", help="The file in UTF-8; - for standard input.")
                command.add_argument(
                    "--dry-run", action="store_true", help="Check the rows, and change nothing."
                )
            if name == "export":
                command.add_argument(
                    "file", nargs="?", default="-", help="The file; standard output if left out."
                )
            if name in ("import", "add"):
                command.add_argument("--reason", choices=_REASONS, default=Reason.MANUAL.value)
                command.add_argument("--source", help="Who or what has added them.")
                command.add_argument(
                    "--scope", default=EVERYTHING, help="A stream such as newsletter, or all."
                )
            if name == "add":
                command.add_argument("--days", type=float, help="They get mail again after that.")
                command.add_argument("--detail", default="", help="More about it.")
            if name == "remove":
                command.add_argument("--scope", help="Only this stream; all entries if left out.")
            if name == "check":
                command.add_argument("--stream", help="Whether this stream would reach them.")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        """Run the subcommand.

        Raises:
            CommandError: a value, a row or the settings cannot be used.
        """
        try:
            getattr(self, f"_{what}")(**options)
        except (SMTPException, OSError) as error:
            raise CommandError(str(error)) from error

    def _import(
        self, *, file: str, reason: str, scope: str, source: str | None, dry_run: bool, **_: Any
    ) -> None:
        store = None if dry_run else suppression_list()
        with open_csv(sys.stdin.fileno() if file == "-" else file) as rows:
            added, bad = import_csv(
                rows,
                store,
                reason=reason,
                scope=scope,
                source=source or f"import of {file} by {_who()}",
                on_bad=self._show_bad,
                on_progress=self._show_progress,
            )
        self.stdout.write(f"{added} addresses {'can be' if dry_run else 'were'} imported.")
        if bad:
            raise CommandError(f"{bad} rows cannot be used: correct them, and import them again.")

    def _show_bad(self, row: BadRow) -> None:
        self.stderr.write(f"line {row.line}: {row.error}")

    def _show_progress(self, count: int) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{count} addresses", ending="")

    def _export(self, *, file: str, **_: Any) -> None:
        with self._writing(file) as out:
            count = write_csv(suppression_list().entries(), out)
        if file != "-":
            self.stdout.write(f"{count} entries were written to {file}.")

    @contextmanager
    def _writing(self, file: str) -> Iterator[TextIO]:
        if file == "-":
            out: Any = self.stdout
            yield out._out
            return
        with open(file, "w", encoding="utf-8", newline="") as opened:
            yield opened

    def _add(
        self,
        *,
        addresses: list[str],
        reason: str,
        scope: str,
        source: str | None,
        days: float | None,
        detail: str,
        **_: Any,
    ) -> None:
        if days is not None and not 0 < days < 100_000:
            raise CommandError(f"--days must be more than 0, got {days:g}.")
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        entries = [
            new_entry(
                *(each, reason, scope), source=source or _who(), detail=detail, expires_at=until
            )
            for each in addresses
        ]
        suppression_list().add(entries)
        for entry in entries:
            self.stdout.write(f"{entry.address}: {entry}.")

    def _remove(self, *, addresses: list[str], scope: str | None, **_: Any) -> None:
        missing = 0
        for each in addresses:
            removed = suppression_list().remove(each, scope)
            missing += not removed
            self.stdout.write(f"{each}: {removed or 'no'} entries were removed.")
        if missing:
            raise CommandError(f"{missing} addresses were not on the list.")

    def _check(self, *, addresses: list[str], stream: str | None, **_: Any) -> None:
        store = suppression_list()
        found = store.suppressed(addresses, stream)
        what = "mail" if stream is None else f"mail of the stream {stream!r}"
        for each in addresses:
            entry = found.get(each)
            self.stdout.write(f"{each} gets {what if entry is None else f'no {what}: {entry}'}.")
            for other in store.check(each):
                end = f" until {other.expires_at:%Y-%m-%d}" if other.expires_at else ""
                words = " ".join(filter(None, (other.source, other.detail)))
                self.stdout.write(f"    {other.scope} {other.reason.value}{end} {words}".rstrip())
        if found:
            raise SystemExit(1)

    def _prune(self, **_: Any) -> None:
        self.stdout.write(f"{suppression_list().prune()} entries were deleted.")


def _who() -> str:
    try:
        return f"manage.py ({getpass.getuser()})"
    except (ImportError, KeyError, OSError):
        return "manage.py"
