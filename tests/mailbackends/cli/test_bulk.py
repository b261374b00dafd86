"""``mailbackends bulk``: each row is sent once, whatever interrupts the run."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.server import MailServer

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")

from mailbackends.cli.batch import is_left, read_rows
from mailbackends.cli.journal import Entry, Journal
from mailbackends.cli.message import Template, read_letter

Run = Callable[..., SimpleNamespace]
PEOPLE = ["ada", "bob", "cyd", "dan", "eve", "fay"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A list of six and a letter."""
    rows = "".join(f"{name}@example.com,{name.title()} <&>,{n}\n" for n, name in enumerate(PEOPLE))
    (tmp_path / "people.csv").write_text(f"email,name,order\n{rows}")
    (tmp_path / "letter.txt").write_text("Subject: Order {{ order }}\n\nDear {{name}}\n")
    return tmp_path


def arguments(server: MailServer, *more: str) -> list[str]:
    place = f"smtp://{server.host}:{server.port}"
    return [
        *("bulk", "people.csv", "--server", place, "--from", "shop@example.com"),
        *("--template", "letter.txt", *more),
    ]


def states(folder: Path) -> dict[str, str]:
    with (folder / "people.csv.results.csv").open(newline="") as file:
        return {line["recipient"].partition("@")[0]: line["state"] for line in csv.DictReader(file)}


def received(server: MailServer) -> list[str]:
    return [message.rcpt_tos[0].partition("@")[0] for message in server.messages]


def test_each_row_gets_its_message_and_a_second_run_sends_none(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    (files / "letter.html").write_text("<p>Dear {{ name }}</p>")
    done = run(*arguments(mail_server, "--html", "letter.html"))
    assert done.returncode == 0, done.stderr
    assert received(mail_server) == PEOPLE
    assert mail_server.connections == 1
    message = mail_server.messages[0].message
    assert message["Subject"] == "Order 0"
    plain, html = message.iter_parts()
    assert plain.get_content().rstrip() == "Dear Ada <&>"
    assert html.get_content().rstrip() == "<p>Dear Ada &lt;&amp;&gt;</p>"

    again = run(*arguments(mail_server))
    assert again.returncode == 0
    assert "6 of 6 rows are already in people.csv.results.csv." in again.stdout
    assert len(mail_server.messages) == 6


def test_the_next_run_sends_only_the_rows_refused_with_a_4xx_reply(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    mail_server.refuse("bob@example.com", "450 4.2.1 Mailbox busy")
    mail_server.refuse("cyd@example.com", "550 5.1.1 No such user")
    done = run(*arguments(mail_server))
    assert done.returncode == 1
    assert "refused: cyd@example.com:" in done.stderr
    assert states(files)["bob"] == "refused_for_now"

    with MailServer() as healthy:
        assert run(*arguments(healthy)).returncode == 1
        assert received(healthy) == ["bob"]
        assert run(*arguments(healthy, "--again", "refused")).returncode == 0
        assert received(healthy) == ["bob", "cyd"]


def test_a_connection_lost_after_the_content_leaves_the_row_unknown_and_it_is_not_sent_again(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    mail_server.hang_up("content")
    done = run(*arguments(mail_server))
    assert done.returncode == 1
    assert states(files) == {**dict.fromkeys(PEOPLE, "accepted"), "ada": "unknown"}
    assert run(*arguments(mail_server)).returncode == 1
    assert received(mail_server) == PEOPLE[1:]
    assert run(*arguments(mail_server, "--again", "unknown")).returncode == 0
    assert received(mail_server) == [*PEOPLE[1:], "ada"]


def test_an_unreachable_server_ends_the_run_and_the_next_run_sends_all(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    unreachable = MailServer()
    unreachable.port = 1
    done = run(*arguments(unreachable))
    assert done.returncode == 1
    assert states(files) == {"ada": "not_sent"}
    assert "nothing listens there" in done.stderr
    assert "Run the same command again" in done.stdout
    assert run(*arguments(mail_server)).returncode == 0
    assert received(mail_server) == PEOPLE


def start(server: MailServer, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "mailbackends", *arguments(server)],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Slow(MailServer):
    """Delays its reply to the third content until ``go_on`` is set; sets ``is_waiting``."""

    def __init__(self) -> None:
        super().__init__()
        self.is_waiting = threading.Event()
        self.go_on = threading.Event()

    def _scripted_reply(self, key: str) -> str | None:
        if key == "content" and len(self.messages) == 2:
            self.is_waiting.set()
            assert self.go_on.wait(30)
        return super()._scripted_reply(key)


def test_ctrl_c_waits_for_the_message_being_sent_and_the_next_run_continues(
    run: Run, files: Path, environment: dict[str, str]
) -> None:
    with Slow() as server:
        process = start(server, files, environment)
        assert server.is_waiting.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "Waiting for the messages being sent" in process.stderr.readline()
        server.go_on.set()
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 130
        assert states(files) == dict.fromkeys(PEOPLE[:3], "accepted")
        assert "not begun" in out
        assert run(*arguments(server)).returncode == 0
        assert received(server) == PEOPLE


def test_a_killed_run_leaves_the_row_being_sent_unknown_and_nothing_is_sent_twice(
    run: Run, files: Path, environment: dict[str, str]
) -> None:
    with Slow() as server:
        process = start(server, files, environment)
        assert server.is_waiting.wait(30)
        process.kill()
        process.communicate(timeout=30)
        assert states(files) == {"ada": "accepted", "bob": "accepted", "cyd": "begun"}
        server.go_on.set()
        done = run(*arguments(server))
        assert done.returncode == 1
        assert "unknown" in done.stdout
        sent = received(server)
        assert len(sent) == len(set(sent))
        assert set(PEOPLE) - {"cyd"} <= set(sent)


def test_a_second_ctrl_c_ends_at_once_and_leaves_the_row_unknown(
    files: Path, environment: dict[str, str]
) -> None:
    with Slow() as server:
        process = start(server, files, environment)
        assert server.is_waiting.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert states(files) == {"ada": "accepted", "bob": "accepted", "cyd": "begun"}
        server.go_on.set()


def test_a_row_over_the_rate_limit_waits_until_it_may_be_sent(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    (files / "people.csv").write_text("email,name,order\na@b.example,A,1\nc@b.example,C,2\n")
    slow = arguments(mail_server, "--rate", "1/second")
    slow[3] += "?deadline=0.5"
    done = run(*slow)
    assert done.returncode == 0, done.stderr
    assert len(mail_server.messages) == 2
    assert ",not_sent," in (files / "people.csv.results.csv").read_text()


def test_a_terminal_shows_a_progress_bar_with_rate_and_remaining_time(
    mail_server: MailServer, files: Path, environment: dict[str, str]
) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "mailbackends", *arguments(mail_server)],
        cwd=files,
        env={**os.environ, **environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux reports the end
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait(30) == 0
    text = re.sub(r"\x1b\[[\d;?]*\w", "", shown.decode())
    assert re.search(r"━+ 6/6 \d+\.\d/s \d\d:\d\d", text)


def test_several_connections_send_each_row_once(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    assert run(*arguments(mail_server, "--connections", "3")).returncode == 0
    assert sorted(received(mail_server)) == PEOPLE


def test_a_row_whose_message_is_invalid_is_refused_and_the_others_are_sent(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    with (files / "people.csv").open("a") as file:
        file.write('gus@example.com,Gus,"7\nBcc: eve@example.com"\n')
        file.write('"hal@example.com, ida@example.com",Both,8\n')
    done = run(*arguments(mail_server))
    assert done.returncode == 1
    assert received(mail_server) == PEOPLE
    assert "Subject contains a line break" in done.stderr
    assert "is not one address" in done.stderr


@pytest.mark.parametrize(
    ("letter", "more", "words"),
    [
        (
            "Subject: {{ nmae }}\n\nx",
            [],
            "uses the column 'nmae', which people.csv does not have: did you mean 'name'?",
        ),
        ("Dear {{ name }}", [], "give --subject"),
        ("Subject: x\n\nx", ["--column", "mail"], "has no column 'mail'"),
        ("Subject: x\n\nx", ["--key", "nr"], "has no column 'nr'"),
        ("Subject: x\n\nx", ["--rate", "fast"], "'fast'"),
        ("Subject: x\n\nx", ["--from", "a b@example.com"], "a b@example.com"),
        ("Subject: x\n\nx", ["--connections", "0"], "--connections"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_sent(
    run: Run, mail_server: MailServer, files: Path, letter: str, more: list[str], words: str
) -> None:
    (files / "letter.txt").write_text(letter)
    done = run(*arguments(mail_server, *more))
    assert done.returncode == 2
    assert words in done.stderr
    assert mail_server.connections == 0


def test_a_dry_run_shows_the_first_message_and_needs_no_server(run: Run, files: Path) -> None:
    done = run(
        "bulk", "people.csv", "--template", "letter.txt", "--from", "a@b.example", "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    assert "Subject: Order 0" in done.stdout
    assert "6 rows; nothing was sent." in done.stdout
    assert not (files / "people.csv.results.csv").exists()


def test_a_dry_run_reports_every_row_that_cannot_be_sent(run: Run, files: Path) -> None:
    with (files / "people.csv").open("a") as file:
        file.write('gus@example.com,Gus,"7\nBcc: eve@example.com"\n')
        file.write("not an address,Hal,8\n")
        file.write("ida@exa mple.com,Ida,9\n")
        file.write("jo@-.example..com,Jo,10\n")
        file.write("kim@b\u00fccher.example,Kim,11\n")
    done = run(
        "bulk", "people.csv", "--template", "letter.txt", "--from", "a@b.example", "--dry-run"
    )
    assert done.returncode == 1
    # The first of them takes two lines of the file.
    lines = re.findall(r"^refused: line (\d+):", done.stderr, re.MULTILINE)
    assert lines == ["9", "10", "11", "12"]
    assert "11 rows, 4 of them cannot be sent; nothing was sent." in done.stdout


def test_the_results_file_contains_no_formula_and_still_finds_its_rows(
    run: Run, mail_server: MailServer, files: Path
) -> None:
    keys = ["=1+1", "+1", "-1", "@SUM(1)", "'=1", "\uff1d1"]
    rows = "".join(
        f'{name}@example.com,{name},"{key}"\n' for name, key in zip(PEOPLE, keys, strict=True)
    )
    (files / "people.csv").write_text(f"email,name,order\n{rows}", encoding="utf-8")
    mail_server.refuse("ada@example.com", "550 =cmd|' /C calc'!A0")
    assert run(*arguments(mail_server, "--key", "order")).returncode == 1
    with (files / "people.csv.results.csv").open(newline="", encoding="utf-8") as file:
        values = [value for line in csv.reader(file) for value in line]
    assert [value for value in values if value.startswith(("=", "+", "-", "@", "\uff1d"))] == []
    assert run(*arguments(mail_server, "--key", "order")).returncode == 1
    assert received(mail_server) == PEOPLE[1:]


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_each_key_is_read_back_from_the_results_file(key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.csv"
        with Journal.opened(path) as journal:
            journal.begin(key, "a@example.com", "<1@x>")
        with Journal.opened(path) as journal:
            assert list(journal.entries) == [key]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("email,name,email\na@example.com,A,b@example.com\n")
    with pytest.raises(ValueError, match="several columns 'email'"):
        read_rows(path, address="email", key=None)


def test_two_rows_with_the_same_address_need_a_key_column(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("email,order\na@example.com,1\nA@example.com,2\n")
    with pytest.raises(ValueError, match=r"lines 2 and 3.*--key"):
        read_rows(path, address="email", key=None)
    assert [row.key for row in read_rows(path, address="email", key="order")] == ["1", "2"]


def test_a_line_cut_short_by_a_crash_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with Journal.opened(path) as journal:
        journal.begin("a", "a@example.com", "<1@x>")
        journal.end("a", "a@example.com", "accepted", "<1@x>", "250 Ok")
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Journal.opened(path) as journal:
            entry = journal.entries.get("a")
            assert entry is None or entry.state == "begun"
        assert whole.startswith(path.read_bytes())


def test_only_one_run_uses_a_results_file_and_another_file_is_not_touched(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.csv"
    with (
        Journal.opened(path),
        pytest.raises(ValueError, match="another run"),
        Journal.opened(path),
    ):
        pass
    other = tmp_path / "novel.txt"
    other.write_text("Call me Ishmael")
    with pytest.raises(ValueError, match="not a results file"), Journal.opened(other):
        pass
    assert other.read_text() == "Call me Ishmael"
    assert os.stat(path).st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("state", "again", "left"),
    [
        (None, "", True),
        ("not_sent", "", True),
        ("refused_for_now", "", True),
        ("refused", "", False),
        ("refused", "refused", True),
        ("begun", "refused", False),
        ("begun", "unknown", True),
        ("unknown", "unknown", True),
        ("accepted", "unknown", False),
    ],
)
def test_which_rows_are_sent_again(state: str | None, again: str, left: bool) -> None:
    entry = None if state is None else Entry("k", "a@example.com", state)
    assert is_left(entry, frozenset([again])) is left


def test_placeholders_in_a_value_are_not_replaced(tmp_path: Path) -> None:
    assert Template("{{ a }}", name="t").fill({"a": "{{ b }}", "b": "no"}) == "{{ b }}"
    path = tmp_path / "t"
    path.write_text("Subject: A\nnot empty")
    with pytest.raises(ValueError, match="an empty line"):
        read_letter(path)
