"""The pytest fixture for Flask; pytest finds it if mailbackends is installed.

Nothing else is imported before a test uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["flask_smtp_server"]


@pytest.fixture
def flask_smtp_server(request: pytest.FixtureRequest, smtp_server: Any) -> Iterator[Any]:
    """The `smtp_server`, which gets the mail of the application of the fixture ``app``.

    ``TESTING`` does not suppress sending to it.
    """
    from flask_integration.testing import mail_to

    with mail_to(request.getfixturevalue("app"), **smtp_server.options):
        yield smtp_server
