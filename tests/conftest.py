"""Fixtures for all tests. Nothing here needs a framework."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.server import MailServer


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
