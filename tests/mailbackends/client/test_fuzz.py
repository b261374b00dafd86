"""What ``python -m tests.fuzz`` runs for minutes, for a moment."""

from __future__ import annotations

import pytest
from fuzz.targets import TARGETS
from hypothesis import given


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_a_server_says_is_a_result_or_a_documented_exception(name: str) -> None:
    target, strategies = TARGETS[name]
    given(*strategies)(target)()
