"""docs/security.md names a test behind each promise, and each of them is there."""

from __future__ import annotations

import ast
import re

import pytest
from project.source import ROOT

PAGE = ROOT / "docs/security.md"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_a_promise_names_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name in functions


def test_each_promise_names_a_test() -> None:
    _, *sections = re.split(r"(?m)^## ", PAGE.read_text())
    promises = {section.partition("\n")[0]: section for section in sections}
    del promises["Tell us"]
    assert len(promises) >= 5
    for title, text in promises.items():
        assert "::test_" in text, f"nothing holds up: {title}"
