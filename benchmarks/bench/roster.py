"""The clients: each with its name, and whether it can run here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.installed import Missing, nodemailer_command, smtp_source
from bench.lines import Process, python

__all__ = ["CLIENTS", "Entry"]

_NEEDS = {
    "aiosmtplib_": ("aiosmtplib",),
    "django_": ("django",),
    "flask_": ("flask", "flask_mail"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A library, used in one way."""

    name: str
    title: str
    family: str
    """The module in `bench.clients`; ``nodemailer`` is not in Python."""
    manner: str
    is_ours: bool = False
    is_batch: bool = False
    """True if one call, or one connection made in the measured time, sends all messages."""
    knows_tls: bool = True
    fewest: int = 0
    is_for_large: bool = True
    """False if another client gives the same result for large messages."""
    is_for_quiet: bool = False
    """True for the clients of which the first message after a quiet minute is measured."""
    is_for_built: bool = False
    """True for the clients that create each message within the measured time."""
    is_for_others: bool = True
    """False for those of which nothing else is measured."""

    @property
    def least(self) -> int:
        """The fewest messages of a run, so that its beginning has little weight."""
        return self.fewest or (5 if self.is_batch else 1)

    def start(self, directory: Path, environment: Mapping[str, str]) -> Process:
        """Start its process, which writes the files that it needs to ``directory``.

        Raises:
            Missing: it cannot run here; the text gives the reason.
        """
        for module in _NEEDS.get(self.family, ()):
            if importlib.util.find_spec(module) is None:
                raise Missing(f"{module} is not installed")
        if self.family == "postfix" and smtp_source() is None:
            raise Missing(
                "smtp-source is not installed (Debian: package postfix, of which no service "
                "has to run)"
            )
        if self.family == "nodemailer":
            command = nodemailer_command(int(self.manner), directory)
        else:
            command = python("bench.worker", self.family, self.manner)
        return Process(self.name, command, environment)


def _theirs(name: str, title: str, family: str, manner: str, **further: Any) -> Entry:
    return Entry(name, title, family, manner, **further)


def _ours(name: str, title: str, family: str, manner: str, **further: Any) -> Entry:
    return Entry(f"ours-{name}", title, family, manner, is_ours=True, **further)


_SMALL: dict[str, Any] = {"is_for_large": False}
_BATCH: dict[str, Any] = {"is_batch": True}
_SMALL_BATCH = _BATCH | _SMALL
_QUIET: dict[str, Any] = {"is_for_quiet": True}
_QUIET_ONLY = _QUIET | {"is_for_others": False}
_BUILT: dict[str, Any] = {"is_for_built": True}
_BUILT_ONLY = _BUILT | {"is_for_others": False}
_SMTP_SOURCE = _BATCH | {"knows_tls": False, "fewest": 200}

CLIENTS = {
    entry.name: entry
    for entry in (
        _theirs("raw", "raw socket, one flight", "raw", "one flight"),
        _theirs("raw-two", "raw socket, two flights", "raw", "two flights", **_SMALL),
        _theirs("smtp-source", "smtp-source (C)", "postfix", "kept", **_SMTP_SOURCE),
        _theirs("smtplib", "smtplib, per message", "stdlib", "each", **_SMALL),
        _theirs("smtplib-kept", "smtplib, kept", "stdlib", "kept"),
        _theirs("smtplib-built", "smtplib, EmailMessage", "stdlib", "built kept", **_BUILT_ONLY),
        _theirs("aiosmtplib", "aiosmtplib, per message", "aiosmtplib_", "each", **_SMALL),
        _theirs("aiosmtplib-kept", "aiosmtplib, kept", "aiosmtplib_", "kept"),
        _theirs("nodemailer", "Nodemailer, pool of 1", "nodemailer", "1"),
        _theirs("nodemailer-4", "Nodemailer, pool of 4", "nodemailer", "4", **_SMALL_BATCH),
        _theirs("django-view", "Django, per view", "django_", "own view", **_QUIET, **_BUILT),
        _theirs("django-batch", "Django, batch", "django_", "own batch", **_BATCH),
        _theirs("flask-mail", "Flask-Mail, per message", "flask_", "own each"),
        _theirs(
            "flask-mail-connect", "Flask-Mail, connect()", "flask_", "own connect",
            **_SMALL_BATCH,
        ),
        _ours("email", "mailbackends Mailer, Email", "core", "each email", **_BUILT_ONLY),
        _ours("smtp", "mailbackends SMTP, kept", "stdlib", "ours kept"),
        _ours("cold", "mailbackends Mailer, first message", "core", "cold", **_SMALL),
        _ours(
            "cold-pipelining", "mailbackends Mailer, first, no CHUNKING", "core", "cold pipelining",
            **_SMALL,
        ),
        _ours("core", "mailbackends Mailer", "core", "each", **_QUIET),
        _ours("upkeep", "mailbackends Mailer, min_idle=1", "core", "each upkeep", **_QUIET_ONLY),
        _ours(
            "core-pipelining", "mailbackends Mailer, no CHUNKING",
            "core", "each pipelining", **_SMALL,
        ),
        _ours("batch", "mailbackends Mailer, batch", "core", "batch", **_BATCH),
        _ours(
            "batch-pipelining", "mailbackends Mailer, batch, no CHUNKING", "core",
            "batch pipelining",
            **_SMALL_BATCH,
        ),
        _ours("bytes", "mailbackends Mailer, bytes", "core", "batch bytes", **_BATCH),
        _ours(
            "bytes-pipelining", "mailbackends Mailer, bytes, no CHUNKING", "core",
            "batch bytes pipelining", **_SMALL_BATCH,
        ),
        _ours(
            "pipelined", "mailbackends Mailer, batch, 16 in flight", "core", "batch pipelined",
            **_SMALL_BATCH,
        ),
        _ours(
            "bytes-pipelined", "mailbackends Mailer, bytes, 16 in flight", "core",
            "batch bytes pipelined",
            **_SMALL_BATCH,
        ),
        _ours(
            "batch-4", "mailbackends Mailer, 4 connections",
            "core", "batch connections", **_SMALL_BATCH,
        ),
        _ours("async", "mailbackends AsyncMailer", "async_", "each", **_SMALL),
        _ours(
            "async-tasks", "mailbackends AsyncMailer, 1,000 tasks",
            "async_", "tasks", **_SMALL_BATCH,
        ),
        _ours(
            "django-view", "mailbackends in Django, per view", "django_", "ours view",
            **_QUIET, **_BUILT,
        ),
        _ours(
            "django-cold", "mailbackends in Django, first message", "django_", "ours cold",
            **_SMALL,
        ),
        _ours(
            "django-upkeep", "mailbackends in Django, min_idle=1", "django_", "ours view upkeep",
            **_QUIET_ONLY,
        ),
        _ours("django-batch", "mailbackends in Django, batch", "django_", "ours batch", **_BATCH),
        _ours("flask", "mailbackends in Flask, per message", "flask_", "ours each"),
        _ours(
            "flask-connect", "mailbackends in Flask, connect()", "flask_", "ours connect",
            **_SMALL_BATCH,
        ),
    )
}  # fmt: skip
