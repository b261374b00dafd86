"""A short run of `interop.soak`, and its rule for what counts as growth."""

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


def test_a_mailer_under_load_loses_and_leaks_nothing_while_its_server_is_killed(
    installed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # In a separate process: this one has pytest's objects, too.
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


def test_constant_samples_are_flat() -> None:
    used().check_flat()


@pytest.mark.parametrize(
    ("name", "step"),
    [("files", 1), ("threads", 1), ("blocks", 20), ("malloc", 8), ("resident", 50)],
)
def test_growth_each_round_is_reported_by_name(name: str, step: int) -> None:
    with pytest.raises(AssertionError, match=f"not flat: {name}"):
        used(**{name: step}).check_flat()


def test_a_single_high_sample_does_not_count_as_growth() -> None:
    usage = used()
    usage.add(*(10_000 for _ in ALLOWED))
    usage.add(*(100 for _ in ALLOWED))
    usage.check_flat()


def test_a_run_too_short_to_compare_is_an_error() -> None:
    with pytest.raises(AssertionError, match="too few"):
        used(rounds=WARM + 1).check_flat()


def test_a_leaked_object_per_round_is_reported_with_its_type(installed: None) -> None:
    class Leaked:
        def __init__(self) -> None:
            self.me = self

    leaked: list[Leaked] = []
    usage = Usage()
    for _ in range(WARM + 4):
        leaked.extend(Leaked() for _ in range(300))
        usage.take()
    with pytest.raises(AssertionError, match=r"not flat: blocks.*Leaked \+900"):
        usage.check_flat()
