"""``manage.py mail_doctor``: check each step to the mail server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_integration import EmailBackend, receipt_of
from django_integration.addresses import envelope_address, is_local_default
from django_integration.compat import backend_for
from mailbackends import ConfigurationError, InvalidAddressError, Options, Step, diagnose
from mailbackends.doctor import describe

__all__ = ["Command"]


class Command(BaseCommand):
    """Checks each step to the mail server, and reports findings and times."""

    help = (
        "Check each step to the mail server: resolve, connect, TLS with the certificate and "
        "its expiry, EHLO, login, whether the sender is accepted, and with --to a test message. "
        "Exits with status 1 if a step fails."
    )
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """``--using``, ``--to`` and ``--json``."""
        parser.add_argument("--using", default=None, help="An alias in MAILERS (Django 6.1).")
        parser.add_argument(
            "--to", action="append", metavar="ADDRESS", help="Send a test message to this address."
        )
        parser.add_argument("--json", action="store_true", help="Write JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the steps and report them.

        Raises:
            CommandError: the configuration is wrong, or a step failed.
        """
        try:
            backend = backend_for(options["using"])
            if not isinstance(backend, EmailBackend):
                name = f"{type(backend).__module__}.{type(backend).__qualname__}"
                raise CommandError(
                    f"The backend is {name}, which mail_doctor cannot check: "
                    'set it to "django_integration.EmailBackend".'
                )
            if backend.is_for_development:
                raise CommandError(
                    "The backend is the mailbox, from which mail reaches nobody: "
                    'set it to "django_integration.EmailBackend".'
                )
            steps = self._steps(backend, options["to"])
            self._report(steps, as_json=options["json"])
        except (ImproperlyConfigured, ConfigurationError) as error:
            # Django's error for an unknown alias is a KeyError, whose text is in quotes.
            text = error.args[0] if isinstance(error, KeyError) else error
            raise CommandError(f"The configuration is wrong. {text}") from error
        except InvalidAddressError as error:
            raise CommandError(f"DEFAULT_FROM_EMAIL is wrong. {error}") from error

    def _steps(self, backend: EmailBackend, to: list[str] | None) -> Iterator[tuple[Options, Step]]:
        is_ok = True
        sender = envelope_address(settings.DEFAULT_FROM_EMAIL)
        for options in backend.mailer_key.servers:
            for step in diagnose(options, probe_from=sender):
                if step.name == "probe" and is_local_default(settings.DEFAULT_FROM_EMAIL):
                    step = replace(step, warnings=(*step.warnings, _LOCAL_SENDER))
                yield options, step
                is_ok = is_ok and step.is_ok
        if to and is_ok:
            yield backend.options, _test_message(backend, to)

    def _report(self, steps: Iterator[tuple[Options, Step]], *, as_json: bool) -> None:
        failed: list[Step] = []
        rows: list[dict[str, Any]] = []
        server: Options | None = None
        for options, step in steps:
            rows.append({"server": options.server, **step.as_dict()})
            if not step.is_ok:
                failed.append(step)
            if not as_json:
                if options is not server:
                    self.stdout.write(describe(options))
                self._write(step)
            server = options
        if as_json:
            self.stdout.write(json.dumps({"ok": not failed, "steps": rows}, indent=2))
        if failed:
            raise CommandError(f"Mail cannot be sent: {failed[0].name} failed.")
        if not as_json:
            self.stdout.write(self.style.SUCCESS("Mail can be sent."))

    def _write(self, step: Step) -> None:
        styles: dict[str, Callable[[str], str]] = {
            "ok": self.style.SUCCESS,
            "failed": self.style.ERROR,
            "warning": self.style.WARNING,
            "error": self.style.ERROR,
            "": str,
        }
        for line in step.lines():
            self.stdout.write("".join(styles[kind](text) for text, kind in line))


_LOCAL_SENDER = (
    "many servers refuse a sender at localhost, and nobody can reply: set DEFAULT_FROM_EMAIL "
    "to an address in a domain that you send for"
)


def _test_message(backend: EmailBackend, to: list[str]) -> Step:
    message = EmailMessage(
        "Test message of mail_doctor",
        "If you can read this, mail from this project arrives.",
        to=to,
    )
    error: str | None = None
    try:
        backend.send_messages([message])
    except (OSError, ValueError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    receipt = receipt_of(message)
    if receipt is None:
        cancelled = getattr(message, "send_error", None)
        return Step("message", 0.0, error=error or f"not sent: {cancelled}")
    warnings = tuple(f"<{address}> refused: {reply}" for address, reply in receipt.refused.items())
    found = (f"accepted for {', '.join(receipt.accepted)}", str(receipt.reply))
    return Step("message", receipt.duration, found, warnings, error)
