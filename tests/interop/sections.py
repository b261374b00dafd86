"""Sections of a page that different runs write: each run changes its own only."""

from __future__ import annotations

import re

__all__ = ["section", "with_section"]


def section(page: str, title: str) -> str | None:
    """The text under ``## title``, or None if there is no such title."""
    found = _pattern(title).search(page)
    return found[1] if found else None


def with_section(page: str, title: str, body: str) -> str:
    """The page with this text under the title, which is added at the end if it is missing."""
    text = f"## {title}\n{body}"
    if section(page, title) is None:
        return f"{page.rstrip()}\n\n{text}"
    return _pattern(title).sub(lambda _: text + "\n", page).rstrip() + "\n"


def _pattern(title: str) -> re.Pattern[str]:
    return re.compile(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)")
