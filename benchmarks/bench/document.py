"""Writes the tables into a page of the documentation, between markers."""

from __future__ import annotations

import re
from pathlib import Path

from bench.results import Results
from bench.tables import (
    Table,
    about,
    case_table,
    gain_table,
    line_table,
    profile_table,
    sink_note,
    wanted_table,
)

__all__ = ["fill", "filled"]

_MARKED = re.compile(r"(<!-- table: ([\w -]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page: Path, results: Results) -> None:
    """Update the tables in this page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(filled(text, results), encoding="utf-8")


def filled(text: str, results: Results) -> str:
    """The text with the content after each ``<!-- table: NAME -->`` updated.

    Names are ``about``, ``sink``, ``wanted``, ``line``, ``gain NAME``, ``case NAME`` and
    ``profile NAME``; ``optimised`` before a name means the results of an optimised interpreter.
    A table without results is left unchanged.
    """

    def table(found: re.Match[str]) -> str:
        name, shown = found[2], results
        if name.startswith("optimised "):
            if results.optimised is None:
                return found[0]
            name, shown = name.removeprefix("optimised "), results.optimised
        sentences = {"about": about, "sink": sink_note}
        if name in sentences:
            return f"{found[1]}{sentences[name](shown)}\n{found[3]}"
        made = _table(name, shown)
        return f"{found[1]}{made.markdown()}\n{found[3]}" if made.rows else found[0]

    return _MARKED.sub(table, text)


def _table(name: str, results: Results) -> Table:
    kind, _, case = name.partition(" ")
    match kind:
        case "wanted":
            return wanted_table(results)
        case "line":
            return line_table(results)
        case "gain":
            return gain_table(results, case)
        case "case":
            return case_table(results, case)
        case "profile":
            return profile_table(results, case)
    raise ValueError(f"unknown table {name!r}")
