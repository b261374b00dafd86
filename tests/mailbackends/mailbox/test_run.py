"""The mailbox by itself, over real sockets."""

from __future__ import annotations

import json
import re
import signal
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


def test_mail_comes_in_by_smtp_and_out_by_http() -> None:
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


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    with pytest.raises(ValueError, match="everybody who reaches it"), serve(host="0.0.0.0"):  # noqa: S104
        pass


def test_a_port_that_is_taken_is_an_error_and_nothing_is_left_behind() -> None:
    with (
        serve(smtp_port=0, http_port=0) as (_, page),
        pytest.raises(OSError, match="in use"),
        serve(smtp_port=0, http_port=page.port),
    ):
        pass


def test_the_command_says_where_it_is_and_ends_when_told_to(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "mailbackends.mailbox"),
        *("--smtp-port", "0", "--http-port", "0", "--file", str(tmp_path / "mail.sqlite3")),
    ]
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONUNBUFFERED": "1"} | _env()
    )
    try:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(4))
        url = re.search(r"smtp://\S+", said)
        assert url is not None, said
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


def test_what_cannot_be_is_said_in_one_line() -> None:
    command = [sys.executable, "-m", "mailbackends.mailbox", "--host", "192.0.2.1"]
    done = subprocess.run(command, capture_output=True, text=True, env=_env())  # noqa: S603
    assert done.returncode == 1
    assert done.stderr.startswith("mailbox: the mailbox listens on loopback")
    assert len(done.stderr.splitlines()) == 1


def _env() -> dict[str, str]:
    import os

    return dict(os.environ)
