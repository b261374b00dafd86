"""Each mistake in tests/support/mistakes.toml, made on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")

from support.mistakes import Case, cases, check, filled, place_for, steps_that_say_something


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, id=f"{each.mistake}, {each.setup['args']}") for each in cases("cli")],
)
def test_the_error_for_a_mistake_suggests_a_fix(
    case: Case,
    run: Callable[..., SimpleNamespace],
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case.prepare(monkeypatch)
    for name, text in case.setup.get("files", {}).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment.update(case.setup.get("environment", {}))
    with place_for(case.server) as place:
        setup = filled(case.setup, place)
        done = run(*setup["args"].split(" "), stdin="Text")
        assert done.returncode == setup["status"]
        check(case, _said(setup["args"], done), place)


def _said(args: str, done: SimpleNamespace) -> str:
    if args.startswith("doctor") and done.stdout.startswith("{"):
        return steps_that_say_something(json.loads(done.stdout)["steps"])
    lines = [
        line
        for line in done.stderr.splitlines()
        if line and not line.startswith(("Usage:", "Try 'mailbackends"))
    ]
    return "\n".join(lines)
