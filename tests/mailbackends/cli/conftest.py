"""Fixtures that run the commands in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of the commands; a test may add to it."""
    return {"COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def run(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SimpleNamespace]:
    """``run("doctor", url, stdin="...")`` -> returncode, stdout, stderr."""
    from click.testing import CliRunner

    from mailbackends.cli.commands import mailbackends

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("MAILBACKENDS_") or name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
            monkeypatch.delenv(name)

    def run(*arguments: str, stdin: str = "") -> SimpleNamespace:
        done = CliRunner().invoke(
            mailbackends, arguments, stdin, env=environment, prog_name="mailbackends"
        )
        if not isinstance(done.exception, SystemExit | None):
            raise done.exception
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return run
