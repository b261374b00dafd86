"""What smtplib's interface suggests: in ``hint``, and below the traceback, not in the text."""

from __future__ import annotations

import traceback

import pytest

from mailbackends import SMTP, SMTPException
from support.scripted import ScriptedServer
from support.server import MailServer


def note_of(error: SMTPException) -> str:
    """The hint, after checking that the traceback ends with it and the text has none of it."""
    hint = error.hint or ""
    assert "".join(traceback.format_exception(error)).rstrip().endswith(hint)
    assert hint
    assert hint not in str(error)
    return hint


def test_a_login_before_starttls_names_the_method() -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        client = SMTP(server.host, server.port)
        with pytest.raises(SMTPException) as caught:
            client.login("user", "secret")
        client.close()
    assert str(caught.value) == "SMTP AUTH extension not supported by server."
    assert note_of(caught.value) == (
        "it offers STARTTLS, and logins only after it: call starttls() first"
    )


def test_starttls_that_is_not_offered_lists_the_extensions() -> None:
    with MailServer() as server:
        client = SMTP(server.host, server.port)
        with pytest.raises(SMTPException) as caught:
            client.starttls()
        client.close()
    assert str(caught.value) == "STARTTLS extension not supported by server."
    hint = note_of(caught.value)
    assert "it offers SIZE, 8BITMIME" in hint
    assert "use SMTP_SSL" in hint


def test_a_server_that_requires_a_login_names_the_method() -> None:
    with MailServer(login=("user", "secret"), require_login=True) as server:
        client = SMTP(server.host, server.port)
        with pytest.raises(SMTPException) as caught:
            client.sendmail("a@example.com", ["b@example.com"], "Subject: x\r\n\r\nx\r\n")
        client.close()
    assert note_of(caught.value) == "the server requires a login: call login()"


def test_a_refused_login_has_the_user_name() -> None:
    with MailServer(login=("user", "secret")) as server:
        client = SMTP(server.host, server.port)
        with pytest.raises(SMTPException) as caught:
            client.login("user", "wrong")
        client.close()
    assert note_of(caught.value) == ("check username and password, and that this account may send")
    assert caught.value.username == "user"  # type: ignore[attr-defined]


def test_no_greeting_suggests_smtp_ssl() -> None:
    with (
        ScriptedServer([(b"", None)]) as silent,
        pytest.raises(SMTPException) as caught,
    ):
        SMTP(silent.host, silent.port, timeout=0.2)
    assert "use SMTP_SSL" in note_of(caught.value)
