"""The tests run against the installed packages, with the environment's frameworks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PACKAGES = ["mailbackends", "django_integration", "flask_integration"]
FRAMEWORKS = ["django", "flask"]


def origin(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} cannot be imported"
    assert spec.origin is not None, f"{name} is a folder without __init__.py"
    return Path(spec.origin)


@pytest.mark.skipif(
    "MAILBACKENDS_TESTS_INSTALLED" not in os.environ, reason="only for tox's environments"
)
@pytest.mark.parametrize("name", PACKAGES)
def test_the_installed_wheel_is_tested_not_the_checkout(name: str) -> None:
    assert Path(sysconfig.get_path("purelib")) in origin(name).parents


@pytest.mark.skipif(
    "MAILBACKENDS_TESTS_BARE" not in os.environ, reason="only for the environment `bare`"
)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_bare_environment_has_no_framework(name: str) -> None:
    assert importlib.util.find_spec(name) is None


def test_the_core_imports_only_the_standard_library() -> None:
    # Of site-packages only mailbackends is wanted; -S, as others' .pth files may import
    # what they like.
    path = [*(p for p in sys.path if "site-packages" not in p), str(_root("mailbackends"))]
    code = (
        f"import sys; sys.path[:] = {path!r}\n"
        "import mailbackends\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*(names - set(sys.stdlib_module_names) - {'__main__'}))"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["mailbackends"]


def _root(name: str) -> Path:
    return origin(name).parents[1]
