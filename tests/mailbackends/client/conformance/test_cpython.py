"""Python's own tests of smtplib, run against ours."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

# In another process: it puts ours in place of smtplib for everybody.
PROGRAM = """
import smtplib, socket, sys, types, unittest
import mailbackends.client, mailbackends.errors
from mailbackends.client import channel, variants
from mailbackends.transport import dial
from test import mock_socket

class InPlace(types.ModuleType):
    def __setattr__(self, name, value):
        # The tests put a mock in place of the module socket.
        if name == "socket":
            channel.socket = dial.socket = variants.socket = value
        super().__setattr__(name, value)

ours = InPlace("smtplib")
for module in (mailbackends.client, mailbackends.errors):
    for name in module.__all__:
        setattr(ours, name, getattr(module, name))
ours.socket, ours._MAXLINE = socket, smtplib._MAXLINE
# What that mock lacks.
mock_socket.IPPROTO_TCP, mock_socket.TCP_NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY
sys.modules["smtplib"] = ours
import test.test_smtplib
assert test.test_smtplib.smtplib is ours
unittest.main(module=test.test_smtplib, argv=["test_smtplib"])
"""


def test_pythons_own_tests_of_smtplib_pass_with_ours() -> None:
    if importlib.util.find_spec("test.test_smtplib") is None:
        pytest.skip("this Python comes without its tests")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran is not None
    assert int(ran[1]) > 70
