"""``flask mail``: show the configuration, diagnose it, and send a test message."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_integration.addresses import bare_addresses, display
from flask_integration.backends import SmtpBackend
from flask_integration.bounces import bounces_command
from flask_integration.config import PREFIX
from flask_integration.delivery import deliver
from flask_integration.message import Message
from flask_integration.outbox import outbox_group
from flask_integration.state import MailState
from flask_integration.suppression import suppression_group
from mailbackends import ConfigurationError, Options, Step, diagnose
from mailbackends.doctor import describe

__all__ = ["mail"]

_COLOURS = {"ok": "green", "failed": "red", "warning": "yellow", "error": "red"}
_MASK = "********"
_SECRETS = ("password", "rate_storage", "token_provider")  # the URL may contain a password
_named = click.option("--mailer", default="default", help="The name of a mailer in MAIL_MAILERS.")


@click.group()
def mail() -> None:
    """Show and diagnose the mail configuration, and send a test message."""


mail.add_command(outbox_group)
mail.add_command(suppression_group)
mail.add_command(bounces_command)


@mail.command("show-config")
@_named
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_appcontext
def show_config(mailer: str, as_json: bool) -> None:
    """Show the settings in force. Secrets are masked."""
    shown = _shown(_state(mailer))
    if as_json:
        click.echo(json.dumps(shown, indent=2, default=str))
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value}")


@mail.command("doctor")
@_named
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_appcontext
def doctor(mailer: str, as_json: bool) -> None:
    """Test each step to the mail server, and suggest how to fix what fails.

    The server is asked whether it accepts MAIL_DEFAULT_SENDER; no message is sent. The exit
    status is 1 if a step fails.
    """
    places: list[dict[str, Any]] = []
    failed = False
    for place, steps in _examine(_state(mailer)):
        seen = []
        if not as_json:
            click.secho(place, bold=True)
        for step in steps:
            seen.append(step.as_dict())
            failed = failed or not step.is_ok
            if not as_json:
                _show(step)
        places.append({"place": place, "steps": seen})
    if as_json:
        click.echo(json.dumps({"ok": not failed, "places": places}, indent=2))
    elif failed:
        click.secho("There are problems.", fg="red")
    else:
        click.secho("No problems found.", fg="green")
    sys.exit(1 if failed else 0)


@mail.command("send-test")
@_named
@click.option("--sender", help="The sender; by default MAIL_DEFAULT_SENDER.")
@click.argument("address")
@with_appcontext
def send_test(mailer: str, sender: str | None, address: str) -> None:
    """Send a short message to ADDRESS, even if sending is suppressed."""
    state = _state(mailer)
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    message = Message(
        f"Test message from {app.name}",
        [address],
        body=f"This is a test of the mail configuration of {app.name}.\n",
        html=f"<p>This is a test of the mail configuration of <b>{app.name}</b>.</p>\n",
        sender=sender,
    )
    try:
        receipt = deliver(app, state, message, None, state.backend.send)
    except (OSError, ValueError) as error:
        _fail(error)
    click.secho(f"accepted for {', '.join(receipt.accepted)}: {receipt.reply}", fg="green")
    click.echo(f"Message-ID {receipt.message_id}, {receipt.duration:.3f} s")


def _state(mailer: str) -> MailState:
    state = current_app.extensions.get("mail")
    if not isinstance(state, MailState):
        raise click.ClickException(
            f"mail is not set up for the application {current_app.name!r}: call mail.init_app(app)"
        )
    try:
        return state.named(mailer)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _examine(state: MailState) -> Iterator[tuple[str, Iterator[Step]]]:
    """Yield each place that mail goes to, and the steps to it, made as they are asked for."""
    yield "configuration", iter([_sender(state)])
    if not issubclass(state.settings.backend, SmtpBackend):
        yield f"backend {state.settings.backend.__name__}", iter([_backend(state)])
        return
    for options in (state.options, *state.fallbacks):
        yield describe(options), _diagnosed(options, state)


def _diagnosed(options: Options, state: MailState) -> Iterator[Step]:
    sender = state.default_sender
    try:
        yield from diagnose(
            options,
            probe_from=bare_addresses([sender], "MAIL_DEFAULT_SENDER")[0] if sender else None,
        )
    except ConfigurationError as error:
        yield Step("settings", 0.0, error=str(error))


def _sender(state: MailState) -> Step:
    warnings = []
    if state.suppress:
        warnings.append("sending is suppressed (TESTING or MAIL_SUPPRESS_SEND)")
    if not state.default_sender:
        warnings.append("MAIL_DEFAULT_SENDER is not set: each message must give its sender")
        return Step("sender", 0.0, (), tuple(warnings))
    address = bare_addresses([state.default_sender], "MAIL_DEFAULT_SENDER")[0]
    if address.rpartition("@")[2].lower() in ("localhost", "localhost.localdomain"):
        warnings.append(
            "many servers refuse a sender at localhost, and nobody can reply: set "
            "MAIL_DEFAULT_SENDER to an address in a domain that you send for"
        )
    return Step("sender", 0.0, (display(state.default_sender),), tuple(warnings))


def _backend(state: MailState) -> Step:
    try:
        state.backend.open()
    except (OSError, ValueError) as error:
        return Step("open", 0.0, error=f"{type(error).__name__}: {error}")
    if state.settings.backend.delivers:
        return Step("open", 0.0)
    return Step("open", 0.0, ("delivers to nobody: messages stay on this machine",))


def _show(step: Step) -> None:
    for line in step.lines():
        click.echo("".join(click.style(text, fg=_COLOURS.get(kind)) for text, kind in line))


def _shown(state: MailState) -> dict[str, Any]:
    options = state.options
    shown: dict[str, Any] = {
        "BACKEND": state.settings.backend.__name__,
        "DEFAULT_SENDER": display(state.default_sender) if state.default_sender else None,
        "SUPPRESS_SEND": state.suppress,
        "DEBUG": state.debug,
        "MAX_EMAILS": state.max_emails,
        "FILE_PATH": state.file_path,
        "SEND_OPTIONS": list(state.mail_options),
        "DEFAULT_CHARSET": state.rendering.charset,
        "ASCII_ATTACHMENTS": state.rendering.ascii_filenames,
        "USE_LOCALTIME": state.rendering.local_time,
        "INLINE_CSS": state.rendering.inline_css,
        "TEXT_FROM_HTML": state.rendering.text_from_html,
        "REDIRECT_ALL_TO": list(state.staging.redirect_all_to),
        "ALLOWED_RECIPIENTS": _sorted(state.staging.allowed),
    }
    more = ("BOUNCE_ADDRESS", "SUPPRESSION_EXEMPT", "SUPPRESSION_POLICY")
    for key in ("UNSUBSCRIBE_URL", "UNSUBSCRIBE_MAX_AGE", "OUTBOX_BLOBS", *more):
        shown[key] = current_app.config.get(PREFIX + key)
    # A URL of a database may contain a password.
    for key in ("OUTBOX_DATABASE", "SUPPRESSION_DATABASE"):
        shown[key] = _MASK if current_app.config.get(PREFIX + key) else None
    for name in options.known():
        value = getattr(options, name)
        if name in _SECRETS and value is not None:
            value = _MASK
        setting = "SERVER" if name == "host" else name.upper()
        shown[setting] = options.server_port if name == "port" else value
    if state.fallbacks:
        shown["URL"] = [each.server for each in (options, *state.fallbacks)]
        shown["STRATEGY"] = state.strategy
    if state.settings.mailers:
        shown["MAILERS"] = sorted(state.settings.mailers)
    return {PREFIX + name: value for name, value in shown.items()}


def _sorted(allowed: frozenset[str] | None) -> list[str] | None:
    return None if allowed is None else sorted(allowed)


def _fail(error: Exception) -> None:
    click.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
    sys.exit(1)
