"""``mailbackends send``: one message, from options, from a file or from standard input."""

from __future__ import annotations

import re
import sys
from email import message_from_binary_file
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Any

import click

from mailbackends.cli.message import compose, new_message_id, read_text
from mailbackends.cli.output import consoles, say, say_json
from mailbackends.cli.server import (
    opened_list,
    options_from,
    server_options,
    suppression_options,
)
from mailbackends.errors import SMTPException
from mailbackends.mailer import Mailer

__all__ = ["send"]

_FILE = click.Path(exists=True, dir_okay=False)


@click.command(
    epilog="\b\nExamples:\n"
    "  mailbackends send --server smtp://localhost --from shop@example.com \\\n"
    "      --to ada@example.com --subject Invoice --text 'Enclosed.' --attach invoice.pdf\n"
    "  echo 'The backup is done.' | mailbackends send --from cron@example.com \\\n"
    "      --to ops@example.com --subject Backup\n"
    "  mailbackends send --message saved.eml --to ada@example.com"
)
@click.option("--server", "url", metavar="URL", help="The server; default: MAILBACKENDS_URL.")
@server_options
@click.option("--from", "sender", metavar="ADDRESS")
@click.option("--to", multiple=True, metavar="ADDRESS", help="Repeatable.")
@click.option("--cc", multiple=True, metavar="ADDRESS")
@click.option("--bcc", multiple=True, metavar="ADDRESS", help="Not shown in the message.")
@click.option("--reply-to", metavar="ADDRESS")
@click.option("--subject", default="")
@click.option("--text", help="The text; default: standard input.")
@click.option("--text-file", type=_FILE, help="A file with the text.")
@click.option("--html-file", type=_FILE, help="A file with the HTML.")
@click.option("--attach", multiple=True, type=_FILE, help="Repeatable.")
@click.option(
    "--message",
    "message_file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="A finished message (RFC 5322), - for standard input; --from and --to set the envelope.",
)
@suppression_options
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def send(
    url: str | None,
    sender: str | None,
    to: tuple[str, ...],
    bcc: tuple[str, ...],
    message_file: str | None,
    database: str | None,
    stream: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Send one message and show its receipt.

    The exit status is 0 if all recipients were accepted, 1 if one was refused or the
    message was not sent, and 2 if the command line is wrong.
    """
    server = {
        name: given.pop(name)
        for name in ("username", "password_file", "ask_password", "cafile", "timeout")
    }
    options = options_from(url, **server)
    if server["password_file"] == "-" and (message_file == "-" or _reads_stdin(given)):  # noqa: S105
        raise click.UsageError("Standard input cannot be both the password and the message.")
    message: Message[Any, Any]
    if message_file is not None:
        _refuse_other_options(given, bcc)
        message = _read(message_file)
        envelope = (sender, list(to) or None)
    else:
        message = _compose(sender, to, bcc, given)
        envelope = (None, None)
    try:
        with (
            opened_list(database) as store,
            Mailer(options.replace(suppression=store)) as mailer,
        ):
            receipt = mailer.send_message(message, *envelope, stream=stream)
    except SMTPException as error:
        if not as_json:
            raise
        say_json(error.as_dict())
        sys.exit(1)
    if as_json:
        say_json(receipt.as_dict())
    else:
        out, _ = consoles()
        for address in receipt.accepted:
            say(out, ("accepted ", "green"), address)
        for address, reply in receipt.refused.items():
            say(out, ("refused  ", "red"), f"{address}: {reply}")
        for address, entry in receipt.suppressed.items():
            say(out, ("suppressed ", "yellow"), f"{address}: {entry}")
        say(out, "reply    ", str(receipt.reply))
        if receipt.message_id:
            say(out, "id       ", receipt.message_id)
        say(out, "time     ", f"{receipt.duration * 1000:.1f} ms")
    sys.exit(1 if receipt.refused else 0)


def _compose(
    sender: str | None, to: tuple[str, ...], bcc: tuple[str, ...], given: dict[str, Any]
) -> EmailMessage:
    if not sender or not (to or given["cc"] or bcc):
        raise click.UsageError("Give --from and at least one --to (or --cc, --bcc).")
    if given["text"] is not None and given["text_file"]:
        raise click.UsageError("Give --text or --text-file, not both.")
    text: str | None = given["text"]
    if given["text_file"]:
        text = read_text(Path(given["text_file"]))
    elif _reads_stdin(given):
        if sys.stdin.isatty():
            raise click.UsageError("Give --text, --text-file or --html-file, or pipe the text in.")
        text = sys.stdin.read()
    html = given["html_file"]
    headers = {
        "From": sender,
        "To": ", ".join(to),
        "Cc": ", ".join(given["cc"]),
        "Bcc": ", ".join(bcc),
        "Reply-To": given["reply_to"] or "",
        "Subject": given["subject"],
    }
    html_text = read_text(Path(html)) if html else None
    attachments = [Path(path) for path in given["attach"]]
    try:
        return compose(headers, text=text, html=html_text, attachments=attachments)
    except ValueError as error:
        # As it is called here.
        said = re.sub(r"^the (From|To|Cc|Bcc|Reply-To) field", _option_for, str(error))
        raise click.UsageError(said) from error


def _option_for(field: re.Match[str]) -> str:
    return f"--{field[1].lower()}"


def _reads_stdin(given: dict[str, Any]) -> bool:
    return given["text"] is None and not given["text_file"] and not given["html_file"]


def _refuse_other_options(given: dict[str, Any], bcc: tuple[str, ...]) -> None:
    names = [name for name, value in {**given, "bcc": bcc}.items() if value]
    if names:
        option = names[0].replace("_", "-")
        raise click.UsageError(
            f"--{option} cannot be combined with --message, which is a finished message."
        )


def _read(path: str) -> Message[Any, Any]:
    if path == "-":
        message = message_from_binary_file(sys.stdin.buffer, policy=SMTP)
    else:
        with Path(path).open("rb") as file:
            message = message_from_binary_file(file, policy=SMTP)
    if not message.keys():
        raise ValueError(f"{path} is not a message: it has no header fields")
    # What a submission server would add (RFC 6409 section 8).
    if "Date" not in message:
        message["Date"] = formatdate(localtime=True)
    if "Message-ID" not in message:
        message["Message-ID"] = new_message_id(str(message["From"] or ""))
    return message
