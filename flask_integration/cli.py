"""``flask mail``: look at the configuration, find what is wrong with it, send a test."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_integration.addresses import display
from flask_integration.backends import SmtpBackend
from flask_integration.delivery import deliver
from flask_integration.message import Message
from flask_integration.state import MailState
from mailbackends import Mailer, Options

__all__ = ["mail"]

_MASK = "********"
_SECRETS = ("password", "rate_storage", "token_provider")  # the store's URL may hold a password
_named = click.option("--mailer", default="default", help="A name in MAIL_MAILERS.")


@click.group()
def mail() -> None:
    """Look at the mail configuration, check it, and send a test message."""


@mail.command("show-config")
@_named
@click.option("--json", "as_json", is_flag=True, help="For programs to read.")
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
@with_appcontext
def doctor(mailer: str) -> None:
    """Try each step up to the login; say what is wrong, and the mend. Sends nothing."""
    state = _state(mailer)
    backend = state.settings.backend
    steps: list[tuple[str, Callable[[], str]]] = [("default sender", lambda: _sender(state))]
    if issubclass(backend, SmtpBackend):
        for options in (state.options, *state.settings.fallbacks):
            if options.socket_path is None:
                steps.append((f"resolve {options.host}", partial(_resolve, options)))
            steps.append((f"connect to {options.server}", partial(_connect, options)))
    else:
        steps.append(("backend", lambda: _other_backend(state)))
    failures = [name for name, step in steps if not _report(name, step)]
    if state.suppress:
        click.secho("note: sending is suppressed (TESTING or MAIL_SUPPRESS_SEND)", fg="yellow")
    if failures:
        sys.exit(1)
    click.secho("All is well.", fg="green")


@mail.command("send-test")
@_named
@click.option("--sender", help="In place of MAIL_DEFAULT_SENDER.")
@click.argument("address")
@with_appcontext
def send_test(mailer: str, sender: str | None, address: str) -> None:
    """Send a short message to ADDRESS, also where sending is suppressed."""
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


def _shown(state: MailState) -> dict[str, Any]:
    options = state.options
    shown: dict[str, Any] = {
        "backend": state.settings.backend.__name__,
        "default_sender": display(state.default_sender) if state.default_sender else None,
        "suppress": state.suppress,
        "max_emails": state.max_emails,
        "file_path": state.file_path,
        "mail_options": list(state.mail_options),
    }
    shown |= {name: getattr(state.rendering, name) for name in state.rendering.__slots__}
    for name in options.known():
        value = getattr(options, name)
        if name in _SECRETS and value is not None:
            value = _MASK
        shown[name] = options.server_port if name == "port" else value
    if state.settings.fallbacks:
        shown["fallbacks"] = [options.server for options in state.settings.fallbacks]
        shown["strategy"] = state.settings.strategy
    if state.settings.mailers:
        shown["mailers"] = sorted(state.settings.mailers)
    return shown


def _other_backend(state: MailState) -> str:
    state.backend.open()
    where = "" if state.backend.delivers else ": nothing leaves this machine"
    return f"{type(state.backend).__name__}{where}"


def _sender(state: MailState) -> str:
    if not state.default_sender:
        return "none: each message must give its own (MAIL_DEFAULT_SENDER)"
    return display(state.default_sender)


def _resolve(options: Options) -> str:
    try:
        found = socket.getaddrinfo(options.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(
            f"{error}: check MAIL_SERVER ({options.host!r}) and this machine's DNS"
        ) from error
    return ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))


def _connect(options: Options) -> str:
    with Mailer(options) as mailer:
        mailer.open()
    kind = {"none": "no TLS", "starttls": "STARTTLS", "tls": "TLS"}[options.security]
    login = f"logged in as {options.username}" if options.username else "no login"
    return f"{kind}, {login}"


def _report(name: str, step: Callable[[], str]) -> bool:
    started = time.perf_counter()
    try:
        result, good = step(), True
    except (OSError, ValueError) as error:
        result, good = f"{type(error).__name__}: {error}", False
    duration = time.perf_counter() - started
    mark = click.style("ok  ", fg="green") if good else click.style("FAIL", fg="red")
    click.echo(f"{mark}  {name}  {result}  ({duration * 1000:.0f} ms)")
    return good


def _fail(error: Exception) -> None:
    click.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
    sys.exit(1)
