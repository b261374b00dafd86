"""``mailbackends bounces`` prints a line of JSON for each report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")

from mailbackends.bounces import BounceTokens

Run = Callable[..., SimpleNamespace]
KEY = "a key for the tests, of some length"


def report(to: str) -> str:
    return (
        f"To: {to}\nContent-Type: multipart/report; boundary=b\n\n--b\n"
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.test\n\n"
        "Final-Recipient: rfc822; gone@example.net\nAction: failed\nStatus: 5.1.1\n\n--b--\n"
    )


def test_a_report_from_standard_input(run: Run, environment: dict[str, str]) -> None:
    environment["MAILBACKENDS_BOUNCE_KEY"] = KEY
    address = BounceTokens(KEY).envelope_sender("bounces@example.com", "order_42")
    done = run("bounces", stdin=report(address))
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["recipients"][0]["address"] == "gone@example.net"
    assert found["reference"] == "order_42"


def test_all_new_reports_of_a_maildir(run: Run, tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "box" / name).mkdir(parents=True)
    for number in range(2):
        (tmp_path / "box" / "new" / str(number)).write_text(report("x@example.com"))
    done = run("bounces", "--maildir", "box")
    assert [json.loads(line)["kind"] for line in done.stdout.splitlines()] == [
        "delivery_status", "delivery_status",
    ]  # fmt: skip
    assert run("bounces", "--maildir", "box").stdout == ""
