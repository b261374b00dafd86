"""The pytest fixture ``django_smtp_server``, which pytest finds by itself.

Django is imported only when a test uses the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailbackends.testing.server import LoopbackServer

__all__ = ["django_smtp_server"]


@pytest.fixture
def django_smtp_server(smtp_server: LoopbackServer) -> Iterator[LoopbackServer]:
    """The loopback server; Django sends its mail there and does not fill ``mail.outbox``."""
    from django_integration.testing import mail_to

    with mail_to(**smtp_server.options):
        yield smtp_server
