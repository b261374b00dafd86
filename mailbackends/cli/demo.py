"""``mailbackends demo``: a few messages to a server inside the command, with their receipts."""

from __future__ import annotations

import time
from importlib.util import find_spec

import click

from mailbackends.cli.message import compose
from mailbackends.cli.output import consoles, say
from mailbackends.errors import SMTPException
from mailbackends.mailer import Mailer

__all__ = ["demo"]

_SENDER = "Leaf & Cup <shop@leafandcup.example>"


@click.command(epilog="\b\nExamples:\n  mailbackends demo\n  mailbackends demo --messages 50")
@click.option("--messages", type=click.IntRange(1, 10_000), default=5, show_default=True)
def demo(messages: int) -> None:
    """Send some messages to a server inside this command; nothing leaves this machine.

    Shows the time of each, that all used one connection, and what a refused recipient
    looks like.
    """
    if find_spec("aiosmtpd") is None:
        raise click.ClickException(
            'the demo needs aiosmtpd: python -m pip install "mailbackends[cli]"'
        )
    from mailbackends.testing.server import LoopbackServer

    out, _ = consoles()
    with LoopbackServer() as server, Mailer(server.url) as mailer:
        say(out, ("A mail server on loopback: ", "bold"), server.url)
        started = time.perf_counter()
        for number in range(1, messages + 1):
            headers = {
                "From": _SENDER,
                "To": f"Customer {number} <customer{number}@example.com>",
                "Subject": f"Your order {1000 + number}",
            }
            receipt = mailer.send_message(compose(headers, text="It is on its way.\n"))
            cold = "  includes opening the connection" if number == 1 else ""
            say(
                out,
                ("accepted ", "green"),
                f"{receipt.accepted[0]:<24}{receipt.duration * 1000:>8.1f} ms  {receipt.reply}",
                (cold, "dim"),
            )
        taken = time.perf_counter() - started
        server.refuse("gone@example.com", "550 5.1.1 No such customer")
        try:
            headers = {"From": _SENDER, "To": "gone@example.com", "Subject": "Your order"}
            mailer.send_message(compose(headers, text="It is on its way.\n"))
        except SMTPException as error:
            say(out, ("refused  ", "red"), f"{'gone@example.com':<24}{error.reply}")
            say(out, "         ", f"outcome: {error.outcome}; may be sent again: no")
        say(
            out,
            (f"{len(server.messages)} messages over {server.connections} connection", "bold"),
            f" in {taken * 1000:.1f} ms; nothing left this machine.",
        )
