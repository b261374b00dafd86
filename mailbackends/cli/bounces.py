"""``mailbackends bounces``: read reports of failed delivery, and print them as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from mailbackends.bounces import BounceTokens, parse_bounce
from mailbackends.bounces.intake import LARGEST, from_maildir
from mailbackends.cli.server import opened_list
from mailbackends.suppression import from_report

__all__ = ["bounces"]

KEY_VARIABLE = "MAILBACKENDS_BOUNCE_KEY"


@click.command(
    epilog="\b\nExamples:\n"
    "  mailbackends bounces < report.eml\n"
    "  mailbackends bounces --maildir Maildir | jq -r '.recipients[].address'"
)
@click.option(
    "--maildir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read all new messages of a Maildir, and mark them as seen.",
)
@click.option(
    "--database",
    metavar="URL",
    help="Add the addresses that a report is about to the suppression list in this database.",
)
def bounces(maildir: Path | None, database: str | None) -> None:
    """Read a report of failed delivery, or a complaint, from standard input.

    Prints a line of JSON for each message; kind is "none" for one that is no report. With the key
    of BounceTokens in MAILBACKENDS_BOUNCE_KEY, reference is what the message was marked with.

    With --database, a report adds an address only if the message was marked with its
    mailbackends.suppression.recipient_reference: anybody can send the others.
    """
    key = os.environ.get(KEY_VARIABLE)
    tokens = BounceTokens(key) if key else None
    del key
    if database and tokens is None:
        raise click.UsageError(
            f"--database needs {KEY_VARIABLE}: without it no report is known to be genuine."
        )
    with opened_list(database) as store:

        def take(data: bytes) -> None:
            report = parse_bounce(data, tokens)
            if store is not None:
                store.note(from_report(report, store.policy))
            click.echo(json.dumps(report.as_dict()))

        if maildir is None:
            take(sys.stdin.buffer.read(LARGEST))
        elif failed := from_maildir(maildir, take):
            raise click.ClickException(f"messages that cannot be handled, and stay new: {failed}")
