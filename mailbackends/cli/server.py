"""The options that several commands share: the server, its password, the database."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailbackends.cli.message import read_text
from mailbackends.cli.output import consoles, say
from mailbackends.mailer import Options
from mailbackends.wording import URL

__all__ = [
    "PASSWORD_VARIABLE",
    "URL_VARIABLE",
    "database_option",
    "opened_list",
    "options_from",
    "server_options",
    "suppression_options",
]

URL_VARIABLE = "MAILBACKENDS_URL"
_DATABASE_VARIABLE = "MAILBACKENDS_DATABASE"
PASSWORD_VARIABLE = "MAILBACKENDS_PASSWORD"  # noqa: S105 - the name of a variable

_PASSWORD = f"a password in {PASSWORD_VARIABLE} or --password-file"
_WORDING = dataclasses.replace(
    URL,
    log_in=f"give --username, and {_PASSWORD}",
    log_out="leave user name and password out of URL and command line",
    credentials=_PASSWORD,
    names={
        "username": "the user name",
        "password": "the password",
        "ssl_cafile": "--cafile",
        "timeout": "--timeout",
        "host": "the host in the URL",
        "port": "the port in the URL",
        "rate": "--rate",
        "batch_connections": "--connections",
    },
)

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")

if TYPE_CHECKING:
    from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore

Function = TypeVar("Function", bound=Callable[..., Any])


if TYPE_CHECKING:
    _ParamType = click.ParamType[float]
else:
    _ParamType = click.ParamType


class Seconds(_ParamType):
    """A number of seconds."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; the usage error says what to write."""
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds: write one, such as 30", param, ctx)


def server_options(command: Function) -> Function:
    """Add ``--username``, ``--password-file``, ``--ask-password``, ``--cafile``, ``--timeout``."""
    for option in (
        click.option(
            "--timeout", type=Seconds(), metavar="SECONDS", help="For each wait; default: 30."
        ),
        click.option(
            "--cafile",
            type=click.Path(exists=True, dir_okay=False),
            help="Trust this certificate authority (PEM) instead of the system's.",
        ),
        click.option("--ask-password", is_flag=True, help="Prompt for the password."),
        click.option(
            "--password-file",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            help=f"A file whose first line is the password; default: {PASSWORD_VARIABLE}.",
        ),
        click.option(
            "--username", metavar="NAME", help="The user name, unless the URL contains it."
        ),
    ):
        command = option(command)
    return command


def database_option(command: Function) -> Function:
    """Add ``--database``, for a group of commands that needs one."""
    return click.option(
        "--database",
        metavar="URL",
        envvar=_DATABASE_VARIABLE,
        required=True,
        help=f"As SQLAlchemy takes it; default: {_DATABASE_VARIABLE}.",
    )(command)


def suppression_options(command: Function) -> Function:
    """Add ``--database`` and ``--stream``, for a command that sends."""
    for option in (
        click.option("--stream", help="What kind of mail it is for that list; see docs."),
        click.option(
            "--database",
            metavar="URL",
            help="Leave out those on the suppression list in this database.",
        ),
    ):
        command = option(command)
    return command


def options_from(
    url: str | None,
    *,
    username: str | None,
    password_file: str | None,
    ask_password: bool,
    cafile: str | None,
    timeout: float | None,
) -> Options:
    """The `Options` for the server that the command line or the environment names.

    Raises:
        click.UsageError: no server is named.
        ConfigurationError: the URL or an option is wrong.
    """
    given = url or os.environ.get(URL_VARIABLE)
    if not given:
        raise click.UsageError(
            f"No server is named: give its URL (smtp://host), or set {URL_VARIABLE}."
        )
    if _HOST.fullmatch(given):
        raise click.UsageError(
            f"The server must be a URL, got {given!r}: write smtp+starttls://{given} for STARTTLS, "
            f"smtps://{given} for TLS from the first byte, or smtp://{given}."
        )
    options = Options.parse_url(given)
    if url and "password" in options:
        _, err = consoles()
        say(
            err,
            ("note: ", "yellow"),
            "other users of this machine can see the password in the command line: "
            f"set {PASSWORD_VARIABLE} instead",
        )
    if username is not None:
        options["username"] = username
    if cafile is not None:
        options["ssl_cafile"] = cafile
    if timeout is not None:
        options["timeout"] = timeout
    if "username" not in options and (password_file is not None or ask_password):
        option = "--ask-password" if ask_password else "--password-file"
        raise click.UsageError(f"{option} is given without a user name: give --username too.")
    if "username" in options:
        password = _password(password_file, ask_password, options)
        if password is not None:
            options["password"] = password
    return Options.from_mapping({**options, "wording": _WORDING})


@contextmanager
def opened_list(database: str | None) -> Iterator[SQLAlchemySuppressionStore | None]:
    """The list in a database; None without one.

    Raises:
        click.UsageError: SQLAlchemy is not installed.
    """
    if database is None:
        yield None
        return
    store = _made(database)
    try:
        yield store
    finally:
        store.close()


def _made(database: str) -> SQLAlchemySuppressionStore:
    try:
        from mailbackends.suppression.sqlalchemy_store import SQLAlchemySuppressionStore
    except ImportError as error:
        raise click.UsageError(
            f"The suppression list needs SQLAlchemy ({error}): install 'mailbackends[outbox]'."
        ) from error
    return SQLAlchemySuppressionStore(database)


def _password(file: str | None, ask: bool, options: dict[str, Any]) -> str | None:
    if file is not None:
        text = sys.stdin.read() if file == "-" else read_text(Path(file))
        return text.splitlines()[0] if text else ""
    if not ask:
        if (found := os.environ.get(PASSWORD_VARIABLE)) is not None:
            return found
        known = ("password", "auth_mechanisms", "oauth")
        if any(name in options for name in known) or not sys.stdin.isatty():
            return None
    answer: str = click.prompt(
        f"Password of {options['username']}", hide_input=True, err=True, default="",
        show_default=False,
    )  # fmt: skip
    return answer
