"""`Step`: the result of one step of a diagnosis, as text and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mailbackends.errors import (
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    TokenError,
)
from mailbackends.mailer import Options

__all__ = ["Segment", "Step", "describe", "explained"]

Kind = Literal["", "ok", "failed", "warning", "error"]
Segment: TypeAlias = tuple[str, Kind]
"""A piece of a line, and what it is; a terminal may give each kind a colour."""

_INDENT = " " * 29
_SECURITY = {"none": "no TLS", "starttls": "STARTTLS", "tls": "TLS from the first byte"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a connection: what was found, what looks wrong, and why it failed."""

    name: str
    seconds: float
    findings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    """Why the step failed, and how to fix it; None if it succeeded."""

    @property
    def is_ok(self) -> bool:
        """True if the step succeeded."""
        return self.error is None

    def as_dict(self) -> dict[str, Any]:
        """The step as JSON types; the time is in milliseconds."""
        return {
            "name": self.name,
            "ok": self.is_ok,
            "milliseconds": round(self.seconds * 1000, 1),
            "findings": list(self.findings),
            "warnings": list(self.warnings),
            "error": self.error,
        }

    def lines(self) -> list[list[Segment]]:
        """The step as lines of text, each as its segments."""
        mark: Segment = ("ok    ", "ok") if self.is_ok else ("FAILED", "failed")
        first, *others = self.findings or ("",)
        time = f" {self.name:<9}{self.seconds * 1000:>8.1f} ms  {first}".rstrip()
        lines: list[list[Segment]] = [[mark, (time, "")]]
        lines += [[(f"{_INDENT}{line}", "")] for line in others]
        lines += [[(_INDENT, ""), (f"warning: {line}", "warning")] for line in self.warnings]
        if self.error:
            lines.append([(_INDENT, ""), (self.error, "error")])
        return lines


def describe(options: Options) -> str:
    """The server, its security and the login in one line, without secrets."""
    login = f"login as {options.username}" if options.credentials else "no login"
    protocol = "LMTP, " if options.protocol == "lmtp" else ""
    return f"{options.server}, {protocol}{_SECURITY[options.security]}, {login}"


def explained(error: OSError) -> str:
    """The type and text of the error, with a suggested fix."""
    reply = getattr(error, "reply", None)
    what = error.args[0] if isinstance(error, TokenError) else None
    text = f"{type(error).__name__}: {what or reply or (error.args[-1] if error.args else error)}"
    if hint := getattr(error, "hint", None):
        return f"{text}: {hint}"
    if isinstance(error, SMTPSenderRefused):
        return f"{text}: this server or login may not send as <{error.sender}>: use another sender"
    if isinstance(error, SMTPRecipientsRefused):
        fix = "log in, or ask for permission to relay" if "relay" in text.lower() else "check it"
        return f"{text}: the recipient <{next(iter(error.recipients))}> is refused: {fix}"
    return text
