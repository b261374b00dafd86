"""The suppression list, installed in a project with a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.conf import settings
from django.core.checks.registry import registry as checks
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_integration.bounces import bounced
from django_integration.signals import post_send, send_failed
from django_integration.suppression import suppression_list
from django_integration.unsubscribe import unsubscribed
from mailbackends.suppression import Reason, new_entry

APP = "django_integration.suppression"


@pytest.fixture(scope="module")
def access(request: pytest.FixtureRequest) -> Any:
    """A context manager that lets tests use databases, which pytest-django forbids."""
    if request.config.pluginmanager.hasplugin("django"):
        return request.getfixturevalue("django_db_blocker").unblock
    return nullcontext


@pytest.fixture(scope="module")
def _installed(access: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    path = tmp_path_factory.mktemp("suppression") / "db.sqlite3"
    _use({"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)})
    before = set(checks.registered_checks), set(checks.deployment_checks)
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, APP]), access():
        call_command("migrate", verbosity=0)
        yield
        connections["default"].close()
    # What an application connects when it is installed stays connected.
    signals = [unsubscribed, bounced, post_send, send_failed]
    try:
        from anymail.signals import tracking
    except ImportError:
        pass
    else:
        signals.append(tracking)
    for signal in signals:
        signal.disconnect(dispatch_uid="mailbackends_suppression")
    checks.registered_checks, checks.deployment_checks = before
    _use({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})


@pytest.fixture(autouse=True)
def empty(_installed: None) -> None:
    """Begin each test with empty tables."""
    call_command("flush", verbosity=0, interactive=False)


@pytest.fixture
def suppress() -> Callable[..., None]:
    """Call it with an address, and a scope and a reason, to have it on the list."""

    def suppress(address: str, scope: str = "all", reason: Reason = Reason.UNSUBSCRIBED) -> None:
        suppression_list().add([new_entry(address, reason, scope)])

    return suppress


def _use(config: dict[str, Any]) -> None:
    if hasattr(connections._connections, "default"):
        connections["default"].close()
        del connections["default"]
    connections.settings = connections.configure_settings({"default": config})
