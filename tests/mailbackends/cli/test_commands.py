"""All commands except ``bulk``: their output, their exit status, and their secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.server import MailServer

pytest.importorskip("click", reason="the command line needs the extra cli")
pytest.importorskip("rich", reason="the command line needs the extra cli")

Run = Callable[..., SimpleNamespace]
COMMANDS = ["bulk", "demo", "doctor", "mailbox", "send"]
SEND = ["send", "--server", "smtp://127.0.0.1:1", "--text", "x"]


def url(server: MailServer, login: str = "") -> str:
    scheme = {"none": "smtp", "starttls": "smtp+starttls", "tls": "smtps"}[server.tls]
    return f"{scheme}://{login}{server.host}:{server.port}"


def test_the_help_lists_each_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_shows_examples(command: str) -> None:
    from click.testing import CliRunner

    from mailbackends.cli.commands import mailbackends

    done = CliRunner().invoke(mailbackends, [command, "--help"])
    assert done.exit_code == 0
    assert f"Examples:\n    mailbackends {command}" in done.output.replace("echo", "    ")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["docter"], 2, "did you mean 'doctor'?"),
        (["doctor", "smpt://localhost"], 2, "did you mean 'smtp'?"),
        (["doctor", "smtp://localhost?tiemout=3"], 2, "did you mean 'timeout'?"),
        (["doctor", "smtp://localhost", "--timeout", "-1"], 2, "timeout"),
        (["doctor", "smtp://localhost", "--password-file", "none"], 2, "'none' does not exist"),
        (["doctor"], 2, "No server is named"),
        (["send", "--sever", "x"], 2, "--server"),
        (["send", "--server", "smtp://localhost"], 2, "Give --from"),
        (["doctor", "smtp://localhost", "--to", "not an address"], 2, "not an address"),
        (["doctor", "smtp://localhost", "--from", "a b@example.com"], 2, "a b@example.com"),
        (
            [*SEND, "--from", "a b@example.com", "--to", "b@example.com"],
            2,
            "a b@example.com",
        ),
        ([*SEND, "--from", "a@example.com", "--to", "b@@example.com"], 2, "b@@example.com"),
        (
            [*SEND, "--from", "a@example.com", "--to", "b@example.com", "--subject", "a\nb"],
            2,
            "Subject contains a line break",
        ),
    ],
)
def test_a_mistake_is_reported_without_a_traceback(
    run: Run, arguments: list[str], status: int, words: str
) -> None:
    done = run(*arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_takes_every_step_and_sends_nothing(
    run: Run, secure_server: MailServer, environment: dict[str, str]
) -> None:
    environment["MAILBACKENDS_PASSWORD"] = "secret"
    server = secure_server
    done = run("doctor", url(server, "user@"), "--cafile", server.cafile, "--to", "a@example.com")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == f"127.0.0.1:{server.port}, STARTTLS, login as user"
    names = [line.split()[1] for line in lines if line.startswith("ok ")]
    assert names == ["resolve", "connect", "greeting", "EHLO", "STARTTLS", "login", "probe"]
    assert "chain: mailbackends tests" in done.stdout
    # The tests' certificates end tomorrow.
    assert lines[-1] == "Every step succeeded; see the warnings."
    assert "\x1b" not in done.stdout
    assert server.messages == []


def test_doctor_prints_json_and_exits_with_1_if_a_step_fails(
    run: Run, mail_server: MailServer
) -> None:
    mail_server.refuse("gone@example.com")
    done = run("doctor", url(mail_server), "--to", "gone@example.com", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["ok"], found["steps"][-1]["name"]) == (False, "probe")
    assert "550 5.1.1 No such user" in found["steps"][-1]["error"]
    assert all(step["milliseconds"] >= 0 for step in found["steps"])


@pytest.mark.parametrize("way", ["variable", "file", "standard input", "URL", "variable with URL"])
def test_each_source_of_the_password_works_and_none_shows_it(
    run: Run, secure_server: MailServer, environment: dict[str, str], tmp_path: Path, way: str
) -> None:
    arguments, stdin, login = [], "", "user@"
    if way == "variable":
        environment["MAILBACKENDS_PASSWORD"] = "secret"
    elif way == "file":
        (tmp_path / "password").write_text("secret\n")
        arguments = ["--password-file", "password"]
    elif way == "standard input":
        arguments, stdin = ["--password-file", "-"], "secret\n"
    else:
        login = "user:secret@"
    place = [url(secure_server, login)]
    if way == "variable with URL":
        environment["MAILBACKENDS_URL"] = place.pop()
    done = run("doctor", *place, "--cafile", secure_server.cafile, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert ("note: other users of this machine can see the password" in done.stderr) == (
        way == "URL"
    )


def test_a_message_made_from_options_has_its_attachment(
    run: Run, mail_server: MailServer, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("a,b\n")
    (tmp_path / "page.html").write_text("<p>Grüße</p>")
    done = run(
        *("send", "--server", url(mail_server), "--from", "Shop <shop@example.com>"),
        *("--to", "ada@example.com", "--cc", "bob@example.com", "--bcc", "eve@example.com"),
        *("--subject", "Liste für Sie", "--text", "Grüße", "--html-file", "page.html"),
        *("--attach", "list.csv"),
    )
    assert done.returncode == 0, done.stderr
    received = mail_server.message
    assert received.rcpt_tos == ("ada@example.com", "bob@example.com", "eve@example.com")
    message = received.message
    assert message["Subject"] == "Liste für Sie"
    assert "Bcc" not in message
    assert message["Date"]
    assert str(message["Message-ID"]) in done.stdout
    kinds = [part.get_content_type() for part in message.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "text/csv"]
    assert done.stdout.splitlines()[0] == "accepted ada@example.com"


def test_an_attached_message_and_text_stay_readable(
    run: Run, mail_server: MailServer, tmp_path: Path
) -> None:
    forwarded = "From: eve@example.com\r\nSubject: Hi\r\n\r\nForwarded\r\n"
    (tmp_path / "forwarded.eml").write_bytes(forwarded.encode())
    (tmp_path / "greeting.txt").write_text("Grüße\n", encoding="utf-8")
    done = run(
        *("send", "--server", url(mail_server), "--from", "a@example.com", "--text", "x"),
        *("--to", "b@example.com", "--attach", "forwarded.eml", "--attach", "greeting.txt"),
    )
    assert done.returncode == 0, done.stderr
    _, message, text = mail_server.message.message.iter_parts()
    assert message.get_content_type() == "message/rfc822"
    # RFC 2046 section 5.2.1 allows no other encoding.
    assert message.get("Content-Transfer-Encoding", "7bit") in ("7bit", "8bit", "binary")
    assert message.get_content()["Subject"] == "Hi"
    assert text.get_content_charset() == "utf-8"
    assert text.get_content() == "Grüße\n"


def test_a_text_file_in_another_encoding_is_named(
    run: Run, mail_server: MailServer, tmp_path: Path
) -> None:
    (tmp_path / "latin1.txt").write_bytes("Grüße".encode("latin-1"))
    where = ("send", "--server", url(mail_server), "--from", "a@example.com")
    done = run(*where, "--to", "b@example.com", "--text-file", "latin1.txt")
    assert done.returncode == 1
    assert "latin1.txt is not text in UTF-8" in done.stderr
    assert "save it as UTF-8" in done.stderr
    assert mail_server.connections == 0


def test_the_text_is_read_from_standard_input(run: Run, mail_server: MailServer) -> None:
    where = ("--server", url(mail_server), "--from", "a@example.com", "--to", "b@example.com")
    done = run("send", *where, "--json", stdin="The backup is done.\n")
    assert json.loads(done.stdout)["accepted"] == ["b@example.com"]
    assert mail_server.message.content.endswith(b"\r\n\r\nThe backup is done.\r\n")


def test_a_finished_message_is_read_from_standard_input(run: Run, mail_server: MailServer) -> None:
    whole = "From: a@example.com\nTo: b@example.com\nSubject: Whole\n\nText.\n"
    done = run("send", "--server", url(mail_server), "--message", "-", stdin=whole)
    assert done.returncode == 0, done.stderr
    assert mail_server.message.rcpt_tos == ("b@example.com",)
    assert mail_server.message.message["Subject"] == "Whole"
    assert run("send", "--server", url(mail_server), "--message", "-").returncode == 1


def test_a_refused_recipient_is_shown_and_the_status_is_1(
    run: Run, mail_server: MailServer
) -> None:
    mail_server.refuse("gone@example.com")
    where = ("send", "--server", url(mail_server), "--from", "a@example.com", "--text", "x")
    done = run(*where, "--to", "b@example.com", "--to", "gone@example.com")
    assert done.returncode == 1
    assert "refused  gone@example.com: 550 5.1.1 No such user" in done.stdout
    done = run(*where, "--to", "gone@example.com", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["outcome"] == "refused"


def test_an_option_cannot_inject_a_header_field(run: Run, mail_server: MailServer) -> None:
    where = ("send", "--server", url(mail_server), "--from", "a@example.com", "--text", "x")
    done = run(*where, "--to", "b@example.com", "--subject", "x\nBcc: eve@example.com")
    assert done.returncode == 2
    assert "Subject contains a line break" in done.stderr
    assert mail_server.messages == []


def test_python_m_mailbackends_demo_sends_over_one_connection() -> None:
    command = [sys.executable, "-W", "error", "-m", "mailbackends", "demo", "--messages", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accepted ") == 3
    assert "3 messages over 1 connection" in done.stdout


def test_force_color_colours_the_output(run: Run, environment: dict[str, str]) -> None:
    environment |= {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    assert "\x1b[32maccepted" in run("demo", "--messages", "1").stdout


def test_without_the_extra_the_error_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['rich'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'rich' else find(name)\n"
        "from mailbackends.cli import main; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == 1
    assert done.stderr == (
        'The command line needs rich: python -m pip install "mailbackends[cli]"\n'
    )
