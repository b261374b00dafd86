"""Output: coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from mailbackends.texts import one_line

__all__ = ["consoles", "one_line", "say", "say_json"]


def consoles() -> tuple[Console, Console]:
    """Standard output and standard error as they are now.

    Rich checks whether they are terminals, and respects NO_COLOR and FORCE_COLOR.
    """
    return (
        Console(file=sys.stdout, highlight=False, markup=False, emoji=False),
        Console(file=sys.stderr, highlight=False, markup=False, emoji=False),
    )


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print one line, which Rich does not wrap; a part is a text, or a text and its style."""
    console.print(Text.assemble(*parts), soft_wrap=True)


def say_json(value: Any) -> None:
    """Print JSON, never coloured."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
