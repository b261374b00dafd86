"""The demonstration, run as `python -m tox -e demo` runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich")

DEMO = Path(__file__).parents[2] / "examples" / "demo"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=115,
    )


@pytest.fixture(scope="module")
def shown() -> str:
    done = run(str(DEMO), "--requests", "4", "--delay", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def part(shown: str, heading: str) -> str:
    """The text under a heading."""
    parts = re.split(r"^(\S.*?) -{3,}$", shown, flags=re.MULTILINE)
    return parts[parts.index(heading) + 1]


@pytest.mark.parametrize("shop", ["Django, mailbackends", "Flask, mailbackends"])
def test_each_message_is_shown_as_it_arrived_with_its_receipt(shown: str, shop: str) -> None:
    text = part(shown, shop)
    assert "Request 1: order confirmation" in text
    assert re.search(r"^  request  2 +connection [12] ", text, re.MULTILINE)
    order = text[: text.index("request  2")]
    for kind in ("text/plain", "text/html", "image/png", "application/pdf"):
        assert kind in order
    assert re.search(r"^\| From +.*@", order, re.MULTILINE)
    assert re.search(r"^\| To +.*ada@example\.com", order, re.MULTILINE)
    assert re.search(r"^\| Subject +\S", order, re.MULTILINE)
    assert re.search(r"^\| Text +\S", order, re.MULTILINE)
    assert re.search(r"^\| Arrived +TLSv1\.[23], logged in as shop", order, re.MULTILINE)
    assert re.search(r"Receipt +accepted: ada@example\.com; refused: none; 250 ", order)


@pytest.mark.parametrize("shop", ["Django, mailbackends", "Flask, mailbackends"])
def test_one_connection_serves_all_requests(shown: str, shop: str) -> None:
    assert "4 requests, 4 mails, 1 connection at the mail server." in part(shown, shop)


SUMMARY = "Summary: a view that sends an order confirmation"


def test_the_times_are_compared_with_djangos_own_backend_and_flask_mail(shown: str) -> None:
    for name in ("Django, its own SMTP backend", "Flask, Flask-Mail"):
        assert "4 requests, 4 mails, 4 connections" in part(shown, name)
    table = part(shown, SUMMARY)
    for name, connections in (
        ("Django, mailbackends", 1),
        ("Flask, mailbackends", 1),
        ("Django, its own SMTP backend", 4),
        ("Flask, Flask-Mail", 4),
    ):
        row = rf"^\| {name} +\| +{connections} \| +[\d.]+ ms \| +[\d.]+ ms \|$"
        assert re.search(row, table, re.MULTILINE), table


def test_the_end_says_what_the_application_is_told_and_what_is_gained(shown: str) -> None:
    text = re.sub(r"[|\s]+", " ", part(shown, SUMMARY))
    assert "one of two recipients does not exist" in text
    assert "the connection breaks after the last byte" in text
    assert 'outcome "unknown"' in text
    assert "550" in text
    assert "arrived once" in text
    assert re.search(r"What you gain: each request waits -?[\d.]+ ms less for its mail", text)


def test_the_output_is_plain_without_a_terminal(shown: str) -> None:
    assert "\x1b" not in shown
    assert not set("─│╭╮╰╯┃━") & set(shown)


def test_an_application_that_does_not_start_fails_the_demonstration() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(DEMO)!r}); sys.argv = ['demo', '--delay', '0']\n"
        "import demonstration, __main__, runpy\n"
        "broken = ('-c', 'print(\"no such table\"); raise SystemExit(3)')\n"
        "demonstration.SHOPS = (demonstration.Shop('Broken', broken, demonstration.EXAMPLES),)\n"
        f"runpy.run_path({str(DEMO / '__main__.py')!r}, run_name='__main__')\n"
    )
    done = run("-c", code)
    assert done.returncode == 1
    assert "The demonstration failed. Broken:" in done.stdout
    assert "no such table" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("--requests", "2"), ("--delay", "soon")])
def test_an_invalid_argument_is_an_error(arguments: tuple[str, ...]) -> None:
    done = run(str(DEMO), *arguments)
    assert done.returncode == 2
    assert "must be an integer from" in done.stderr
