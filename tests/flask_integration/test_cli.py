"""``flask mail``: show-config, doctor and send-test."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask

from flask_integration import Mail
from flask_integration.config import KEYS, PREFIX
from support import certs
from support.server import MailServer

from .conftest import MakeApp


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["mail", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_show_config_masks_secrets(make_app: MakeApp) -> None:
    app = make_app(MAIL_URL="smtps://user:hunter2@mail.example.com", MAIL_POOL_SIZE=3)
    Mail(app)
    status, output = run(app, "show-config")
    assert status == 0
    shown = dict(line.split(None, 1) for line in output.splitlines())
    assert shown["MAIL_SERVER"] == "mail.example.com"
    assert shown["MAIL_PORT"] == "465"
    assert shown["MAIL_USERNAME"] == "user"
    assert shown["MAIL_PASSWORD"] == "********"
    assert shown["MAIL_POOL_SIZE"] == "3"
    assert shown["MAIL_DEFAULT_SENDER"] == "Shop <shop@example.com>"
    assert "hunter2" not in output


def test_show_config_names_the_settings_as_they_are_written(make_app: MakeApp) -> None:
    app = make_app(MAIL_URL="smtp://one.example.com smtp://two.example.com", MAIL_MAILERS={"b": {}})
    Mail(app)
    names = {line.split()[0] for line in run(app, "show-config")[1].splitlines()}
    shown_by_others = {"HOST", "USE_TLS", "USE_SSL"}  # MAIL_SERVER and MAIL_SECURITY
    assert names == {PREFIX + name for name in KEYS - shown_by_others}


def test_show_config_prints_json(make_app: MakeApp) -> None:
    app = make_app(MAIL_MAILERS={"bulk": "smtp://user:hunter2@localhost:2525"})
    Mail(app)
    status, output = run(app, "show-config", "--json", "--mailer", "bulk")
    assert status == 0
    assert json.loads(output)["MAIL_PORT"] == 2525
    assert "hunter2" not in output
    assert json.loads(run(app, "show-config", "--json")[1])["MAIL_MAILERS"] == ["bulk"]


def test_an_unknown_mailer_is_reported_with_the_nearest_name(make_app: MakeApp) -> None:
    app = make_app(MAIL_MAILERS={"bulk": "smtp://localhost"})
    Mail(app)
    status, output = run(app, "doctor", "--mailer", "bukl")
    assert status == 1
    assert "did you mean bulk?" in output


def test_doctor_reports_success_and_sends_nothing(
    make_app: MakeApp, secure_server: MailServer, secure_settings: dict[str, Any]
) -> None:
    app = make_app(**secure_settings)
    Mail(app)
    status, output = run(app, "doctor")
    assert status == 0, output
    assert "STARTTLS, login as user" in output
    assert "Shop <shop@example.com>" in output
    assert "FAILED" not in output
    assert "No problems found." in output
    assert (secure_server.connections, secure_server.messages) == (1, [])


def test_doctor_prints_json(
    make_app: MakeApp, secure_server: MailServer, secure_settings: dict[str, Any]
) -> None:
    app = make_app(**secure_settings)
    Mail(app)
    status, output = run(app, "doctor", "--json")
    report = json.loads(output)
    assert (status, report["ok"]) == (0, True)
    assert [place["place"].split(",")[0] for place in report["places"]] == [
        "configuration",
        f"127.0.0.1:{secure_server.port}",
    ]
    assert all(step["ok"] for place in report["places"] for step in place["steps"])


def test_doctor_reports_what_is_wrong(
    make_app: MakeApp, secure_server: MailServer, secure_settings: dict[str, Any]
) -> None:
    for change, text in (
        ({"MAIL_PASSWORD": "hunter2"}, "535"),
        ({"MAIL_SSL_CAFILE": certs.untrusted_cafile()}, "certificate"),
        ({"MAIL_SSL_CAFILE": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"MAIL_SERVER": "no-such-host.invalid"}, "no-such-host.invalid"),
    ):
        app = make_app(**{**secure_settings, **change})
        Mail(app)
        status, output = run(app, "doctor")
        assert status == 1, output
        assert output.count("FAILED") == 1
        assert text in output
        assert "hunter2" not in output
        assert "There are problems." in output


def test_doctor_checks_each_of_several_servers(make_app: MakeApp, mail_server: MailServer) -> None:
    with MailServer() as gone:
        url = gone.url
    app = make_app(MAIL_URL=[mail_server.url, url])
    Mail(app)
    status, output = run(app, "doctor")
    assert status == 1
    assert output.count("FAILED") == 1
    assert f"127.0.0.1:{mail_server.port}" in output
    assert "MAIL_STRATEGY" in run(app, "show-config")[1]


def test_doctor_names_backends_that_deliver_nothing(make_app: MakeApp) -> None:
    app = make_app(MAIL_BACKEND="memory", MAIL_SUPPRESS_SEND=True, MAIL_DEFAULT_SENDER=None)
    Mail(app)
    status, output = run(app, "doctor")
    assert status == 0
    assert "delivers to nobody" in output
    assert "each message must give its sender" in output
    assert "sending is suppressed" in output


def test_doctor_reports_a_backend_that_cannot_be_created(make_app: MakeApp) -> None:
    app = make_app(MAIL_BACKEND="file")
    Mail(app)
    status, output = run(app, "doctor")
    assert status == 1
    assert "MAIL_FILE_PATH is not set" in output


def test_send_test_sends_even_if_sending_is_suppressed(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    app = make_app(**settings, TESTING=True)
    Mail(app)
    status, output = run(app, "send-test", "ada@example.com", "--sender", "me@example.com")
    assert status == 0, output
    assert "accepted for ada@example.com: 250 2.0.0 Ok: queued as 1" in output
    received = mail_server.message
    assert (received.mail_from, received.rcpt_tos) == ("me@example.com", ("ada@example.com",))
    assert str(received.message["Message-ID"]) in output


def test_send_test_reports_a_failure(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("bob@example.com")
    app = make_app(**settings)
    Mail(app)
    for address, text in (("bob@example.com", "550 5.1.1"), ("no address", "is not an address")):
        status, output = run(app, "send-test", address)
        assert status == 1
        assert text in output


def test_the_commands_need_an_application_with_mail(app: Flask, make_app: MakeApp) -> None:
    Mail(app)
    other = make_app()
    other.cli.add_command(app.cli.commands["mail"])
    status, output = run(other, "doctor")
    assert status == 1
    assert "call mail.init_app(app)" in output
