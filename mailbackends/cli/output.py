"""What is written to the terminal: in colour where it is one, plain where not."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from mailbackends.errors import SMTPException
from mailbackends.mailer import Receipt
from mailbackends.texts import one_line

__all__ = ["consoles", "error_as_dict", "one_line", "receipt_as_dict", "say", "say_json"]


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error as they are at this moment.

    Rich looks whether they are terminals, and at NO_COLOR and FORCE_COLOR.
    """
    return (
        Console(file=sys.stdout, highlight=False, markup=False, emoji=False),
        Console(file=sys.stderr, highlight=False, markup=False, emoji=False),
    )


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """One line; a part is a text, or a text and its style. It is never broken by Rich."""
    console.print(Text.assemble(*parts), soft_wrap=True)


def say_json(value: Any) -> None:
    """For programs to read: never coloured."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def receipt_as_dict(receipt: Receipt) -> dict[str, Any]:
    """A receipt for programs to read."""
    return {
        "outcome": str(receipt.outcome),
        "accepted": list(receipt.accepted),
        "refused": {to: str(reply) for to, reply in receipt.refused.items()},
        "reply": str(receipt.reply),
        "message_id": receipt.message_id,
        "seconds": round(receipt.duration, 3),
    }


def error_as_dict(error: Exception) -> dict[str, Any]:
    """What went wrong, for programs to read."""
    outcome = getattr(error, "outcome", None)
    return {
        "outcome": None if outcome is None else str(outcome),
        "error": type(error).__name__,
        "text": one_line(str(error)),
        "is_transient": isinstance(error, SMTPException) and error.is_transient,
    }
