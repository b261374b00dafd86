"""docs/parity.md: each row is run by a test of its name in both frameworks."""

from __future__ import annotations

import re

import pytest
from project.source import ROOT

PAGE = (ROOT / "docs" / "parity.md").read_text("utf-8")


@pytest.mark.parametrize("framework", ["django_integration", "flask_integration"])
def test_each_row_has_a_test_of_its_name(framework: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    source = (ROOT / "tests" / framework / "test_parity.py").read_text("utf-8")
    found = re.findall(r"^def test_(\w+)\(use|^def test_(several_servers)\(", source, re.MULTILINE)
    names = [first or second for first, second in found]
    assert len(rows) == len(set(rows)) > 15
    assert names[: len(rows)] == rows
