"""``manage.py mail_bounces``: read reports of failed delivery, and send the signal for each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections

from django_integration.bounces import handle_report
from mailbackends import ConfigurationError
from mailbackends.bounces import BounceReport
from mailbackends.bounces.intake import LARGEST, from_maildir, serve_lmtp

__all__ = ["Command"]


class Command(BaseCommand):
    """Reads reports from standard input, a Maildir or LMTP."""

    help = (
        "Read reports of failed delivery and complaints, and send the signal "
        "django_integration.bounces.bounced for each: one from standard input, the new ones of a "
        "Maildir, or by LMTP until interrupted. Prints a line of JSON for each message."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """``--maildir`` and ``--lmtp``."""
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--maildir", type=Path, help="Read all new messages of this Maildir.")
        where.add_argument(
            "--lmtp", metavar="HOST:PORT", help="Listen there, such as 127.0.0.1:2424."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Read the reports.

        Raises:
            CommandError: the Maildir does not exist, or the port cannot be used.
        """
        try:
            if options["maildir"] is not None:
                failed = from_maildir(options["maildir"], self._take)
                if failed:
                    raise CommandError(f"messages that cannot be handled, and stay new: {failed}")
            elif options["lmtp"]:
                host, _, port = options["lmtp"].rpartition(":")
                if not host or not port.isdecimal():
                    raise CommandError("--lmtp must be HOST:PORT, such as 127.0.0.1:2424")
                serve_lmtp(host, int(port), self._take_anew)
            else:
                self._show(handle_report(sys.stdin.buffer.read(LARGEST)))
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    def _take(self, data: bytes) -> None:
        self._show(handle_report(data))

    def _take_anew(self, data: bytes) -> None:
        """Handle one message in a thread that lives long: a stale connection is not used."""
        close_old_connections()
        try:
            self._take(data)
        finally:
            close_old_connections()

    def _show(self, report: BounceReport) -> None:
        self.stdout.write(json.dumps(report.as_dict()))
