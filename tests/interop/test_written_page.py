"""docs/compatibility.md shows the results of these tests; this file's name makes it run last."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

pytest.importorskip("django", reason="the table needs Django and Flask")
pytest.importorskip("flask", reason="the table needs Django and Flask")

import interop.scenarios_of_connections  # noqa: F401 - its scenarios are rows of the table, too
from interop.cell import CLIENTS
from interop.page import written_cells
from interop.scenarios import SCENARIOS
from interop.sections import section, with_section
from interop.servers.all import SERVERS
from interop.table import Table

PAGE = Path(__file__).parents[2] / "docs/compatibility.md"
pytestmark = pytest.mark.skipif(
    bool(os.environ.get("MAILBACKENDS_INTEROP_TABLE")), reason="this run writes the page"
)


def part(title: str) -> str:
    """The section with this title."""
    text = section(PAGE.read_text(), title)
    assert text is not None, f"the page has no {title!r}"
    return text


def test_the_page_has_each_scenario_at_each_server_through_each_client() -> None:
    assert set(written_cells(PAGE.read_text())) == {
        (scenario, server, client)
        for scenario in SCENARIOS
        for server in SERVERS
        for client in CLIENTS
    }


def test_the_page_has_the_result_of_each_cell(table: Table) -> None:
    written = written_cells(PAGE.read_text())
    seen = {cell: text for cell, text in table.cells.items() if text != "FAILED"}
    # What did not work when the page was written, or does not now, is seen by its own test.
    for cell in list(seen):
        if any("does not work yet" in text for text in (seen[cell], written.get(cell) or "")):
            del seen[cell]
    assert {cell: written.get(cell) for cell in seen} == seen


def test_the_page_has_the_errors_of_failed_tls(table: Table) -> None:
    written = part("TLS that fails")
    for wrong, texts in table.errors.items():
        for text, clients in texts.items():
            for client in clients:
                assert re.search(
                    rf"(?m)^\| {wrong} \| .*{client}.* \| {re.escape(text)} \|$", written
                )


@pytest.mark.parametrize("title", ["In numbers", "Broken off at every byte", "Under load"])
def test_the_page_has_the_numbers_of_each_kind_of_run(title: str) -> None:
    assert re.search(r"\d,\d{3}", part(title))


def test_a_run_that_writes_one_section_changes_no_other() -> None:
    page = PAGE.read_text()
    changed = with_section(page, "Under load", "\nAnother run.\n")
    assert section(changed, "Under load") == "\nAnother run.\n"
    for title in re.findall(r"(?m)^## (.*)$", page):
        if title != "Under load":
            assert part(title).strip() == (section(changed, title) or "").strip()
