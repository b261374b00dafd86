"""The short form of `interop.soak`, and the page that the table was made into."""

from __future__ import annotations

import os

import pytest

from interop.servers.own import Nodemailer
from interop.soak import Soak

SECONDS = float(os.environ.get("MAILBACKENDS_SOAK_SECONDS") or 15)


def test_a_mailer_under_load_loses_nothing_and_keeps_nothing_while_its_server_is_killed(
    installed: None, cafile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Nodemailer()
    server.start()
    soak = Soak(server, cafile)
    try:
        soak.run(SECONDS)
    finally:
        server.stop()
        server.remove()
    with capsys.disabled():
        print(f"\nsoak: {soak}")
    assert soak.restarts >= 2
    assert soak.outcomes["accepted"] > 100
