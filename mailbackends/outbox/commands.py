"""The commands of an outbox, for any program that uses click: work, status, resend and so on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import click

from mailbackends.mailer.mailer import Mailer
from mailbackends.outbox.delivery import Deliver
from mailbackends.outbox.outbox import Outbox
from mailbackends.outbox.state import FINAL, State
from mailbackends.outbox.values import OutboxMessage
from mailbackends.texts import count_of

__all__ = ["add_outbox_commands"]

_DAY = 86400.0
_STATES = click.Choice([str(state) for state in State])


def add_outbox_commands(
    group: click.Group,
    outbox: Callable[[], Outbox],
    deliver: Callable[[], Deliver | dict[str, Mailer]],
    decorate: Callable[[Any], Any] = lambda command: command,
) -> None:
    """Add the commands to a group. ``outbox`` and ``deliver`` are called when they are needed.

    ``decorate`` is applied to each function, such as Flask's ``with_appcontext``.
    """

    @group.command()
    @click.option("--once", is_flag=True, help="Deliver what is due, and end.")
    @click.option("--threads", default=1, show_default=True, help="Messages sent side by side.")
    @click.option("--batch", default=50, show_default=True, help="Messages claimed at once.")
    @click.option("--lease", default=60.0, show_default=True, help="In seconds.")
    @click.option("--poll", default=1.0, show_default=True, help="In seconds.")
    @decorate
    def work(once: bool, threads: int, batch: int, lease: float, poll: float) -> None:
        """Send the messages in the outbox, until SIGTERM or Ctrl-C."""
        # Its lines are what an operator looks at.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("mailbackends.outbox").setLevel(logging.INFO)
        box = outbox()
        made = deliver()
        worker = box.worker(made, threads=threads, batch=batch, lease=lease, poll=poll)
        worker.stop_on_signals()
        try:
            if once:
                click.echo(f"{count_of(worker.run_once())} handled")
            else:
                aliases = made if isinstance(made, dict) else made.aliases
                click.echo(f"worker {worker.name} sends for {', '.join(aliases)}")
                worker.run()
        finally:
            for mailer in made.values() if isinstance(made, dict) else ():
                mailer.close()

    @group.command()
    @decorate
    def sweep() -> None:
        """Decide about messages whose worker died, or whose time is over. Workers do it too."""
        swept = outbox().worker({}, batch=1).sweep()
        click.echo(f"{count_of(swept)} changed")

    @group.command()
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("--days", type=click.IntRange(0), default=0, help="Recipients per day as well.")
    @decorate
    def status(as_json: bool, days: int) -> None:
        """Count the messages in each state. Exit status 1 if somebody has to look at them."""
        store = outbox().store
        found = store.status()
        statistics = store.per_day(days) if days else []
        if as_json:
            click.echo(json.dumps({**found.as_dict(), "days": statistics}, indent=2))
        else:
            for state in State:
                if count := found.messages.get(state, 0):
                    click.echo(f"{state:<10} {count}")
            oldest = "" if found.oldest is None else f", the oldest for {found.oldest:.0f} s"
            click.echo(f"{found.due} due{oldest}")
            for pause in found.pauses:
                click.echo(f"{pause.alias} waits until {pause.until:%H:%M:%S} UTC: {pause.reason}")
            for day in statistics:
                counts = ", ".join(f"{n} {state}" for state, n in day["recipients"].items())
                click.echo(f"{day['day']}: {counts}")
        needs_help = found.leases_expired or any(
            found.messages.get(state) for state in (State.UNKNOWN, State.PARKED)
        )
        if needs_help:
            raise SystemExit(1)

    @group.command(name="list")
    @click.option("--state", type=_STATES)
    @click.option("--address", help="A recipient.")
    @click.option("--message-id")
    @click.option("--key")
    @click.option("--limit", default=50, show_default=True)
    @decorate
    def list_(
        state: str | None, address: str | None, message_id: str | None, key: str | None, limit: int
    ) -> None:
        """List messages, the newest first, with the server's words for each recipient."""
        found = outbox().store.find(
            state=None if state is None else State(state),
            address=address,
            message_id=message_id,
            key=key,
            limit=limit,
        )
        for message in found:
            _show(message)

    @group.command()
    @click.option("--older-than", default=30.0, show_default=True, help="In days.")
    @click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice(sorted(FINAL)),
        help="Default: accepted, refused, cancelled and expired.",
    )
    @decorate
    def prune(older_than: float, states: tuple[str, ...]) -> None:
        """Delete old messages that are done, and blobs that nothing refers to."""
        chosen = [State(state) for state in states] or None
        pruned = outbox().prune(older_than=older_than * _DAY, states=chosen)
        click.echo(f"{count_of(pruned)} deleted")

    @group.command()
    @click.argument("ids", nargs=-1, required=True)
    @click.option("--everyone", is_flag=True, help="Also to recipients who accepted it.")
    @decorate
    def resend(ids: tuple[str, ...], everyone: bool) -> None:
        """Send messages again, to the recipients who do not have them for certain."""
        box = outbox()
        _each(ids, lambda id: box.resend(id, by="command line", everyone=everyone), "queued")

    @group.command()
    @click.argument("ids", nargs=-1, required=True)
    @decorate
    def cancel(ids: tuple[str, ...]) -> None:
        """Cancel messages that were not sent yet."""
        box = outbox()
        _each(ids, lambda id: box.cancel(id, by="command line"), "cancelled")

    @group.command()
    @click.argument("ids", nargs=-1, required=True)
    @click.option("--arrived/--not-arrived", required=True)
    @decorate
    def resolve(ids: tuple[str, ...], arrived: bool) -> None:
        """Say whether messages whose outcome is unknown have arrived."""
        box = outbox()
        _each(ids, lambda id: box.resolve(id, arrived=arrived, by="command line"), "resolved")


def _each(ids: tuple[str, ...], act: Callable[[str], bool], done: str) -> None:
    failed = 0
    for id in ids:
        try:
            result = done if act(id) else "unchanged: its state changed in this moment, try again"
        except ValueError as error:
            result, failed = str(error), failed + 1
        click.echo(f"{id} {result}")
    if failed:
        raise SystemExit(1)


def _show(message: OutboxMessage) -> None:
    click.echo(f"{message.id} {message.state} {message.subject!r} {message.message_id}")
    for each in message.recipients:
        words = f" {each.code} {each.text}" if each.code else ""
        click.echo(f"    {each.address} {each.state}{words}")
