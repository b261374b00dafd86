"""docs/security.md names a test behind each point, and each of them is there and is run.

So it is with the list of what was found in docs/compatibility.md.
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
# What must be promised, and the words that the promise's title has.
PROMISES = {
    "no injection": "injected",
    "no smuggling": "smuggled",
    "no downgrade": "TLS is taken away",
    "no secrets shown": "secret is shown",
    "verified TLS": "Certificates are verified",
}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_a_promise_names_is_there_and_is_run(path: str, name: str) -> None:
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
def test_each_promise_has_its_section(promise: str) -> None:
    assert len([title for title in SECTIONS if PROMISES[promise] in title]) == 1


@pytest.mark.parametrize("title", sorted(set(SECTIONS) - {"Tell us"}))
def test_each_point_names_a_test(title: str) -> None:
    points = re.split(r"(?m)^- ", SECTIONS[title])[1:]
    assert points, f"nothing holds up: {title}"
    for point in points:
        assert TEST.search(point), f"no test stands behind: {point}"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_that_looks_like_a_test_is_named_in_another_way(name: str) -> None:
    named = re.findall(r"tests/[\w/]+\.py::\w*", PAGES[name])
    assert len(named) == len(TEST.findall(PAGES[name])) > 0
