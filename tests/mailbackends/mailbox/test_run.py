"""The mailbox as a program, over real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from mailbackends import Mailer
from mailbackends.mailbox import serve
from support.mailbox import mail


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_mail_received_by_smtp_is_served_by_http() -> None:
    with serve(smtp_port=0, http_port=0) as (box, page):
        with Mailer(f"smtp://127.0.0.1:{box.listen().port}") as mailer:
            mailer.send_message(mail())
        status, body = get(f"{page.url}api/messages")
        assert status == 200
        assert json.loads(body)["messages"][0]["subject"] == "Your order 1042 is on its way"
        assert get(f"{page.url}messages/1/frame")[0] == 200
        assert get(page.url, Host="evil.example")[0] == 421
        assert get(f"{page.url}%00")[0] == 404
        assert get(f"{page.url}messages/1/..%2f..%2f")[0] == 404


def test_it_listens_on_loopback_unless_it_is_exposed() -> None:
    with pytest.raises(ValueError, match="allow it with expose=True"), serve(host="0.0.0.0"):  # noqa: S104
        pass


def test_a_port_in_use_is_an_error_that_names_the_option() -> None:
    with serve(smtp_port=0, http_port=0) as (box, page):
        smtp_port = box.listen().port
        with pytest.raises(OSError, match=f"port {page.port} is in use: choose another http_port"):
            serve(smtp_port=0, http_port=page.port).__enter__()
        with pytest.raises(OSError, match=f"port {smtp_port} is in use: choose another smtp_port"):
            serve(smtp_port=smtp_port, http_port=0).__enter__()


@pytest.mark.parametrize("command", ["mailbackends.mailbox", "mailbackends mailbox"])
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--smtp-port", "TAKEN"], 1, "is in use: choose another --smtp-port, or 0"),
        (["--http-port", "TAKEN", "--smtp-port", "0"], 1, "choose another --http-port, or 0"),
        (["--host", "192.0.2.1"], 2, "192.0.2.1 is not a loopback address"),
        (["--host", "0.0.0.0"], 2, "allow it with --expose"),  # noqa: S104
    ],
)
def test_a_mistake_on_the_command_line_names_the_option(
    command: str, arguments: list[str], status: int, words: str
) -> None:
    if " " in command:
        pytest.importorskip("click", reason="the command line needs the extra cli")
        pytest.importorskip("rich", reason="the command line needs the extra cli")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = [sys.executable, "-m", *command.split()]
        line += [port if argument == "TAKEN" else argument for argument in arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert done.returncode == status
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("mailbackends.mailbox", "nh3", "mailbox"),
        ("mailbackends.mailbox", "jinja2", "mailbox"),
        ("mailbackends.mailbox", "aiosmtpd", "mailbox"),
        ("mailbackends.testing.server", "aiosmtpd", "testing"),
        ("mailbackends.testing.certificates", "trustme", "testing"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(module: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: S603
    error = done.stderr.splitlines()[-1]
    package = module.removesuffix(".server").removesuffix(".certificates")
    assert error.startswith(f"ModuleNotFoundError: {package} needs {missing}")
    assert error.endswith(f': python -m pip install "mailbackends[{extra}]"')


def test_the_command_prints_its_addresses_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "mailbackends.mailbox"),
        *("--smtp-port", "0", "--http-port", "0", "--file", str(tmp_path / "mail.sqlite3")),
    ]
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONUNBUFFERED": "1"} | dict(os.environ)
    )
    assert process.stdout is not None
    try:
        output = "".join(process.stdout.readline() for _ in range(4))
        url = re.search(r"smtp://\S+", output)
        assert url is not None, output
        with Mailer(url[0]) as mailer:
            mailer.send_message(mail())
        line = process.stdout.readline()
        assert "Ada Lovelace" in line
        assert "accepted" in line
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()
    assert (tmp_path / "mail.sqlite3").stat().st_size > 0
