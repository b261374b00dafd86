"""The short form of `interop.soak`, and what it takes for flat."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from interop.usage import ALLOWED, WARM, Usage

SECONDS = os.environ.get("MAILBACKENDS_SOAK_SECONDS") or "15"
TESTS = Path(__file__).parents[1]


def test_a_mailer_under_load_loses_nothing_and_keeps_nothing_while_its_server_is_killed(
    installed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # In a process of its own: what this one holds is pytest's.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "interop.soak", SECONDS],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS), os.getenv("PYTHONPATH", "")))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    with capsys.disabled():
        print(f"\nsoak: {done.stdout.splitlines()[-1:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    sums = re.search(r"([\d,]+) restarts, .*accepted ([\d,]+)", done.stdout.splitlines()[-1])
    assert sums is not None
    restarts, accepted = (int(one.replace(",", "")) for one in sums.groups())
    assert restarts >= WARM + 2
    assert accepted > 100


def used(*, rounds: int = 40, **growth: int) -> Usage:
    """Samples of which one is larger each round."""
    usage = Usage()
    for number in range(rounds):
        usage.add(*(100 + number * growth.get(name.partition(" ")[0], 0) for name in ALLOWED))
    return usage


def test_what_stays_is_flat() -> None:
    used().see_it_flat()


@pytest.mark.parametrize(
    ("name", "step"),
    [("files", 1), ("threads", 1), ("blocks", 20), ("malloc", 8), ("resident", 50)],
)
def test_what_grows_each_round_is_not_flat_and_is_named(name: str, step: int) -> None:
    with pytest.raises(AssertionError, match=f"not flat: {name}"):
        used(**{name: step}).see_it_flat()


def test_one_round_above_the_others_is_no_growth() -> None:
    usage = used()
    usage.add(*(10_000 for _ in ALLOWED))
    usage.add(*(100 for _ in ALLOWED))
    usage.see_it_flat()


def test_a_run_too_short_to_compare_is_not_called_flat() -> None:
    with pytest.raises(AssertionError, match="too few"):
        used(rounds=WARM + 1).see_it_flat()


def test_an_object_kept_each_round_is_seen_and_its_type_is_named(installed: None) -> None:
    class Kept:
        def __init__(self) -> None:
            self.me = self

    kept: list[Kept] = []
    usage = Usage()
    for _ in range(WARM + 4):
        kept.extend(Kept() for _ in range(300))
        usage.take()
    with pytest.raises(AssertionError, match=r"not flat: blocks.*Kept \+900"):
        usage.see_it_flat()
