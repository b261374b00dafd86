"""docs/security.md names a test for each point, and each of these tests exists and runs.

The same holds for the findings in docs/compatibility.md.
"""

from __future__ import annotations

import ast
import re

import pytest
from project.source import ROOT

PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("security.md", "compatibility.md")}
SECTIONS = {
    title: text
    for section in re.split(r"(?m)^## ", PAGES["security.md"])[1:]
    for title, _, text in [section.partition("\n")]
}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
NAMED = sorted({named for page in PAGES.values() for named in TEST.findall(page)})
# The required promises, and words in their titles.
PROMISES = {
    "no injection": "injected",
    "no smuggling": "smuggled",
    "no downgrade": "TLS is taken away",
    "no secrets shown": "secret is shown",
    "verified TLS": "Certificates are verified",
}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_named_test_exists_and_runs(path: str, name: str) -> None:
    assert path.rpartition("/")[2].startswith("test_"), "pytest does not collect this file"
    tree = ast.parse((ROOT / path).read_text())
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert len(found) == 1
    decorators = " ".join(ast.unparse(one) for one in found[0].decorator_list)
    assert "skip" not in decorators
    assert "xfail" not in decorators


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_has_a_section(promise: str) -> None:
    assert len([title for title in SECTIONS if PROMISES[promise] in title]) == 1


@pytest.mark.parametrize("title", sorted(set(SECTIONS) - {"Report a vulnerability"}))
def test_each_point_names_a_test(title: str) -> None:
    points = re.split(r"(?m)^- ", SECTIONS[title])[1:]
    assert points, f"no points: {title}"
    for point in points:
        assert TEST.search(point), f"no test is named: {point}"


@pytest.mark.parametrize("name", PAGES)
def test_each_name_of_a_test_has_the_expected_form(name: str) -> None:
    named = re.findall(r"tests/[\w/]+\.py::\w*", PAGES[name])
    assert len(named) == len(TEST.findall(PAGES[name])) > 0
