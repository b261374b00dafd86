"""docs/troubleshooting.md is what the table of mistakes says."""

from __future__ import annotations

from support.mistakes import mistakes
from support.troubleshooting import PAGE, page


def test_the_page_is_written_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: PYTHONPATH=tests python -m support.troubleshooting"
    )


def test_each_mistake_says_why_it_is_one_and_what_an_interface_says() -> None:
    for mistake in mistakes():
        assert mistake["why"]
        cases = [*mistake.get("django", ()), *mistake.get("flask", ()), *mistake.get("cli", ())]
        assert cases
        for case in cases:
            assert any(name.startswith("says") for name in case)
