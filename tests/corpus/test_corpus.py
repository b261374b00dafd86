"""Every case of the corpus, by every interface that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import corpus
from support.corpus import Case

CASES = corpus.cases(Path(__file__).parent / "messages")


@pytest.mark.parametrize(
    ("case", "interface"),
    [
        pytest.param(case, interface, id=f"{case.name}-{interface}")
        for case in CASES
        for interface in case.interfaces
    ],
)
def test_a_message_arrives_as_expected(case: Case, interface: str, tmp_path: Path) -> None:
    if (package := corpus.missing(interface)) is not None:
        pytest.skip(f"{package} is not installed")
    if (reason := case.for_interface(interface).get("skip")) is not None:
        pytest.skip(reason)
    corpus.check(corpus.send(case, interface, tmp_path), case, interface)
