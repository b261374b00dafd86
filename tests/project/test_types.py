"""Every public name is used in a file that type checkers check in their strict modes."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

USES = Path(__file__).parents[1] / "public_types"


def _imported(file: str) -> dict[str, set[str]]:
    """The names that a file imports from each module."""
    found: dict[str, set[str]] = {}
    for node in ast.parse(USES.joinpath(file).read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.setdefault(node.module, set()).update(each.name for each in node.names)
    return found


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("mailbackends", "core.py"),
        ("mailbackends.bounces", "core.py"),
        ("mailbackends.oauth", "core.py"),
        ("mailbackends.otel", "core.py"),
        ("django_integration", "with_django.py"),
        ("flask_integration", "with_flask.py"),
    ],
)
def test_each_public_name_is_used_where_its_types_are_checked(module: str, file: str) -> None:
    # ruff reports a name that is imported and not used.
    public = pytest.importorskip(module).__all__
    assert set(public) == _imported(file)[module]


def test_mypy_checks_these_files() -> None:
    settings = tomllib.loads(USES.parents[1].joinpath("pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"]
    assert f"tests/{USES.name}" in settings["files"]
