"""The shop's commands, in addition to ``flask mail``."""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext

from mailbackends import Receipt

from .extensions import bulk
from .mails import newsletter

__all__ = ["send_newsletter"]


@click.command("send-newsletter")
@click.argument("addresses", nargs=-1, required=True)
@with_appcontext
def send_newsletter(addresses: tuple[str, ...]) -> None:
    """Send the newsletter to each of ADDRESSES, over one connection."""
    outcomes = bulk.stream(newsletter(address) for address in addresses)
    failed = 0
    for address, outcome in zip(addresses, outcomes, strict=True):
        if isinstance(outcome, Receipt):
            click.echo(f"{address}: {outcome.reply}")
        else:
            failed += 1
            click.echo(f"{address}: {outcome}", err=True)
    sys.exit(1 if failed else 0)
