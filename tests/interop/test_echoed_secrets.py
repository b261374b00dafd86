"""sendmail quotes what it cannot decode in a login: the password must not be shown."""

from __future__ import annotations

import base64

import pytest

pytest.importorskip("django", reason="the servers are started with those of Django and Flask")
pytest.importorskip("flask", reason="the servers are started with those of Django and Flask")

from interop.servers.all import AllServers
from mailbackends import SMTP

SECRET = base64.b64encode(b"\0user\0a password").decode()


@pytest.mark.parametrize("commands", [[f"AUTH PLAIN {SECRET}!"], ["AUTH LOGIN", f"{SECRET}!"]])
def test_a_password_that_the_server_quotes_is_masked_in_the_reply_and_the_debug_output(
    commands: list[str], all_servers: AllServers, capsys: pytest.CaptureFixture[str]
) -> None:
    port = all_servers.server("sendmail").endpoint().port
    with SMTP("127.0.0.1", port, "client.test") as smtp:
        smtp.set_debuglevel(1)
        smtp.ehlo()
        replies = [smtp.docmd(command) for command in commands]
    code, text = replies[-1]
    assert code == 501
    assert text.startswith(b"5.5.4 cannot")
    shown = capsys.readouterr().err
    assert "501 5.5.4 cannot" in shown
    assert SECRET not in f"{text!r}{shown}"
    assert "***" in shown
