"""pytest fixtures, available wherever mailbackends is installed.

Everything else is imported when a test uses one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailbackends.mailer import Mailer
    from mailbackends.mailer.aio import AsyncMailer
    from mailbackends.testing.server import LoopbackServer

__all__ = ["async_smtp_mailer", "smtp_mailer", "smtp_server"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, which ``--strict-markers`` requires."""
    config.addinivalue_line(
        "markers",
        'smtp_server(tls="starttls", login=("user", "secret")): the arguments of the fixture',
    )


@pytest.fixture
def smtp_server(request: pytest.FixtureRequest) -> Iterator[LoopbackServer]:
    """A real SMTP server on loopback, for this test: ``smtp_server.messages``."""
    from mailbackends.testing.server import LoopbackServer

    marker = request.node.get_closest_marker("smtp_server")
    with LoopbackServer(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture
def smtp_mailer(smtp_server: LoopbackServer) -> Iterator[Mailer]:
    """A `mailbackends.Mailer` that sends to ``smtp_server``."""
    from mailbackends.mailer import Mailer

    with Mailer(smtp_server.url) as mailer:
        yield mailer


@pytest.fixture
def async_smtp_mailer(smtp_server: LoopbackServer) -> Iterator[AsyncMailer]:
    """A `mailbackends.AsyncMailer` that sends to ``smtp_server``, in the test's event loop.

    It needs no plugin for asynchronous tests, and goes with each of them.
    """
    import asyncio

    from mailbackends.mailer.aio import AsyncMailer

    mailer = AsyncMailer(smtp_server.url)
    yield mailer
    asyncio.run(mailer.close())
