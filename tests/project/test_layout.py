"""The structure of the packages, beyond the layers and cycles that import-linter checks."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
from project.source import PACKAGES, ROOT, imports, modules

# The modules, beside `mailbackends` itself, whose public names the integrations may import.
PUBLIC = {
    "mailbackends.bounces",
    "mailbackends.bounces.intake",
    "mailbackends.doctor",
    "mailbackends.errors",
    "mailbackends.integration",
    "mailbackends.mailbox",
    "mailbackends.outbox",
    "mailbackends.previews",
    "mailbackends.suppression",
    "mailbackends.testing",
}
# Modules for sockets, locks, clocks and logs, which are not allowed in mime and protocol.
IMPURE = {"asyncio", "logging", "queue", "select", "selectors", "socket", "threading", "time"}

# One idea of about 300 lines: what is longer has two.
LONGEST = 340


def is_within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("module", modules("mailbackends"))
def test_the_core_imports_no_framework(module: str) -> None:
    for imported in imports(module, modules()[module]):
        assert not is_within(imported, {"django", "flask"}), f"{module} imports {imported}"


@pytest.mark.parametrize("module", modules("mailbackends"))
def test_mime_and_protocol_do_no_input_or_output(module: str) -> None:
    if is_within(module, {"mailbackends.mime", "mailbackends.protocol"}):
        for imported in imports(module, modules()[module]):
            assert not is_within(imported, IMPURE), f"{module} imports {imported}"


@pytest.mark.parametrize("module", modules("django_integration", "flask_integration"))
def test_the_integrations_use_only_public_names_of_the_core(module: str) -> None:
    other = "flask" if is_within(module, {"django_integration"}) else "django"
    for imported in imports(module, modules()[module]):
        assert not is_within(imported, {other}), f"{module} imports {imported}"
        if is_within(imported, {"mailbackends"}) and imported not in {"mailbackends", *PUBLIC}:
            source, _, name = imported.rpartition(".")
            assert source == "mailbackends" or is_within(source, PUBLIC), imported
            assert name in import_module(source).__all__, f"{module} imports {imported}"


@pytest.mark.parametrize("module", modules())
def test_no_file_is_too_long(module: str) -> None:
    length = len(modules()[module].read_text(encoding="utf-8").splitlines())
    assert length <= LONGEST, f"{length} lines"


@pytest.mark.parametrize("module", [m for m in modules() if ".migrations." not in m])
def test_every_public_name_has_a_docstring(module: str) -> None:
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), "the module has no docstring"
    assert list(undocumented(tree)) == []


def undocumented(parent: ast.Module | ast.ClassDef, prefix: str = "") -> list[str]:
    missing: list[str] = []
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") or any(
            # Documented once: at the first overload, or at the overridden method.
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
def test_each_package_is_typed_and_lists_its_public_names(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    assert any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for node in tree.body
    )


def test_no_folder_of_tests_hides_a_package() -> None:
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


def test_no_file_contains_a_path_of_one_machine() -> None:
    paths = re.compile(r"(?<![\w.])/(work|opt|root|home)/\w+")
    for path in tracked_text():
        if path != Path(__file__):
            found = paths.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path.relative_to(ROOT)}: {found}"
