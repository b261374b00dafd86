"""The client against servers that are not scripted: aiosmtpd, and our own sink for LMTP."""

from __future__ import annotations

import logging
import logging.handlers
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

import mailbackends
from mailbackends.client import LMTP, SMTP, SMTP_SSL
from support import certs
from support.server import MailServer
from support.sink import Sink


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Bcc"] = "a@a.test", "b@b.test", "c@c.test"
    made["Subject"] = "Grüße"
    made.set_content(".\n..\nFrom here\n" + "é" * 2000 + "\n")
    return made


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certs.cafile())


def test_a_message_over_starttls_with_a_login_arrives_unchanged() -> None:
    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        with SMTP(server.host, server.port, timeout=20) as smtp:
            smtp.starttls(context=trusting())
            smtp.login("user", "secret")
            assert smtp.send_message(message()) == {}
            assert smtp.send_message(message()) == {}
        assert server.connections == 1
        received = server.messages[0]
    assert received.is_tls
    assert received.rcpt_tos == ("b@b.test", "c@c.test")
    assert received.message["Bcc"] is None
    assert received.message["Subject"] == "Grüße"
    assert received.message.get_content() == message().get_content()


def test_a_message_over_implicit_tls_arrives() -> None:
    with MailServer(tls="tls") as server:
        with SMTP_SSL(server.host, server.port, timeout=20, context=trusting()) as smtp:
            assert smtp.sendmail("a@a.test", "b@b.test", "Subject: hi\n\nhi\n") == {}
        assert server.messages[0].message["Subject"] == "hi"


def test_a_wrong_password_is_refused_and_is_not_in_the_error() -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        smtp = SMTP(server.host, server.port, timeout=20)
        smtp.starttls(context=trusting())
        with pytest.raises(mailbackends.SMTPAuthenticationError) as caught:
            smtp.login("user", "not-the-secret")
        assert "not-the-secret" not in repr(vars(caught.value)) + str(caught.value)
        smtp.login("user", "secret")
        smtp.quit()


def test_refused_recipients_are_returned_and_the_connection_stays_usable() -> None:
    with MailServer() as server:
        server.refuse("b@b.test", "550 5.1.1 No such user")
        with SMTP(server.host, server.port, timeout=20) as smtp:
            assert smtp.send_message(message()) == {"b@b.test": (550, b"5.1.1 No such user")}
            with pytest.raises(mailbackends.SMTPRecipientsRefused):
                smtp.sendmail("a@a.test", "b@b.test", "x")
            assert smtp.sendmail("a@a.test", "d@d.test", "x") == {}
        assert len(server.messages) == 2


@pytest.mark.parametrize("is_unix", [False, True], ids=["tcp", "unix"])
def test_lmtp_delivers_and_has_a_reply_for_each_recipient(is_unix: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with Sink(lmtp=True, path=path if is_unix else None) as sink:
        sink.refuse("b@b.test", "550 5.1.1 No such user")
        client = LMTP(path, timeout=20) if is_unix else LMTP(sink.host, sink.port, timeout=20)
        with client as lmtp:
            refused = lmtp.sendmail("a@a.test", ["b@b.test", "c@c.test", "d@d.test"], "x")
            assert refused == {"b@b.test": (550, b"5.1.1 No such user")}
            assert lmtp.noop()[0] == 250
        assert sink.messages[0].rcpt_tos == ("c@c.test", "d@d.test")


def test_the_standard_librarys_own_handler_works_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtplib, "SMTP", SMTP)
    with MailServer() as server:
        handler = logging.handlers.SMTPHandler(
            (server.host, server.port), "a@a.test", ["b@b.test"], "a failure", timeout=20
        )
        handler.emit(logging.LogRecord("x", logging.ERROR, "x.py", 1, "it broke", (), None))
        assert server.messages[0].message["Subject"] == "a failure"
