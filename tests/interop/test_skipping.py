"""Without the servers the tests are skipped with the reason, and fail in the gate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOME = "tests/interop/test_recipient_limit.py"


def outcome_of(
    *, required: str = "", without: str = "", path: str | None = None
) -> tuple[int, str]:
    """The exit status and output of pytest in a separate process."""
    code = f"import sys, pytest; sys.modules.update(dict.fromkeys({without.split()!r}))\n"
    code += f"sys.exit(pytest.main(['-p', 'no:cacheprovider', '-p', 'no:django', '-rs', {SOME!r}]))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env=os.environ
        | {
            "MAILBACKENDS_INTEROP_REQUIRED": required,
            "MAILBACKENDS_INTEROP_TABLE": "",
            "PATH": os.environ["PATH"] if path is None else path,
        },
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_without_the_servers_tests_are_skipped_with_the_reason(tmp_path: Path) -> None:
    status, output = outcome_of(path=str(tmp_path))
    assert status == 0
    assert re.search(r"=+ [1-9]\d* skipped in", output)
    assert "apt-get, dpkg-deb, ldd, chroot, node, npm, openssl not found" in output


def test_in_the_gate_missing_servers_are_an_error_with_the_reason(tmp_path: Path) -> None:
    status, output = outcome_of(required="1", path=str(tmp_path))
    assert status == 1
    assert re.search(r"=+ [1-9]\d* errors in", output)
    assert "apt-get, dpkg-deb, ldd, chroot, node, npm, openssl not found" in output
    assert "MAILBACKENDS_INTEROP_REQUIRED is set" in output


@pytest.mark.parametrize("framework", ["django", "flask"])
def test_a_missing_framework_skips_the_tests_and_is_an_error_in_the_gate(framework: str) -> None:
    status, output = outcome_of(without=framework)
    assert status == 5, "no tests were collected"
    assert "1 skipped" in output
    assert "these go through Django and Flask, too" in output
    status, output = outcome_of(required="1", without=framework)
    assert status == 4
    assert f"{framework} is missing, and MAILBACKENDS_INTEROP_REQUIRED is set" in output


def test_the_gate_requires_the_servers() -> None:
    assert "\nexport MAILBACKENDS_INTEROP_REQUIRED=1\n" in (ROOT / ".ci/run").read_text()
