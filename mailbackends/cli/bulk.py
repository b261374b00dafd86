"""``mailbackends bulk``: one message for each row of a CSV file, each sent once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text

from mailbackends.cli.batch import LATER, Batch, Row, is_left, read_rows
from mailbackends.cli.journal import BEGUN, Entry, Journal
from mailbackends.cli.message import Template, compose, read_letter, read_text
from mailbackends.cli.output import consoles, say
from mailbackends.cli.server import (
    opened_list,
    options_from,
    server_options,
    suppression_options,
)
from mailbackends.errors import Outcome
from mailbackends.mailer import Mailer, Submission
from mailbackends.mailer.submission import Job
from mailbackends.mime.address import parse_path
from mailbackends.protocol.extensions import Extensions
from mailbackends.texts import did_you_mean

__all__ = ["bulk"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_STATES = (Outcome.ACCEPTED, Outcome.REFUSED, LATER, Outcome.NOT_SENT, Outcome.UNKNOWN)


@click.command(
    epilog="\b\nExamples:\n"
    "  mailbackends bulk customers.csv --template letter.txt --from shop@example.com\n"
    "  mailbackends bulk customers.csv --template letter.txt --html letter.html \\\n"
    "      --from 'Leaf & Cup <news@example.com>' --connections 4 --rate 10/second\n"
    "  mailbackends bulk customers.csv --template letter.txt --from shop@example.com \\\n"
    "      --again unknown\n\n"
    "\b\nletter.txt:\n"
    "  Subject: Your order {{ order }}\n"
    "\n"
    "  Dear {{ name }}, it is on its way."
)
@click.argument("file", type=_FILE)
@click.option("--server", "url", metavar="URL", help="The server; default: MAILBACKENDS_URL.")
@server_options
@click.option(
    "--template", type=_FILE, required=True, help="A file: 'Subject: ...', an empty line, text."
)
@click.option("--html", type=_FILE, help="A template for the HTML; values are escaped.")
@click.option("--subject", help="Instead of the template's subject.")
@click.option("--from", "sender", required=True, metavar="ADDRESS")
@click.option("--column", default="email", show_default=True, help="The column with the addresses.")
@click.option("--key", metavar="COLUMN", help="Identifies a row; default: its address.")
@click.option("--attach", multiple=True, type=_FILE, help="A file for every message; repeatable.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file for the outcomes; default: FILE.results.csv.",
)
@click.option(
    "--again",
    multiple=True,
    type=click.Choice(["unknown", "refused"]),
    help="Also send these again; unknown ones may then arrive twice.",
)
@click.option("--connections", type=click.IntRange(1, 100), default=1, show_default=True)
@suppression_options
@click.option("--rate", help="A limit, such as 10/second or '100/minute; 5000/day'.")
@click.option(
    "--dry-run", is_flag=True, help="Check every row, show the first message, send nothing."
)
def bulk(
    file: Path,
    url: str | None,
    template: Path,
    html: Path | None,
    subject: str | None,
    sender: str,
    column: str,
    key: str | None,
    attach: tuple[Path, ...],
    results: Path | None,
    again: tuple[str, ...],
    connections: int,
    rate: str | None,
    database: str | None,
    stream: str | None,
    dry_run: bool,
    **server: Any,
) -> None:
    """Send a message to each row of the CSV file FILE.

    The outcome of each row is written to a results file. Run the command again to
    continue: no row is sent twice, even after a crash or after Ctrl+C, which waits for
    the messages being sent. A row that was begun and has no outcome may have been sent:
    it counts as unknown, and is sent again only with --again unknown.

    The exit status is 0 if all rows were accepted or suppressed, 1 if not, 2 if the command line is
    wrong, and 130 after Ctrl+C.
    """
    parse_path(sender, of="sender")
    rows = read_rows(file, address=column, key=key)
    write = _writer(file, rows, template, html, subject, sender, attach)
    results = results or file.with_name(f"{file.name}.results.csv")
    out, err = consoles()
    if dry_run:
        sys.exit(_dry_run(out, err, rows, write))
    options = options_from(url, **server)
    options = options.replace(
        batch_connections=connections, pool_size=max(connections, options.pool_size)
    )
    if rate:
        options = options.replace(rate=rate)
    with Journal.opened(results) as journal:
        left = [row for row in rows if is_left(journal.entries.get(row.key), frozenset(again))]
        if len(left) < len(rows):
            say(out, f"{len(rows) - len(left)} of {len(rows)} rows are already in {results}.")
        with (
            opened_list(database) as store,
            Mailer(options.replace(suppression=store)) as mailer,
            _progress(err, len(left)) as report,
        ):
            batch = Batch(mailer, journal, write, report, stream)
            interrupted = _run(batch, left, err)
        counts = {str(state): 0 for state in _STATES}
        for row in rows:
            entry = journal.entries.get(row.key)
            state = "not begun" if entry is None else entry.state
            state = str(Outcome.UNKNOWN) if state == BEGUN else state
            counts[state] = counts.get(state, 0) + 1
    _summarise(out, counts, results, batch.stopped)
    if interrupted:
        sys.exit(130)
    done = counts[Outcome.ACCEPTED] + counts.get(Outcome.SUPPRESSED, 0)
    sys.exit(0 if done == len(rows) else 1)


def _writer(
    file: Path,
    rows: list[Row],
    template: Path,
    html: Path | None,
    subject: str | None,
    sender: str,
    attach: tuple[Path, ...],
) -> Callable[[Row], EmailMessage]:
    first_line, text = read_letter(template)
    if subject is None and first_line is None:
        raise click.UsageError(f"{template} does not begin with 'Subject: ...': give --subject.")
    title = Template(subject if subject is not None else first_line or "", name="the subject")
    letter = Template(text, name=str(template))
    page = None
    if html is not None:
        page = Template(read_text(html), name=str(html), is_html=True)
    known = list(rows[0].values) if rows else []
    for each in filter(None, (title, letter, page)):
        for name in each.columns if rows else ():
            if name not in known:
                raise click.UsageError(
                    f"{each.name} uses the column {name!r}, which {file} does not have: "
                    f"{did_you_mean(name, known)}"
                )

    def write(row: Row) -> EmailMessage:
        message = compose(
            {"From": sender, "To": row.recipient, "Subject": title.fill(row.values)},
            text=letter.fill(row.values),
            html=page.fill(row.values) if page else None,
            attachments=attach,
        )
        if len(message["To"].addresses) != 1:
            raise ValueError(f"{row.recipient!r} is not one address")
        return message

    return write


# With SMTPUTF8: whether the server supports it is not known before a connection is made.
_ANY_SERVER = Extensions({"8BITMIME": "", "SMTPUTF8": ""})


def _dry_run(
    out: Console, err: Console, rows: list[Row], write: Callable[[Row], EmailMessage]
) -> int:
    """Write every message as it would be sent. Returns the exit status."""
    first: EmailMessage | None = None
    failed = 0
    for row in rows:
        try:
            message = write(row)
            Job(Submission(message)).prepare(_ANY_SERVER)
        except ValueError as error:
            failed += 1
            say(err, ("refused: ", "red"), f"line {row.number}: {error}")
        else:
            first = first or message
    if first is not None:
        say(out, first.as_string())
    cannot = f", {failed} of them cannot be sent" if failed else ""
    say(out, (f"{len(rows)} rows{cannot}; nothing was sent.", "bold"))
    return 1 if failed else 0


def _run(batch: Batch, left: list[Row], err: Console) -> bool:
    """Send; True if a signal interrupted it. A second signal ends the process at once."""
    signals: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        signals.append(number)
        if len(signals) > 1:
            # Nothing is lost: a row without an outcome is unknown to the next run.
            err.show_cursor()
            os._exit(130)
        batch.stop("interrupted")
        say(
            err,
            ("Waiting for the messages being sent; press Ctrl+C again to end at once.", "yellow"),
        )

    def wait(futures: list[Future[None]]) -> None:
        # Short waits: a signal's handler runs between them.
        while wait_for(futures, timeout=0.2).not_done:
            pass

    previous = {number: signal.signal(number, on_signal) for number in _ENDING}
    try:
        batch.run(left, wait)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return bool(signals)


_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s", style="cyan")


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[Entry], None]]:
    """A progress bar on a terminal; elsewhere only the rows that were not accepted."""
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), Remaining(compact=True))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def report(entry: Entry) -> None:
            if entry.state != Outcome.ACCEPTED:
                say(console, (f"{entry.state}: ", "red"), f"{entry.recipient}: {entry.detail}")
            progress.advance(task)

        yield report


def _summarise(out: Console, counts: dict[str, int], results: Path, stopped: str) -> None:
    styles = {str(Outcome.ACCEPTED): "green", "not begun": "", str(Outcome.NOT_SENT): "yellow"}
    for state, count in counts.items():
        if count or state == Outcome.ACCEPTED:
            say(out, (f"{state:<16}", styles.get(state, "red")), f"{count:>7}")
    say(out, f"results in {results}")
    if counts.get("not begun", 0) or counts[Outcome.NOT_SENT] or counts[LATER]:
        say(out, ("Run the same command again to continue.", "bold"), f" {stopped}".rstrip())
    if counts[Outcome.UNKNOWN]:
        say(out, "Unknown ones may have arrived: search the server's log for their Message-IDs.")
