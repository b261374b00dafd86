"""The sums of all fault tests stand at the end of the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from faults import tally


@pytest.fixture(autouse=True)
def _no_logs() -> Iterator[None]:
    # Each retry is worth a line to an application; a hundred thousand are not.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally.cuts:
        terminalreporter.section("faults")
        for line in tally.lines():
            terminalreporter.write_line(line)
