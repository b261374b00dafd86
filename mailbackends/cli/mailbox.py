"""``mailbackends mailbox``: an SMTP server that keeps all mail, and a page that shows it."""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path

import click

from mailbackends.cli.output import consoles, say

__all__ = ["mailbox"]

_NEEDED = ("aiosmtpd", "jinja2", "nh3")


def _can_be_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@click.command(
    epilog="\b\nExamples:\n"
    "  mailbackends mailbox\n"
    "  mailbackends mailbox --file mail.sqlite3 --keep 5000\n"
    "  mailbackends mailbox --smtp-port 0 --http-port 0 --preview shop.previews"
)
@click.option("--smtp-port", type=click.IntRange(0, 65535), default=1025, show_default=True)
@click.option("--http-port", type=click.IntRange(0, 65535), default=8025, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--file", type=click.Path(dir_okay=False), help="Keep mail in this SQLite file.")
@click.option("--keep", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--preview", multiple=True, metavar="MODULE", help="A module with previews.")
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A host name that browsers may use."
)
@click.option(
    "--expose", is_flag=True, help="Allow any --host: anyone who can reach it can read all mail."
)
def mailbox(
    smtp_port: int,
    http_port: int,
    host: str,
    file: str | None,
    keep: int,
    preview: tuple[str, ...],
    allow_host: tuple[str, ...],
    expose: bool,
) -> None:
    """Catch mail on loopback and show it in a page, until Ctrl+C. Port 0 takes a free port."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f'the mailbox needs {", ".join(missing)}: python -m pip install "mailbackends[mailbox]"'
        )
    for module in preview:
        if not _can_be_found(module):
            raise click.BadParameter(
                f"there is no module {module!r}: give one that Python can import from here",
                param_hint="--preview",
            )
    if file is not None and not Path(file).absolute().parent.is_dir():
        raise click.BadParameter(
            f"there is no directory {str(Path(file).parent)!r}: make it first", param_hint="--file"
        )
    from mailbackends.mailbox import NotLoopback, PortUnavailable, run

    out, _ = consoles()

    def line(text: str) -> None:
        say(out, text)
        out.file.flush()

    try:
        run(
            smtp_port=smtp_port,
            http_port=http_port,
            host=host,
            path=file,
            keep=keep,
            hosts=allow_host,
            previews=preview,
            expose=expose,
            say=line,
        )
    except KeyboardInterrupt:
        # While it starts or ends; in between `run` handles the signal.
        return
    except PortUnavailable as error:
        option = f"--{error.option.replace('_', '-')}"
        raise click.ClickException(error.explained(option)) from error
    except NotLoopback as error:
        raise click.BadParameter(error.explained("--expose"), param_hint="--host") from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{file}: {error}") from error
