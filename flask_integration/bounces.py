"""Reports of failed delivery in Flask: ``flask mail bounces``, and the signal `bounced`.

Messages to one recipient are marked in their envelope sender, which is made from
MAIL_BOUNCE_ADDRESS: so a report is known to be about a message of ours.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

import click
from blinker import NamedSignal, Namespace
from flask import Flask, current_app
from flask.cli import with_appcontext

from flask_integration.marks import tokens
from flask_integration.outbox import outbox_of
from flask_integration.suppression import is_suppressing, suppression_of
from mailbackends import ConfigurationError
from mailbackends.bounces import BounceReport, parse_bounce
from mailbackends.bounces.intake import LARGEST, from_maildir, serve_lmtp
from mailbackends.suppression import from_report

__all__ = ["bounced", "bounces_command", "handle_report"]

logger: logging.Logger = logging.getLogger("mailbackends.bounces")

bounced: NamedSignal = Namespace().signal(
    "bounced",
    doc="""A report was read; receivers get ``report``, a `mailbackends.bounces.BounceReport`.

    Act on reports with a ``reference`` only: anybody can send the others.""",
)


def handle_report(app: Flask, data: bytes) -> BounceReport:
    """Read a message; if it is a report, settle and suppress what it is about, and send `bounced`.

    The first exception of a receiver is raised after all were called, so that the report is not
    taken for handled.
    """
    report = parse_bounce(data, tokens(app.config))
    if report.kind == "none":
        return report
    known: Collection[str] = ()
    if _has_outbox(app):
        outbox = outbox_of(app)
        outbox.settle_by_report(report)
        message = outbox.store.get(row) if (row := _uuid(report.reference)) else None
        known = [each.address for each in message.recipients] if message else ()
    if is_suppressing(app):
        store = suppression_of(app)
        store.note(from_report(report, store.policy, known))
    failed: Exception | None = None
    for receiver in list(bounced.receivers_for(app)):
        try:
            receiver(app, report=report)
        except Exception as error:
            failed = failed or error
            logger.exception("the receiver %r of bounced failed", receiver)
    if failed is not None:
        raise failed
    return report


def _has_outbox(app: Flask) -> bool:
    return "mail_outbox" in app.extensions or bool(app.config.get("MAIL_OUTBOX_DATABASE"))


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


@click.command("bounces")
@click.option(
    "--maildir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read all new messages of a Maildir, and mark them as seen.",
)
@click.option("--lmtp", metavar="HOST:PORT", help="Listen there, such as 127.0.0.1:2424.")
@with_appcontext
def bounces_command(maildir: Path | None, lmtp: str | None) -> None:
    """Read reports of failed delivery, and complaints: one from standard input, the new ones of a
    Maildir, or by LMTP until interrupted.

    Prints a line of JSON for each message.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def take(data: bytes) -> None:
        with app.app_context():
            click.echo(json.dumps(handle_report(app, data).as_dict()))

    try:
        if maildir is not None and lmtp:
            raise click.UsageError("--maildir and --lmtp exclude each other.")
        if maildir is not None:
            if failed := from_maildir(maildir, take):
                raise click.ClickException(
                    f"messages that cannot be handled, and stay new: {failed}"
                )
        elif lmtp:
            host, _, port = lmtp.rpartition(":")
            if not host or not port.isdecimal():
                raise click.UsageError("--lmtp must be HOST:PORT, such as 127.0.0.1:2424")
            serve_lmtp(host, int(port), take)
        else:
            take(sys.stdin.buffer.read(LARGEST))
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
