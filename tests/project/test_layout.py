"""The house: layers that import only from above, small files, everything documented."""

from __future__ import annotations

import ast
import graphlib
import re
from importlib import import_module
from pathlib import Path

import pytest
from project.source import PACKAGES, ROOT, imports, modules

# Each may import from those before it.
LAYERS = [
    "mailbackends.jsonable",
    "mailbackends.texts",
    "mailbackends.secret",
    "mailbackends.reply",
    "mailbackends.outcome",
    "mailbackends.errors",
    "mailbackends.events",
    "mailbackends.mime",
    "mailbackends.protocol",
    "mailbackends.transport",
    "mailbackends.client",
    "mailbackends.pool",
    "mailbackends.mailer",
    "mailbackends.integration",
    "mailbackends.doctor",
    "mailbackends.testing",
    "mailbackends.previews",
    "mailbackends.mailbox",
    "mailbackends.cli",
    "mailbackends.__main__",
    "mailbackends",
]
# Parts whose public names the integrations may import too.
EXTRA_PARTS = {"doctor", "integration", "mailbox", "previews"}
# What needs sockets, locks, clocks or logs has no place in the pure layer.
IMPURE = {"asyncio", "logging", "queue", "select", "selectors", "socket", "threading", "time"}

LONGEST = 320


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def layer_of(module: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if within(module, layer))


@pytest.mark.parametrize("module", modules("mailbackends"))
def test_each_layer_imports_only_from_those_above_it(module: str) -> None:
    for imported in imports(module, modules()[module]):
        if within(imported, "mailbackends"):
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}"
            assert layer_of(imported) < len(LAYERS) - 1, f"{module} imports {imported}"
        assert imported.partition(".")[0] not in ("django", "flask")
        if within(module, "mailbackends.protocol") or within(module, "mailbackends.mime"):
            assert imported.partition(".")[0] not in IMPURE, f"{module} imports {imported}"


@pytest.mark.parametrize("module", modules("django_integration", "flask_integration"))
def test_the_integrations_use_only_public_names_of_the_core(module: str) -> None:
    import mailbackends

    other = "flask" if within(module, "django_integration") else "django"
    for imported in imports(module, modules()[module]):
        package, _, name = imported.partition(".")
        assert package not in (other, f"{other}_integration")
        if package == "mailbackends":
            # Beside the core, what stands on top of it: its own public names.
            part, _, inner = name.partition(".")
            if part in EXTRA_PARTS:
                known = import_module(f"mailbackends.{part}").__all__
                assert inner in ("", *known), f"{module} imports {imported}"
            else:
                assert name in ("", *mailbackends.__all__), f"{module} imports {imported}"


def test_no_module_imports_itself_by_a_detour() -> None:
    known = modules()
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        graph[module] = set()
        for imported in imports(module, path):
            target = imported if imported in known else imported.rpartition(".")[0]
            if target in known and target != module:
                graph[module].add(target)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", modules())
def test_no_file_holds_more_than_one_idea(module: str) -> None:
    length = len(modules()[module].read_text(encoding="utf-8").splitlines())
    assert length <= LONGEST, f"{length} lines"


@pytest.mark.parametrize("module", modules())
def test_what_is_public_is_documented(module: str) -> None:
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), "the module has no docstring"
    assert list(undocumented(tree)) == []


def undocumented(parent: ast.Module | ast.ClassDef, prefix: str = "") -> list[str]:
    missing: list[str] = []
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") or any(
            # The text stands at the first of an overload, or at what is overridden.
            ast.unparse(mark).rpartition(".")[2] in ("overload", "override", "setter")
            for mark in node.decorator_list
        ):
            continue
        if not ast.get_docstring(node):
            missing.append(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            missing += undocumented(node, f"{prefix}{node.name}.")
    return missing


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed_and_names_what_it_hands_on(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    assert any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for node in tree.body
    )


def test_the_tests_folders_cannot_stand_in_for_the_packages() -> None:
    """tests/ is on sys.path: an __init__.py in tests/mailbackends would hide mailbackends."""
    assert [p for p in PACKAGES if (ROOT / "tests" / p / "__init__.py").exists()] == []


def tracked_text() -> list[Path]:
    kinds = {".py", ".md", ".toml", ".ini", ".yaml", ".html", ".txt", ".cfg"}
    skipped = re.compile(r"\.(git|tox|venv|.*_cache|hypothesis)|node_modules|build|dist")
    return [
        path
        for path in ROOT.rglob("*")
        if path.suffix in kinds
        and not any(skipped.match(part) for part in path.relative_to(ROOT).parts)
    ]


def test_no_file_names_a_place_of_one_machine() -> None:
    places = re.compile(r"(?<![\w.])/(work|opt|root|home)/\w+")
    for path in tracked_text():
        if path != Path(__file__):
            found = places.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path.relative_to(ROOT)}: {found}"
