"""docs/compatibility.md says what these tests have just seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("django", reason="the table needs Django and Flask")
pytest.importorskip("flask", reason="the table needs Django and Flask")

import interop.scenarios_of_ends  # noqa: F401 - its scenarios stand in the table, too
from interop.place import CLIENTS
from interop.scenarios import SCENARIOS
from interop.table import Table
from interop.world import SERVERS

PAGE = Path(__file__).parents[2] / "docs/compatibility.md"


def cells() -> dict[tuple[str, str, str], str]:
    """What the page says of each cell: nothing where it works, else the note."""
    text = PAGE.read_text()
    notes = dict(re.findall(r"(?m)^(\d+)\. (.*)$", text))
    head, _, *rows = ([part.strip() for part in line.strip("| ").split(" | ")]
                      for line in text.splitlines() if line.startswith("| "))  # fmt: skip
    said = {}
    for scenario, *row in rows:
        for server, cell in zip(head[1:], row, strict=True):
            for part in cell.split("; "):
                mark = re.fullmatch(r"(?:✓|no \((\d+)\))(?: (.*))?", part)
                assert mark is not None, f"{scenario} at {server}: {part!r}"
                for client in mark[2].split(", ") if mark[2] else CLIENTS:
                    said[scenario, server, client] = notes[mark[1]] if mark[1] else ""
    return said


def test_the_page_has_each_scenario_at_each_server_through_each_client() -> None:
    assert set(cells()) == {
        (scenario, server, client)
        for scenario in SCENARIOS
        for server in SERVERS
        for client in CLIENTS
    }


def test_the_page_says_of_each_cell_what_was_seen(table: Table) -> None:
    said = cells()
    seen = {cell: text for cell, text in table.cells.items() if text != "FAILED"}
    assert {cell: said.get(cell) for cell in seen} == seen
