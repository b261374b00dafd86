"""Starts the servers, and collects the results of the scenarios in a table.

MAILBACKENDS_INTEROP_REQUIRED=1  fail where the servers cannot be installed, do not skip
MAILBACKENDS_INTEROP_FULL=1      play the heavy scenarios through each client
MAILBACKENDS_INTEROP_TABLE=FILE  write the table to this file
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from interop import counts
from interop.install import install, missing_tools
from interop.page import page
from interop.servers import certificates
from interop.servers.all import AllServers
from interop.table import Table

TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("MAILBACKENDS_INTEROP_REQUIRED"):
        for framework in ("django", "flask"):
            try:
                import_module(framework)
            except ImportError:
                raise pytest.UsageError(
                    f"{framework} is missing, and MAILBACKENDS_INTEROP_REQUIRED is set"
                ) from None
    config.stash[TABLE] = Table()


@pytest.fixture(autouse=True)
def _no_logs() -> Iterator[None]:
    # An application wants a line for each refusal; these tests have thousands.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def installed() -> None:
    """Install the servers, or skip the tests that need them."""
    reason = missing_tools()
    if reason is None:
        try:
            install()
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"the servers could not be installed: {error}"
    if reason is not None:
        if os.environ.get("MAILBACKENDS_INTEROP_REQUIRED"):
            pytest.fail(f"{reason} (and MAILBACKENDS_INTEROP_REQUIRED is set)")
        pytest.skip(reason)


@pytest.fixture(scope="session")
def all_servers(installed: None) -> Iterator[AllServers]:
    """All servers. Each is started on its first use and stopped at the end."""
    made = AllServers()
    yield made
    made.close()


@pytest.fixture(scope="session")
def cafile(installed: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The CA of the servers' good certificates."""
    return certificates.authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    """The table that collects the result of each cell."""
    return request.config.stash[TABLE]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    table = terminalreporter.config.stash.get(TABLE, None)
    if table is None or not table.cells:
        return
    terminalreporter.section("interop")
    for line in table.lines():
        terminalreporter.write_line(line)
    for line in counts.lines():
        terminalreporter.write_line(line)
    target = os.environ.get("MAILBACKENDS_INTEROP_TABLE")
    if target and (terminalreporter.stats.get("failed") or terminalreporter.stats.get("error")):
        terminalreporter.write_line(f"{target} is not changed: tests failed")
    elif target:
        path = Path(target)
        path.write_text(page(table, path.read_text() if path.exists() else ""))
        terminalreporter.write_line(f"written to {target}")
