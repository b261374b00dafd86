"""The contents and the metadata of the wheel."""

from __future__ import annotations

import email
import email.message
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from project.source import PACKAGES, ROOT, modules


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_contains_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {n for n in wheel.namelist() if ".dist-info/" not in n}
    wanted = {
        str(path.relative_to(ROOT).as_posix())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
    assert {Path(n).parts[0] for n in held} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_each_module_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    assert {path.relative_to(ROOT).as_posix() for path in modules().values()} <= held


def test_the_licence_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    (name,) = [n for n in wheel.namelist() if n.endswith("/LICENSE")]
    assert wheel.read(name).startswith(b"MIT License")


def test_the_core_has_no_dependencies(metadata: email.message.Message) -> None:
    required = metadata.get_all("Requires-Dist") or []
    assert [r for r in required if "extra ==" not in r] == []
    assert {"django", "flask"} <= set(metadata.get_all("Provides-Extra") or [])


def test_the_metadata_lists_the_supported_versions(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "mailbackends"
    # From the tag; a commit without one has a development version.
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", metadata["Version"])
    assert metadata["Requires-Python"] == ">=3.11"
    classifiers = metadata.get_all("Classifier") or []
    for version in ("3.11", "3.12", "3.13", "3.14"):
        assert f"Programming Language :: Python :: {version}" in classifiers


def test_one_file_names_the_code_host_and_its_owner(metadata: email.message.Message) -> None:
    urls = [value.partition(", ")[2] for value in metadata.get_all("Project-URL") or []]
    assert len(urls) == 5
    [owner] = {found[1] for url in urls if (found := re.search(r"github\.com/([\w-]+)/", url))}
    tracked = subprocess.run(  # noqa: S603
        ["git", "grep", "-lIE", rf"github\.com/{owner}/|{owner}\.github\.io"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if tracked.returncode > 1:
        pytest.skip("the files are not in a clone")
    assert tracked.stdout.split() == ["pyproject.toml"]
