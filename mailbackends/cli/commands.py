"""The group of all commands, and how errors are reported."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from mailbackends.cli.output import one_line
from mailbackends.errors import ConfigurationError, InvalidAddressError
from mailbackends.texts import did_you_mean

__all__ = ["mailbackends"]

# Each is in the module of the same name, with _ for -, which is imported when it is used.
_COMMANDS = (
    *("bounces", "bulk", "demo", "dkim-key", "doctor", "mailbox", "oauth", "outbox", "send"),
    "suppression",
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        found: click.Command = getattr(import_module(f"mailbackends.cli.{module}"), module)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}: {did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ConfigurationError, InvalidAddressError) as error:
            # What they refuse came from an option: the exit status is 2.
            raise click.UsageError(one_line(str(error))) from error
        except (OSError, ValueError, ImportError) as error:
            # SMTPException is an OSError, ConfigurationError and the like a ValueError. None
            # of them shows a secret.
            raise click.ClickException(one_line(str(error) or type(error).__name__)) from error


def _version() -> str:
    try:
        return version("mailbackends")
    except PackageNotFoundError:
        return "unknown"


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    "  mailbackends demo\n"
    "  mailbackends doctor smtp+starttls://shop@mail.example.com\n"
    "  mailbackends send --help",
)
@click.version_option(_version(), prog_name="mailbackends")
def mailbackends() -> None:
    """Check a mail server, send mail through it, and catch mail in development.

    Name the server as a URL, here or in MAILBACKENDS_URL: smtp://host, smtp+starttls://host,
    smtps://host, lmtp://host or lmtp+unix:///path. The password comes from
    MAILBACKENDS_PASSWORD, from a file or from a prompt.
    """
