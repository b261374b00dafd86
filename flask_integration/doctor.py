"""What ``flask mail doctor`` looks at, and how it tells what it found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from flask_integration.addresses import display
from flask_integration.backends import SmtpBackend
from flask_integration.state import MailState
from mailbackends import ConfigurationError, Step, diagnose

__all__ = ["as_dict", "examine", "show"]


def examine(state: MailState) -> Iterator[tuple[str, Iterator[Step]]]:
    """Each place that mail goes to, and the steps of the way there, made as they are asked for."""
    yield "configuration", iter([_sender(state)])
    if not issubclass(state.settings.backend, SmtpBackend):
        yield f"backend {state.settings.backend.__name__}", iter([_backend(state)])
        return
    for options in (state.options, *state.settings.fallbacks):
        tls = {"none": "no TLS", "starttls": "STARTTLS", "tls": "TLS from the first byte"}
        login = f"login as {options.username}" if options.credentials else "no login"
        yield f"{options.server}, {tls[options.security]}, {login}", _diagnosed(options)


def _diagnosed(options: Any) -> Iterator[Step]:
    try:
        yield from diagnose(options)
    except ConfigurationError as error:
        yield Step("settings", 0.0, error=str(error))


def _sender(state: MailState) -> Step:
    warnings = []
    if state.suppress:
        warnings.append("sending is suppressed (TESTING or MAIL_SUPPRESS_SEND)")
    if not state.default_sender:
        warnings.append("MAIL_DEFAULT_SENDER is not set: each message must give its sender")
        return Step("sender", 0.0, (), tuple(warnings))
    return Step("sender", 0.0, (display(state.default_sender),), tuple(warnings))


def _backend(state: MailState) -> Step:
    try:
        state.backend.open()
    except (OSError, ValueError) as error:
        return Step("open", 0.0, error=f"{type(error).__name__}: {error}")
    if state.settings.backend.delivers:
        return Step("open", 0.0)
    return Step("open", 0.0, ("delivers to nobody: messages stay on this machine",))


def show(step: Step) -> None:
    """Write one step to the terminal: what was found, what to look into, what is wrong."""
    mark = click.style("ok    ", fg="green") if step.is_ok else click.style("FAILED", fg="red")
    first, *others = step.findings or ("",)
    click.echo(f"{mark} {step.name:<9}{step.seconds * 1000:>8.1f} ms  {first}".rstrip())
    for line in others:
        click.echo(f"{'':>29}{line}")
    for line in step.warnings:
        click.echo(f"{'':>29}{click.style(f'warning: {line}', fg='yellow')}")
    if step.error:
        click.echo(f"{'':>29}{click.style(step.error, fg='red')}")


def as_dict(step: Step) -> dict[str, Any]:
    """One step for programs to read."""
    return {
        "name": step.name,
        "ok": step.is_ok,
        "milliseconds": round(step.seconds * 1000, 1),
        "findings": list(step.findings),
        "warnings": list(step.warnings),
        "error": step.error,
    }
