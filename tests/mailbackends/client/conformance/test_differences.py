"""The page that lists what differs, held against the scenarios that show it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[3] / "docs" / "smtplib.md"
ROWS = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
SHOWN = {
    found[0] or found[1]
    for path in HERE.glob("test_*.py")
    for found in re.findall(
        r"differs=\"([\w-]+)\"|docs/smtplib\.md: `([\w-]+)`", path.read_text(encoding="utf-8")
    )
}


def test_each_difference_is_listed_once_with_both_sides_and_the_reason() -> None:
    ids = [name for name, _ in ROWS]
    assert len(ids) == len(set(ids)) > 30
    for name, cells in ROWS:
        theirs, ours, why, _ = (cell.strip() for cell in cells.split("|"))
        assert theirs, name
        assert ours, name
        assert why, name


@pytest.mark.parametrize("name", [name for name, _ in ROWS])
def test_a_difference_that_is_listed_is_shown_by_a_test(name: str) -> None:
    assert name in SHOWN


def test_no_difference_is_shown_that_is_not_listed() -> None:
    assert {name for name, _ in ROWS} >= SHOWN
