"""Where the servers cannot be had, it is said why; and in the gate that is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOME = "tests/interop/test_recipient_limit.py"


def outcome_of(
    *, required: str = "", without: str = "", path: str | None = None
) -> tuple[int, str]:
    """The status of a pytest of its own, and what it said."""
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


def test_without_the_servers_it_is_skipped_and_says_what_is_missing(tmp_path: Path) -> None:
    status, said = outcome_of(path=str(tmp_path))
    assert status == 0
    assert "4 skipped" in said
    assert "apt-get, dpkg-deb, ldd, chroot, node, npm, openssl not found" in said


def test_in_the_gate_a_missing_server_is_a_failure_and_says_what_is_missing(tmp_path: Path) -> None:
    status, said = outcome_of(required="1", path=str(tmp_path))
    assert status == 1
    assert "4 errors" in said
    assert "apt-get, dpkg-deb, ldd, chroot, node, npm, openssl not found" in said
    assert "MAILBACKENDS_INTEROP_REQUIRED is set" in said


@pytest.mark.parametrize("framework", ["django", "flask"])
def test_a_missing_framework_is_said_and_in_the_gate_a_failure(framework: str) -> None:
    status, said = outcome_of(without=framework)
    assert status == 5, "no tests were collected"
    assert "1 skipped" in said
    assert "these go through Django and Flask, too" in said
    status, said = outcome_of(required="1", without=framework)
    assert status == 4
    assert f"{framework} is missing, and MAILBACKENDS_INTEROP_REQUIRED is set" in said


def test_the_gate_asks_for_the_servers() -> None:
    assert "\nexport MAILBACKENDS_INTEROP_REQUIRED=1\n" in (ROOT / ".ci/run").read_text()
