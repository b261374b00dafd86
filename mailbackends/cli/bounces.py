"""``mailbackends bounces``: read reports of failed delivery, and print them as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from mailbackends.bounces import BounceTokens, parse_bounce
from mailbackends.bounces.intake import LARGEST, from_maildir

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
def bounces(maildir: Path | None) -> None:
    """Read a report of failed delivery, or a complaint, from standard input.

    Prints a line of JSON for each message; kind is "none" for one that is no report. With the key
    of BounceTokens in MAILBACKENDS_BOUNCE_KEY, reference is what the message was marked with.
    """
    key = os.environ.get(KEY_VARIABLE)
    tokens = BounceTokens(key) if key else None
    del key

    def show(data: bytes) -> None:
        click.echo(json.dumps(parse_bounce(data, tokens).as_dict()))

    if maildir is None:
        show(sys.stdin.buffer.read(LARGEST))
    elif failed := from_maildir(maildir, show):
        raise click.ClickException(f"{failed} messages cannot be handled, and stay new")
