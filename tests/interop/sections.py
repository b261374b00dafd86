"""Sections of a page that different runs write: each leaves the others' as they are."""

from __future__ import annotations

import re

__all__ = ["section", "with_section"]


def section(page: str, title: str) -> str | None:
    """What stands under ``## title``, or None where it is not there."""
    found = _pattern(title).search(page)
    return found[1] if found else None


def with_section(page: str, title: str, body: str) -> str:
    """The page with this under the title: where it stands, or else at the end."""
    text = f"## {title}\n{body}"
    if section(page, title) is None:
        return f"{page.rstrip()}\n\n{text}"
    return _pattern(title).sub(lambda _: text + "\n", page).rstrip() + "\n"


def _pattern(title: str) -> re.Pattern[str]:
    return re.compile(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)")
