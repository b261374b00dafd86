"""``manage.py outbox``: deliver what is queued, and look after it."""

from __future__ import annotations

import getpass
import json
import signal
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_integration.outbox import operations
from django_integration.outbox.importing import SOURCES, import_from
from django_integration.outbox.operations import count_of, was
from django_integration.outbox.statistics import per_day
from django_integration.outbox.working import OutboxWorker
from mailbackends.outbox import Change, OutboxMessage, State

__all__ = ["Command"]

_EXAMPLES = """\
examples:
  manage.py outbox work                        deliver until SIGTERM or Ctrl-C
  manage.py outbox work --once                 deliver what is due, and end: for cron
  manage.py outbox status --json               counts for monitoring
  manage.py outbox resend ada@example.com      to her, what she does not have
  manage.py outbox cancel 0197...              by id, key, Message-ID or address
  manage.py outbox import post_office          what waits in django-post_office
  manage.py outbox prune --state accepted --older-than 7
"""


class Command(BaseCommand):
    """Subcommands: work, sweep, status, prune, resend, cancel, resolve, import."""

    help = "Deliver the mail in the outbox, and look after it."
    # work: what cannot be sent waits, and the messages of the checks would hide the log.
    requires_system_checks: Any = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """The parser, with examples at the end of its help."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog = _EXAMPLES
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """A parser for each subcommand."""
        commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")

        def add(name: str, text: str) -> Any:
            return commands.add_parser(name, help=text, description=text)

        work = add("work", "Deliver messages until SIGTERM or Ctrl-C.")
        work.add_argument("--once", action="store_true", help="Deliver what is due, and end.")
        work.add_argument("--batch", type=int, default=50, help="Messages claimed at once (50).")
        work.add_argument(
            "--poll", type=float, default=2.0, metavar="SECONDS", help="Between two looks (2)."
        )
        add("sweep", "Decide about expired leases and messages past their time; workers do it too.")
        status = add("status", "Show how many messages are in each state, and what waits.")
        status.add_argument("--json", action="store_true", help="Write JSON.")
        status.add_argument("--days", type=int, default=0, help="Recipients per day as well.")
        prune = add("prune", "Delete old messages, by the setting 'keep' or the options.")
        prune.add_argument("--state", action="append", choices=sorted(State), metavar="STATE")
        prune.add_argument("--older-than", type=float, metavar="DAYS")
        resend = add("resend", "Send messages again, to those who do not have them for certain.")
        resend.add_argument("--everyone", action="store_true", help="Also to those who have it.")
        cancel = add("cancel", "Cancel messages that are not being sent yet.")
        resolve = add("resolve", "Say what became of messages whose outcome is unknown.")
        outcome = resolve.add_mutually_exclusive_group(required=True)
        outcome.add_argument("--arrived", action="store_true")
        outcome.add_argument("--missing", dest="arrived", action="store_false")
        moving = add("import", "Move what waits in another queue; stop its workers first.")
        moving.add_argument("source", choices=sorted(SOURCES))
        for chosen in (resend, cancel, resolve):
            chosen.add_argument("which", nargs="+", help="An id, key, Message-ID or address.")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        """Run the subcommand.

        Raises:
            CommandError: the settings are wrong, or nothing could be done.
        """
        try:
            getattr(self, f"_{what}")(**options)
        except ImproperlyConfigured as error:
            raise CommandError(f"The configuration is wrong. {error}") from error

    # Workers

    def _work(self, *, once: bool, batch: int, poll: float, verbosity: int, **_: Any) -> None:
        if batch < 1 or poll <= 0:
            raise CommandError("--batch must be 1 or more, and --poll more than 0 seconds.")
        worker = self._worker(batch=batch, poll=poll, on_change=self._show if verbosity else None)
        handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
        worker.stop_on_signals()
        try:
            if once:
                count = worker.run_once()
                self.stdout.write(f"{count_of(count)} {was(count)} tried.")
                return
            self.stdout.write(f"Worker {worker.name} delivers. Stop it with Ctrl-C.")
            self.stdout.flush()
            worker.run()
            self.stdout.write("Stopped.")
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)

    def _worker(self, **options: Any) -> OutboxWorker:
        return OutboxWorker(operations.outbox_store(), **options)

    def _show(self, message: OutboxMessage, change: Change) -> None:
        reason = change.reason or (change.log.text if change.log else "")
        line = f"{message.id} {change.state.value}: {' '.join(message.pending)}: {reason}"
        is_good = change.state is State.ACCEPTED
        self.stdout.write(line if is_good else self.style.WARNING(line))
        self.stdout.flush()

    def _sweep(self, **_: Any) -> None:
        self.stdout.write(f"{count_of(self._worker().sweep())} changed.")

    # Looking

    def _status(self, *, json: bool, days: int, **_: Any) -> None:
        status = operations.outbox_store().status()
        statistics = per_day(days) if days else []
        if json:
            self.stdout.write(_as_json({**status.as_dict(), "days": statistics}))
            return
        for state in State:
            if count := status.messages.get(state):
                self.stdout.write(f"{state.value:10} {count:>8}")
        if not status.messages:
            self.stdout.write("The outbox is empty.")
        if status.due:
            self.stdout.write(f"{status.due} due, the oldest for {status.oldest:.0f} s.")
        if status.leases_expired:
            expired = status.leases_expired
            have = "lease has" if expired == 1 else "leases have"
            self.stdout.write(f"{expired} {have} expired: run a worker.")
        for pause in status.pauses:
            self.stdout.write(f"{pause.alias} waits until {pause.until:%H:%M:%S}: {pause.reason}")
        for day in statistics:
            counts = ", ".join(f"{count} {state}" for state, count in day["recipients"].items())
            self.stdout.write(f"{day['day']}: {counts}")

    # Changing

    def _import(self, *, source: str, **_: Any) -> None:
        moved = left = 0
        for each in import_from(source):
            if each.reason is None:
                moved += 1
            else:
                left += 1
                self.stdout.write(self.style.WARNING(f"{each.source} was left: {each.reason}"))
            self._count(moved + left)
        self.stdout.write(f"{count_of(moved)} {was(moved)} moved.")
        if left:
            raise CommandError(f"{count_of(left)} {was(left)} left in the other queue.")

    def _prune(self, *, state: list[str] | None, older_than: float | None, **_: Any) -> None:
        keep: dict[State, float] | None = None
        if state or older_than is not None:
            if not state or older_than is None:
                raise CommandError("--state and --older-than are given together.")
            keep = {State(each): older_than for each in state}
        total = 0
        try:
            for count in operations.prune(operations.outbox_store(), keep=keep):
                total += count
                self._count(total)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count_of(total)} deleted.")

    def _count(self, done: int) -> None:
        """On a terminal, how many are done; what takes long shows that it goes on."""
        if sys.stderr.isatty():
            self.stderr.write(f"\r{count_of(done)}", ending="\r")

    def _resend(self, *, which: list[str], everyone: bool, **_: Any) -> None:
        self._for_each(
            which,
            "will be sent again",
            lambda id, by: operations.resend(id, by=by, everyone=everyone),
        )

    def _cancel(self, *, which: list[str], **_: Any) -> None:
        self._for_each(which, "cancelled", lambda id, by: operations.cancel(id, by=by))

    def _resolve(self, *, which: list[str], arrived: bool, **_: Any) -> None:
        self._for_each(
            which, "resolved", lambda id, by: operations.resolve(id, arrived=arrived, by=by)
        )

    def _for_each(self, which: list[str], what: str, act: Callable[[UUID, str], None]) -> None:
        failed = 0
        for text in which:
            ids = operations.find_ids(text)
            if not ids:
                self.stderr.write(f"{text}: no message has this id, key, Message-ID or address.")
                failed += 1
            for id in ids:
                try:
                    act(id, _who())
                except ValueError as error:
                    self.stderr.write(f"{id}: {error}.")
                    failed += 1
                else:
                    self.stdout.write(f"{id}: {what}.")
        if failed:
            raise CommandError(f"{failed} of them were not changed.")


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str)


def _who() -> str:
    try:
        return f"manage.py ({getpass.getuser()})"
    except (ImportError, KeyError, OSError):
        return "manage.py"
