"""The samples in docs/testing.md run in pytest as they are."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

pytest.importorskip("aiosmtpd")
pytest.importorskip("trustme")

from mailbackends.testing.assertions import ReceivedMail, assert_sent

PAGE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DJANGO = """
import warnings
from django.conf import settings
warnings.filterwarnings("ignore", message="The EMAIL_")
settings.configure()
import django
django.setup()
"""


def test_the_samples_run(tmp_path: Path) -> None:
    wanted = 0
    for name, code in _BLOCK.findall(PAGE):
        framework = {"test_django.py": "django", "test_flask.py": "flask"}.get(name)
        if framework and importlib.util.find_spec(framework) is None:
            continue
        if framework == "django":
            (tmp_path / "conftest.py").write_text(_DJANGO)
        (tmp_path / name).write_text(code)
        wanted += len(re.findall(r"^def test_", code, re.MULTILINE))
    assert wanted >= 6
    plugin = (
        *("-p", "mailbackends.testing.plugin", "-p", "django_integration.pytest_plugin"),
        *("-p", "flask_integration.pytest_plugin", "-p", "no:django", "-p", "no:cacheprovider"),
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", *plugin, "--strict-markers"],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"{wanted} passed" in done.stdout, done.stdout


def test_the_failure_on_the_page_is_the_real_one() -> None:
    message = EmailMessage()
    message["Subject"] = "Your order 1042"
    message.set_content("Dear Ada,\nit is on its way.\n")
    message.add_attachment(b"%PDF-1.4", "application", "pdf", filename="invoice.pdf")
    mail = ReceivedMail("shop@example.com", ("ada@example.com",), message.as_bytes())
    with pytest.raises(AssertionError) as caught:
        assert_sent([mail], text="Dear Ada,\nit is late.", attachments=["terms.pdf"])
    shown = re.search(r"^```text\n(the message that.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert str(caught.value) == shown[1]
