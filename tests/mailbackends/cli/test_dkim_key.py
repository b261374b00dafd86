"""``mailbackends dkim-key`` makes a key that signs, and prints the record that verifies it."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")
pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")

from mailbackends.dkim import DKIM
from mailbackends.dkim.record import record_of
from support.server import MailServer

Run = Callable[..., SimpleNamespace]
NAMES = ("--domain", "Example.com", "--selector", "s1")


@pytest.mark.parametrize("options", [(), ("--ed25519",), ("--bits", "1024")])
def test_the_printed_record_is_that_of_the_key_in_the_file(
    run: Run, options: tuple[str, ...], tmp_path: Path
) -> None:
    done = run("dkim-key", *NAMES, *options)
    path = tmp_path / "example.com-s1.pem"
    assert done.returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = DKIM(domain="example.com", selector="s1", key_file=path)
    assert key.signing_key.public is not None
    assert "".join(re.findall(r'"([^"]*)"', done.stdout)) == record_of(key.signing_key.public)
    assert "PRIVATE" not in done.stdout + done.stderr


def test_an_existing_file_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.pem").write_text("precious")
    done = run("dkim-key", *NAMES, "--output", "mine.pem")
    assert done.returncode == 2
    assert "mine.pem exists" in done.stderr
    assert (tmp_path / "mine.pem").read_text() == "precious"


def test_the_record_of_an_existing_key_is_printed_again(run: Run) -> None:
    first = run("dkim-key", *NAMES, "--output", "mine.pem")
    again = run("dkim-key", *NAMES, "--key-file", "mine.pem")
    assert again.stdout == first.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--domain", "a b", "--selector", "s"), "contains white space"),
        (("--domain", "a.test", "--selector", "s\n"), "contains white space or a control"),
        ((*NAMES, "--bits", "512"), "bits must be from 1024 to 4096"),
    ],
)
def test_a_wrong_name_makes_no_key(
    run: Run, arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = run("dkim-key", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert list(tmp_path.glob("*.pem")) == []


def test_the_doctor_wants_all_options_of_a_key(run: Run) -> None:
    done = run("doctor", "smtp://localhost", "--dkim-domain", "example.com")
    assert done.returncode == 2
    assert "give all" in done.stderr


def test_the_doctor_examines_a_key(run: Run, mail_server: MailServer) -> None:
    pytest.importorskip("dns", reason="dnspython is not installed here")
    run("dkim-key", "--domain", "dkim.invalid", "--selector", "s1", "--output", "key.pem")
    done = run(
        "doctor", f"smtp://{mail_server.host}:{mail_server.port}", "--dkim-domain", "dkim.invalid",
        "--dkim-selector", "s1", "--dkim-key-file", "key.pem",
    )  # fmt: skip
    # Nobody publishes a record there, whether this machine has a resolver or not.
    assert done.returncode == 1
    assert "Failed at DKIM" in done.stdout
    assert "v=DKIM1; k=rsa; p=" in done.stdout
