"""What is reported if a package of an extra is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_without(package: str, code: str) -> str:
    """Run ``code`` in a Python that cannot import ``package``; return what it printed."""
    code = f"import sys; sys.modules[{package!r}] = None\n{code}"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_without_flask_the_error_names_the_extra() -> None:
    output = run_without("flask", "from flask_integration import Mail")
    assert 'flask_integration needs Flask: python -m pip install "mailbackends[flask]"' in output


def test_without_flask_the_pytest_plugin_can_be_loaded() -> None:
    assert run_without("flask", "import flask_integration.pytest_plugin") == ""


@pytest.mark.parametrize("package", ["aiosmtpd", "nh3"])
def test_the_mailbox_backend_names_its_extra(package: str) -> None:
    pytest.importorskip("nh3")
    output = run_without(
        package, "from flask_integration.backends import *; find_backend('mailbox')"
    )
    assert f"MAIL_BACKEND 'mailbox' needs {package}: " in output
    assert 'python -m pip install "mailbackends[mailbox]"' in output


def test_the_blueprint_of_the_mailbox_names_its_extra() -> None:
    output = run_without("nh3", "from flask_integration.mailbox import blueprint")
    assert 'python -m pip install "mailbackends[mailbox]"' in output
