"""The differences from Flask-Mail that the documentation lists: how messages are sent.

Each test is called like an entry of its table, and shows both sides of it.
"""

from __future__ import annotations

import smtplib
import ssl
from typing import Any
from unittest import mock

import pytest
from flask import Flask

import flask_integration as ours
import mailbackends
from support.server import MailServer

from .conftest import MakeApp, settings_for

theirs = pytest.importorskip("flask_mail")

pytestmark = pytest.mark.filterwarnings("ignore::flask_integration.ConfigurationWarning")


def send(package: Any, app: Flask, *to: str) -> Any:
    """Send one message by ``package`` in ``app``."""
    mail = package.Mail(app)
    with app.app_context():
        return mail.send(package.Message("Hello", list(to or ["ada@x.com"]), body="Hi"))


def test_receipt(make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]) -> None:
    assert send(theirs, make_app(**settings)) is None
    assert send(ours, make_app(**settings)).accepted == ("ada@x.com",)


def test_refused_reported(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("bob@x.com")
    assert send(theirs, make_app(**settings), "ada@x.com", "bob@x.com") is None
    assert "bob@x.com" in send(ours, make_app(**settings), "ada@x.com", "bob@x.com").refused


@pytest.mark.parametrize(("package", "connections"), [(theirs, 3), (ours, 1)])
def test_connection_reused(
    make_app: MakeApp,
    mail_server: MailServer,
    settings: dict[str, Any],
    package: Any,
    connections: int,
) -> None:
    mail = package.Mail(app := make_app(**settings))
    for _ in range(3):
        with app.app_context():
            mail.send(package.Message("Hello", ["ada@x.com"], body="Hi"))
    assert mail_server.connections == connections


def test_tls_verified(make_app: MakeApp) -> None:
    with MailServer(tls="starttls") as server:
        settings = settings_for(server)
        del settings["MAIL_SSL_CAFILE"]
        send(theirs, make_app(**settings))
        with pytest.raises(ssl.SSLCertVerificationError):
            send(ours, make_app(**settings))
        assert len(server.messages) == 1


def test_timeouts(make_app: MakeApp) -> None:
    app = make_app(MAIL_SERVER="mail.example.com")
    with mock.patch("flask_mail.smtplib.SMTP") as connect, app.app_context():
        theirs.Connection(theirs.Mail(app).state).configure_host()
    assert connect.call_args == mock.call("mail.example.com", 25)  # no timeout
    options = ours.Mail(app).init_mail(app.config).options
    assert (options.timeout, options.deadline) == (30, 180)


def test_quit_is_harmless(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.hang_up("QUIT", times=None)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(theirs, make_app(**settings))
    send(ours, app := make_app(**settings))
    app.extensions["mail"].close()
    assert len(mail_server.messages) == 2


def test_login_in_clear(make_app: MakeApp) -> None:
    login = {"MAIL_USERNAME": "user", "MAIL_PASSWORD": "secret", "MAIL_SERVER": "mail.example.com"}
    app = make_app(**login)
    with mock.patch("flask_mail.smtplib.SMTP") as connect, app.app_context():
        host = theirs.Connection(theirs.Mail(app).state).configure_host()
    assert host.login.called
    assert not connect.return_value.starttls.called
    with pytest.raises(mailbackends.ConfigurationError, match="in clear"):
        ours.Mail(app)
    assert ours.Mail(make_app(**login, MAIL_ALLOW_CLEARTEXT_AUTH=True)).username == "user"


def test_default_port(make_app: MakeApp) -> None:
    for security, port in (("TLS", 587), ("SSL", 465)):
        app = make_app(**{f"MAIL_USE_{security}": True})
        assert theirs.Mail(app).port == 25
        assert ours.Mail(app).port == port


def test_testing_set_later(make_app: MakeApp) -> None:
    for package, suppressed in ((theirs, False), (ours, True)):
        mail = package.Mail(app := make_app())
        app.config["TESTING"] = True
        assert mail.suppress is suppressed


def test_settings_checked(make_app: MakeApp) -> None:
    app = make_app(MAIL_PORT="smtp")
    theirs.Mail(app)
    with pytest.raises(mailbackends.ConfigurationError):
        ours.Mail(app)
    app = make_app(MAIL_SEVER="x")
    theirs.Mail(app)
    with pytest.warns(ours.ConfigurationWarning):
        ours.Mail(app)


def test_flags_read(make_app: MakeApp) -> None:
    app = make_app(MAIL_USE_TLS="False")
    assert theirs.Mail(app).use_tls
    assert ours.Mail(app).use_tls is False


def test_incomplete_login(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    settings["MAIL_USERNAME"] = "user"
    send(theirs, make_app(**settings))
    with pytest.warns(ours.ConfigurationWarning, match="no login"):
        send(ours, make_app(**settings))
    assert len(mail_server.messages) == 2


def test_checks_under_optimisation(app: Flask) -> None:
    for package in (theirs, ours):
        with pytest.raises(AssertionError) as caught:
            _send_to_nobody(package, app)
        assert isinstance(caught.value, ValueError) is (package is ours)


def _send_to_nobody(package: Any, app: Flask) -> None:
    mail = package.Mail(app)
    with app.app_context():
        mail.send(package.Message("Hello", [], body="Hi"))


def test_debug_masked(
    make_app: MakeApp,
    mail_server: MailServer,
    settings: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    for package, shown in ((theirs, True), (ours, False)):
        app = make_app(**settings, DEBUG=True)
        send(package, app)
        assert ("ada@x.com" in capfd.readouterr().err) is shown


@pytest.mark.parametrize(("package", "per_connection"), [(theirs, 1), (ours, 2)])
def test_max_emails_everywhere(
    make_app: MakeApp,
    mail_server: MailServer,
    settings: dict[str, Any],
    package: Any,
    per_connection: int,
) -> None:
    mail = package.Mail(app := make_app(**settings, MAIL_MAX_EMAILS=2))
    for _ in range(4):
        with app.app_context():
            mail.send(package.Message("Hello", ["ada@x.com"], body="Hi"))
    assert mail_server.connections == 4 / per_connection


def test_no_context_needed(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="application context"):
        theirs.Message("Hello", ["ada@x.com"])
    theirs_, ours_ = theirs.Mail(app), ours.Mail(app)
    with app.app_context():
        message = theirs.Message("Hello", ["ada@x.com"], body="Hi")
    with pytest.raises(RuntimeError, match="application context"):
        theirs_.send(message)
    assert ours_.send(ours.Message("Hello", ["ada@x.com"], body="Hi")).accepted


def test_state_of_factories(app: Flask) -> None:
    for package, has_state in ((theirs, False), (ours, True)):
        mail = package.Mail()
        mail.init_app(app)
        with app.app_context():
            assert (mail.state is not None) is has_state


def test_unknown_attributes(app: Flask) -> None:
    assert theirs.Mail(app).conect is None
    with pytest.raises(AttributeError):
        ours.Mail(app).conect  # noqa: B018


@pytest.mark.parametrize(("package", "sent"), [(theirs, 0), (ours, 1)])
def test_connection_without_block(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any], package: Any, sent: int
) -> None:
    mail = package.Mail(app := make_app(**settings))
    with app.app_context():
        mail.connect().send(package.Message("Hello", ["ada@x.com"], body="Hi"))
    assert len(mail_server.messages) == sent


def test_bare_addresses(app: Flask) -> None:
    for package, expected in ((theirs, "=?utf-8?q?Ada?= <ada@x.com>"), (ours, "ada@x.com")):
        mail = package.Mail(app)
        with app.app_context(), mail.connect() as connection:
            connection.host = mock.Mock()
            connection.send(package.Message("Hello", ["Ada <ada@x.com>"], body="Hi"))
            assert connection.host.sendmail.call_args[0][1] == [expected]


def test_receivers_that_raise(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with theirs.email_dispatched.connected_to(fail), pytest.raises(ZeroDivisionError):
        send(theirs, make_app(**settings))
    with ours.email_dispatched.connected_to(fail):
        assert send(ours, make_app(**settings)).accepted == ("ada@x.com",)
    assert len(mail_server.messages) == 2
