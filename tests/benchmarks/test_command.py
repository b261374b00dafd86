"""`python benchmarks`, run as a user runs it, in a few seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

for needed in ("aiosmtplib", "flask_mail", "django", "matplotlib", "rich", "trustme"):
    pytest.importorskip(needed)

from bench.cases import CASES  # noqa: E402 - after the check for what it needs
from bench.document import filled  # noqa: E402
from bench.results import Cell, Results  # noqa: E402
from bench.roster import CLIENTS  # noqa: E402
from bench.tables import gain_table  # noqa: E402

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
# Two that install or start nothing, and one of each library.
SOME = [
    *("raw", "smtplib-kept", "django-batch", "flask-mail-connect", "aiosmtplib-kept"),
    *("ours-core", "ours-bytes", "ours-django-view", "ours-flask"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / "benchmarks"), *arguments],
        env={**os.environ, "COLUMNS": "150"},
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tempfile.gettempdir(),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what one quick run has written, its output too."""
    folder = tmp_path_factory.mktemp("bench")
    done = run(
        *("--quick", "--profile", "--rounds", "1", "--clients", *SOME, "--cases"),
        *("text-0-plain", "text-0-tls", "text-20-tls"),
        *("--json", str(folder / "results.json"), "--plots", str(folder)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output").write_text(done.stdout)
    return folder


def test_each_client_is_measured_in_each_case(written: Path) -> None:
    results = Results.load(written / "results.json")
    assert {(c.case, c.client) for c in results.cells} == {
        (case, client) for case in ("text-0-plain", "text-0-tls", "text-20-tls") for client in SOME
    }
    assert all(c.median_wall > 0 and c.median_cpu > 0 and c.count > 0 for c in results.cells)
    assert results.checked > len(results.cells)
    assert results.skipped == {}


def test_the_proxy_adds_its_delay(written: Path) -> None:
    results = Results.load(written / "results.json")
    assert {line.delay for line in results.lines} == {0, 20}
    assert min(results.line(20).echoes) >= 0.020
    assert results.cell("text-20-tls", "smtplib-kept").median_wall >= 4 * 0.020


def test_tables_are_printed_without_a_terminal(written: Path) -> None:
    shown = (written / "output").read_text()
    for text in ("2 KB text, 20 ms away, TLS and login", "mailbackends Mailer", "Target"):
        assert text in shown
    assert "\x1b" not in shown


def test_the_parts_of_a_profile_sum_to_the_whole(written: Path) -> None:
    profiles = Results.load(written / "results.json").profiles
    assert {(p.case, p.client) for p in profiles} == {
        (case, client)
        for case in ("text-0-plain", "text-0-tls")
        for client in ("django-batch", "ours-bytes")
    }
    for profile in profiles:
        assert sum(profile.parts.values()) == pytest.approx(profile.cpu, rel=0.01)
        assert profile.parts["other"] < profile.cpu / 4


def test_plots_show_the_results(written: Path) -> None:
    drawn = sorted(path.name for path in written.glob("*.svg"))
    assert drawn == ["cpu.svg", "rate.svg"]
    for name in drawn:
        text = "".join(ET.parse(written / name).getroot().itertext())  # noqa: S314 - our own
        assert CLIENTS["ours-core"].title in text


def test_results_of_another_interpreter_are_shown_beside(written: Path, tmp_path: Path) -> None:
    page, both = tmp_path / "page.md", tmp_path / "both.json"
    empty = "<!-- table: optimised case text-0-tls -->\n<!-- end -->\n"
    page.write_text(empty)
    given = str(written / "results.json")
    assert run("--from", given, "--document", str(page)).returncode == 0
    assert page.read_text() == empty
    done = run("--from", given, "--optimised", given, "--json", str(both), "--document", str(page))
    assert done.returncode == 0, done.stderr
    assert "| **mailbackends Mailer** |" in page.read_text()
    assert Results.load(both).optimised == Results.load(written / "results.json")


def test_the_gain_is_how_many_times_better_ours_is() -> None:
    cells = [
        Cell("text-0-tls", "flask-mail", 10, wall=[0.004], cpu=[0.003]),
        Cell("text-0-tls", "ours-flask", 10, wall=[0.001], cpu=[0.0001]),
    ]
    assert gain_table(Results({}, cells=cells), "flask").rows == [
        [
            "mails a second, one thread, server on the same machine",
            "250",
            "1000",
            "4.0\u00d7 as many",
        ],
        ["processor time for a mail over TLS", "3.00 ms", "0.100 ms", "30\u00d7 less"],
    ]


def test_earlier_results_are_shown_again(written: Path) -> None:
    page = written / "page.md"
    page.write_text("before\n<!-- table: case text-20-tls -->\nold\n<!-- end -->\nafter\n")
    done = run("--from", str(written / "results.json"), "--document", str(page))
    assert done.returncode == 0, done.stderr
    assert done.stdout == (written / "output").read_text()
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert len(lines) == len(SOME) + 6


def test_the_pages_show_the_stored_results() -> None:
    """By the command in the page itself, not by hand."""
    results = Results.load(PAGE.with_suffix("") / "results.json")
    for page in (PAGE, ROOT / "benchmarks" / "TARGETS.md"):
        text = page.read_text(encoding="utf-8")
        assert filled(text, results) == text
    assert {c.client for c in results.cells} <= set(CLIENTS)
    assert {c.case for c in results.cells} <= set(CASES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clients", "djagno-view"], "did you mean 'django-view'?"),
        (["--cases", "html-0-plane"], "did you mean 'html-0-plain'?"),
        (["--quiet", "1"], "upkeep needs at least 4 seconds"),
        (["--rounds", "none"], "must be an integer from 1"),
        (["--sizes", "25mb", "--quick"], "no case or client is left to measure"),
    ],
)
def test_an_invalid_option_is_an_error(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_help_shows_examples_and_the_list_shows_everything() -> None:
    assert "python benchmarks --quick" in run("--help").stdout
    shown = run("--list").stdout
    for name in (*CASES, *CLIENTS):
        assert f" {name} " in shown
