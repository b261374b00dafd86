"""Fixtures for all tests. Nothing here needs a framework."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from mailbackends.mailer.quirks import ServerQuirks
from mailbackends.protocol.chunking import Chunking
from support.server import MailServer

# On a busy machine any example may take long: what holds does not depend on the time.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_report_header() -> str:
    """Say what a run covers: its Python and its frameworks, and which command covers the rest."""
    found = []
    for name in ("Django", "Flask"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return (
        f"mailbackends: with {' and '.join(found)} on one Python. `python -m tox` covers the other "
        "versions, real servers, and connections cut at every byte."
    )


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """aiosmtpd on loopback, without TLS and login."""
    with MailServer() as server:
        yield server


@pytest.fixture
def secure_server() -> Iterator[MailServer]:
    """aiosmtpd on loopback that wants STARTTLS and the login ``user`` / ``secret``."""
    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        yield server


@pytest.fixture
def bdat_has_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    """BDAT has worked with each server before, as after the first message to it."""
    monkeypatch.setattr(ServerQuirks, "_first_chunking", Chunking.PROVED)
