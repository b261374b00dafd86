"""`flask_integration.testing`, and the pytest fixture that uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flask", reason="the Flask integration needs Flask")

from flask import Flask

from flask_integration import Mail, Message
from flask_integration.testing import mail_to
from mailbackends.testing.server import LoopbackServer

TESTS = """
import pytest
from flask import Flask

from flask_integration import Mail, Message
from mailbackends import SMTPDataError

mail = Mail()


@pytest.fixture
def app():
    app = Flask("shop")
    app.config.update(TESTING=True, MAIL_SERVER="mail.example.com", MAIL_USE_TLS=True,
                      MAIL_DEFAULT_SENDER="shop@example.com", MAIL_MAILERS={"bulk": {}})
    mail.init_app(app)
    with app.app_context():
        yield app


@pytest.mark.smtp_server(tls="starttls", login=("shop", "secret"))
def test_the_whole_path(app, flask_smtp_server):
    mail.send(Message("Your order", ["ada@example.com"], body="On its way.", html="<b>On</b>"))
    mail.using("bulk").send(Message("News", ["ada@example.com"], body="Tea."))
    received = flask_smtp_server.assert_sent(subject="Your order", text="On its way.")
    assert (received.html.rstrip(), received.user) == ("<b>On</b>", "shop")
    flask_smtp_server.assert_sent(subject="News")


def test_a_fault(app, flask_smtp_server):
    flask_smtp_server.fail_next("552 5.3.4 Too big")
    with pytest.raises(SMTPDataError):
        mail.send(Message("Your order", ["ada@example.com"], body="On its way."))
    flask_smtp_server.assert_nothing_sent()


def test_with_a_mailer(smtp_server, smtp_mailer):
    smtp_mailer.send_message(b"Subject: s\\r\\n\\r\\nb\\r\\n", "", ["ada@example.com"])
    smtp_server.assert_sent(sender="", subject="s", text="b")


def test_a_failure_that_shows_the_difference(app, flask_smtp_server):
    mail.send(Message("Your order", ["ada@example.com"], body="On its way."))
    flask_smtp_server.assert_sent(subject="Your odrer")
"""


def test_the_fixture_gives_an_application_a_real_server(tmp_path: Path) -> None:
    pytest.importorskip("trustme")
    (tmp_path / "test_application.py").write_text(TESTS)
    plugin = ("-p", "mailbackends.testing.plugin", "-p", "flask_integration.pytest_plugin")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", *plugin, "-q", "-W", "error", "--strict-markers"],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert "expected 'Your odrer'" in done.stdout
    assert "was      'Your order'" in done.stdout


def test_mail_to_restores_everything_after_its_block() -> None:
    app = Flask("shop")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.com", MAIL_SERVER="nowhere")
    mail = Mail(app)
    before = app.extensions["mail"]
    with LoopbackServer() as server:
        with mail_to(app, server.host, server.port), app.app_context():
            mail.send(Message("Your order", ["ada@example.com"], body="x"))
        with app.app_context():
            mail.send(Message("Suppressed", ["ada@example.com"], body="x"))
        assert [received.subject for received in server.messages] == ["Your order"]
    assert app.extensions["mail"] is before


def test_mail_to_needs_an_application_with_mail() -> None:
    app = Flask("bare")
    with pytest.raises(RuntimeError, match="call mail"), mail_to(app, "127.0.0.1", 25):
        pass
