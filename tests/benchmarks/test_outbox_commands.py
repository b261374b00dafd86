"""The kill matrix of several queues and the soak of the outbox, shortened."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for needed in ("django", "psycopg", "sqlalchemy", "trustme"):
    pytest.importorskip(needed)

from support.postgres import postgres_server  # noqa: E402 - after the check for what it needs

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", str(FOLDER / name), *arguments],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_matrix_kills_workers_of_the_outbox_and_counts() -> None:
    with postgres_server():
        pass  # skipped where it is not installed
    out = run("outbox_kills.py", "mailbackends", "--every", "900", "--packets", "25")
    [cells] = re.findall(r"^\| mailbackends, the outbox \| (.*) \|$", out, re.MULTILINE)
    kills, messages, lost, doubled, stuck, unknown = map(int, cells.split(" | "))
    assert kills >= 4
    assert messages >= 3 * kills
    assert lost == doubled == stuck == 0
    assert unknown >= 1


@pytest.mark.slow
@pytest.mark.parametrize("outbox", ["SQLAlchemy", "Django"])
def test_a_short_soak_accounts_for_each_message(outbox: str, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'soak.sqlite3'}"
    arguments = ["--minutes", "0.1", "--kill-every", "1", "--workers", "2", "--rate", "15"]
    if outbox == "Django":
        arguments.append("--django")
    result = json.loads(run("outbox_soak.py", "--database", database, *arguments))
    assert result["outbox"] == outbox
    assert result["stored"] >= 20
    assert result["workers killed"] >= 1
    assert sum(result["messages"].values()) == result["stored"]
    for wrong in ("lost", "doubled", "never stored", "left over", "wrong"):
        assert result[wrong] == 0
