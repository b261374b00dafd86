"""``python -m mailbackends.mailbox``: the mailbox as a program."""

from __future__ import annotations

import argparse
import sqlite3
import sys

from mailbackends.mailbox.run import NotLoopback, PortUnavailable, run


def main(arguments: list[str] | None = None) -> int:
    """Parse the options and run the mailbox. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mailbackends.mailbox",
        description="An SMTP server on loopback that keeps all mail, and a page that shows it.",
    )
    parser.add_argument("--smtp-port", type=int, default=1025, help="default: 1025")
    parser.add_argument("--http-port", type=int, default=8025, help="default: 8025")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--file", help="an SQLite file for the mail; default: memory")
    parser.add_argument(
        "--keep", type=int, default=1000, help="the number of messages kept; default: 1000"
    )
    parser.add_argument(
        "--preview", action="append", default=[], metavar="MODULE", help="a module with previews"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name that browsers may use",
    )
    parser.add_argument("--expose", action="store_true", help="allow any --host")
    given = parser.parse_args(arguments)
    try:
        run(
            smtp_port=given.smtp_port,
            http_port=given.http_port,
            host=given.host,
            path=given.file,
            keep=given.keep,
            hosts=given.allow_host,
            previews=given.preview,
            expose=given.expose,
        )
    except PortUnavailable as error:
        option = f"--{error.option.replace('_', '-')}"
        print(f"mailbox: {error.explained(option)}", file=sys.stderr)
        return 1
    except NotLoopback as error:
        parser.error(f"--host: {error.explained('--expose')}")
    except (ImportError, OSError, ValueError, sqlite3.Error) as error:
        print(f"mailbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
