"""The terminal sessions in docs/cli.md: each command is run and prints what the page shows.

With MAILBACKENDS_TESTS_UPDATE=1 the output of the commands is written into the page instead.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")
pytest.importorskip("trustme")

from click.testing import CliRunner

from mailbackends.cli.commands import mailbackends
from mailbackends.testing.server import LoopbackServer

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
_SESSION = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What differs between two runs, and how the page shows it.
_VARYING = [
    (r'"duration": [\d.e-]+', '"duration": 0.001'),
    (r"<[0-9a-f]{32}@", "<8c2f...@"),
    (r"\b[A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4} GMT", "Jan  1 00:00:00 2030 GMT"),
    (r"\(\d+ days\)", "(900 days)"),
    (r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", "2026-03-02T09:30:00+00:00"),
    (r"Date: .*", "Date: Mon, 02 Mar 2026 09:30:00 +0000"),
    (r"(  as )(?!shop)[\w.\[\]:-]+$", r"\1web1.example.com"),
    (r"Python SMTP [\d.]+", "Python SMTP 1.4.6"),
    (r"(?<!http://)(127\.0\.0\.1:)\d+", r"\g<1>2525"),
    (r"(port )\d+", r"\g<1>2525"),
    (r"TLSv1\.\d, \w+", "TLSv1.3, TLS_AES_256_GCM_SHA384"),
]


class Shell:
    """As much of a shell as the page needs."""

    def __init__(self, folder: Path, server: LoopbackServer) -> None:
        self.folder = folder
        self.server = server
        self.environment = {"COLUMNS": "100"}
        self.status = 0

    def run(self, line: str) -> str:
        line = line.replace("127.0.0.1:2525", f"127.0.0.1:{self.server.port}")
        first, *_ = words = shlex.split(line)
        if first == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
            return ""
        if line == "echo $?":
            return f"{self.status}\n"
        if first == "cat":
            return (self.folder / words[1]).read_text()
        stdin = ""
        if first == "echo":
            stdin, words = f"{words[1]}\n", words[words.index("|") + 1 :]
        if words[:2] == ["mailbackends", "mailbox"]:
            return self.mailbox(words)
        pipe = words.index("|") if "|" in words else len(words)
        done = CliRunner().invoke(
            mailbackends, words[1:pipe], stdin, env=self.environment, prog_name="mailbackends"
        )
        self.status = done.exit_code
        if words[pipe:]:
            # What `jq -c '[.ok, .steps[-1].name, .steps[-1].error]'` prints.
            assert words[pipe + 1 :] == ["jq", "-c", "[.ok, .steps[-1].name, .steps[-1].error]"]
            found = json.loads(done.stdout)
            last = found["steps"][-1]
            return json.dumps([found["ok"], last["name"], last["error"]], separators=(",", ":"))
        return done.output

    def mailbox(self, words: list[str]) -> str:
        for needed in ("jinja2", "nh3"):
            pytest.importorskip(needed, reason="the mailbox needs its extra")
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        output = ""
        while "Press Ctrl+C" not in output:
            line = process.stdout.readline()
            assert line
            output += line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0
        return re.sub(r"(http://127\.0\.0\.1:)\d+", r"\g<1>8025", output)


def normal(text: str) -> str:
    for pattern, shown in _VARYING:
        text = re.sub(pattern, shown, text, flags=re.MULTILINE)
    text = re.sub(r" *\d+\.\d ms", lambda found: _time(len(found[0])), text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _time(width: int) -> str:
    return f"{'1.0 ms':>{width}}" if width > 8 else " 1.0 ms"


def squeezed(text: str) -> str:
    """Without the spaces before a time: how many there are depends on how long it took."""
    return re.sub(r" +1\.0 ms", " 1.0 ms", text)


def commands(session: str) -> Iterator[tuple[str, str]]:
    """Each command with its output."""
    for part in session.removeprefix("$ ").split("\n$ "):
        line, _, output = part.partition("\n")
        yield line, output.rstrip("\n")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in [*os.environ]:
        if name.startswith("MAILBACKENDS_") and not name.startswith("MAILBACKENDS_TESTS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(
        "email,name,order\nada@example.com,Ada,1042\ngone@example.com,Bob,1043\n"
        "cyd@example.com,Cyd,1044\n"
    )
    (tmp_path / "letter.txt").write_text(
        "Subject: Your order {{ order }}\n\nDear {{ name }}, it is on its way.\n"
    )
    (tmp_path / "invoice.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "saved.eml").write_text(
        "From: shop@example.com\nTo: ada@example.com\nSubject: Saved\n"
        "Message-ID: <saved@example.com>\n\nText.\n"
    )
    with LoopbackServer(tls="starttls", login=("shop", "secret")) as server:
        assert server.cafile is not None
        (tmp_path / "ca.pem").write_bytes(Path(server.cafile).read_bytes())
        server.refuse("gone@example.com")
        yield Shell(tmp_path, server)


def test_each_session_on_the_page_prints_what_is_shown(shell: Shell) -> None:
    text = PAGE.read_text(encoding="utf-8")

    def replay(session: re.Match[str]) -> str:
        lines = []
        for line, output in commands(session[1]):
            now = normal(shell.run(line))
            lines.append("\n".join(filter(None, (f"$ {line}", now))))
            if "MAILBACKENDS_TESTS_UPDATE" not in os.environ:
                assert squeezed(now).split("\n") == squeezed(output).split("\n"), line
        return "\n".join(["```console", *lines, "```"])

    made = _SESSION.sub(replay, text)
    if "MAILBACKENDS_TESTS_UPDATE" in os.environ:
        PAGE.write_text(made, encoding="utf-8")
