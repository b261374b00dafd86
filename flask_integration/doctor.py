"""What ``flask mail doctor`` looks at, and how it prints that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from flask_integration.addresses import display
from flask_integration.backends import SmtpBackend
from flask_integration.state import MailState
from mailbackends import ConfigurationError, Step, diagnose
from mailbackends.doctor import describe

__all__ = ["examine", "show"]


def examine(state: MailState) -> Iterator[tuple[str, Iterator[Step]]]:
    """Each place that mail goes to, and the steps of the way there, made as they are asked for."""
    yield "configuration", iter([_sender(state)])
    if not issubclass(state.settings.backend, SmtpBackend):
        yield f"backend {state.settings.backend.__name__}", iter([_backend(state)])
        return
    for options in (state.options, *state.settings.fallbacks):
        yield describe(options), _diagnosed(options)


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


_COLOURS = {"ok": "green", "failed": "red", "warning": "yellow", "error": "red"}


def show(step: Step) -> None:
    """Print one step: what was found, what looks wrong, and why it failed."""
    for line in step.lines():
        click.echo("".join(click.style(text, fg=_COLOURS.get(kind)) for text, kind in line))
