"""pytest fixtures; pytest finds them where mailbackends is installed.

Nothing else is imported before a test asks for one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailbackends.testing.server import LoopbackServer

__all__ = ["django_smtp_server", "smtp_server"]


@pytest.fixture
def smtp_server() -> Iterator[LoopbackServer]:
    """A real SMTP server on loopback, for this test: ``smtp_server.messages``."""
    from mailbackends.testing.server import LoopbackServer

    with LoopbackServer() as server:
        yield server


@pytest.fixture
def django_smtp_server(smtp_server: LoopbackServer) -> Iterator[LoopbackServer]:
    """The same, and Django sends its mail there in place of filling ``mail.outbox``."""
    from django_integration.testing import mail_to

    with mail_to(smtp_server.host, smtp_server.port):
        yield smtp_server
