"""Prints the sums of all fault tests at the end of the run."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from faults import totals

from mailbackends.transport.stream import Stream


@pytest.fixture(autouse=True)
def _no_logs() -> Iterator[None]:
    # Each retry logs a line, which an application needs; these tests have a hundred thousand.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _bdat_has_worked(request: pytest.FixtureRequest) -> None:
    """Each run begins after the first message to its servers, unless `bdat_unproved` is used."""
    if "bdat_unproved" not in request.fixturenames:
        request.getfixturevalue("bdat_has_worked")


@pytest.fixture
def bdat_unproved() -> None:
    """BDAT has not been used yet, as in a new process."""


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's kernel buffers little, instead of some MB."""
    take_over = Stream.__init__

    def init(self: Stream, sock: socket.socket, *waiter: Any) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        take_over(self, sock, *waiter)

    monkeypatch.setattr(Stream, "__init__", init)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if totals.cuts:
        terminalreporter.section("faults")
        for line in totals.lines():
            terminalreporter.write_line(line)
