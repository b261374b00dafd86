"""``mailbackends doctor``: examine a server step by step, and suggest how to fix what is wrong."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console

from mailbackends.cli.output import consoles, say, say_json
from mailbackends.cli.server import options_from, server_options
from mailbackends.dkim import DKIM
from mailbackends.doctor import Step, describe, diagnose

__all__ = ["doctor"]

_STYLES = {"": "", "ok": "green", "failed": "bold red", "warning": "yellow", "error": "red"}


@click.command(
    epilog="\b\nExamples:\n"
    "  mailbackends doctor smtp+starttls://shop@mail.example.com\n"
    "  mailbackends doctor smtps://mail.example.com --username shop --password-file secret\n"
    "  mailbackends doctor smtp://localhost --from shop@example.com --to ada@example.com\n"
    "  mailbackends doctor smtp://localhost --json | jq .ok"
)
@click.argument("url", required=False)
@server_options
@click.option("--from", "sender", metavar="ADDRESS", help="Ask whether this sender is accepted.")
@click.option(
    "--to", "recipient", metavar="ADDRESS", help="Ask whether this recipient is accepted."
)
@click.option("--dkim-domain", metavar="DOMAIN", help="Compare a DKIM key with its record.")
@click.option("--dkim-selector", metavar="NAME", help="The selector of that record.")
@click.option(
    "--dkim-key-file",
    type=click.Path(exists=True, dir_okay=False),
    help="The private key, a PEM file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(
    url: str | None,
    sender: str | None,
    recipient: str | None,
    dkim_domain: str | None,
    dkim_selector: str | None,
    dkim_key_file: str | None,
    as_json: bool,
    **server: Any,
) -> None:
    """Examine the server at URL: resolve, connect, TLS, EHLO, login.

    With --from or --to the server is also asked whether it would accept a message; none
    is sent. The exit status is 0 if every step succeeded, 1 if one failed, and 2 if the
    command line is wrong.
    """
    options = options_from(url, **server)
    dkim = (dkim_domain, dkim_selector, dkim_key_file)
    if any(dkim):
        if dkim_domain is None or dkim_selector is None or dkim_key_file is None:
            raise click.UsageError(
                "--dkim-domain, --dkim-selector and --dkim-key-file belong together: give all"
            )
        key = DKIM(domain=dkim_domain, selector=dkim_selector, key_file=dkim_key_file)
        options = options.replace(dkim=key)
    out, _ = consoles()
    if not as_json:
        say(out, (describe(options), "bold"))
    steps: list[Step] = []
    for step in diagnose(options, probe_from=sender, probe_to=recipient):
        steps.append(step)
        if not as_json:
            _show(out, step)
    failed = [step for step in steps if not step.is_ok]
    warned = sum(len(step.warnings) for step in steps)
    if as_json:
        say_json(
            {
                "ok": not failed,
                "server": options.server,
                "security": options.security,
                "warnings": warned,
                "steps": [step.as_dict() for step in steps],
            }
        )
    elif failed:
        say(out, (f"Failed at {failed[0].name}.", "bold red"))
    else:
        remark = "; see the warnings" if warned else ""
        say(out, (f"Every step succeeded{remark}.", "yellow" if warned else "green"))
    sys.exit(1 if failed else 0)


def _show(out: Console, step: Step) -> None:
    for line in step.lines():
        say(out, *((text, _STYLES[kind]) for text, kind in line))
