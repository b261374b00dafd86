"""Staging, system checks, `mail_doctor` and the health check."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core import checks
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_integration.checks import check_configuration, check_deployment
from django_integration.health import check_mail
from support.server import MailServer

Use = Callable[..., None]


def message(*to: str, **more: Any) -> EmailMessage:
    return EmailMessage("s", "b", to=list(to or ("a@example.com",)), **more)


# Staging


def test_redirected_mail_names_its_original_recipients(use_mail: Use, server: MailServer) -> None:
    use_mail(host=server.host, port=server.port, redirect_all_to="tester@example.com")
    assert message("a@example.com", cc=["b@example.com"], bcc=["c@example.com"]).send() == 1

    received = server.message
    assert received.rcpt_tos == ("tester@example.com",)
    assert received.message["To"] == "a@example.com"
    # The message does not reveal its blind copies.
    assert received.message["X-Original-Recipients"] == "a@example.com, b@example.com"
    assert b"c@example.com" not in received.content


def test_only_allowed_recipients_get_mail(use_mail: Use, server: MailServer) -> None:
    allowed = ["Boss@Example.com", "@shop.example", "*@test.example"]
    use_mail(host=server.host, port=server.port, allowed_recipients=allowed)
    people = ["boss@example.com", "a@shop.example", "b@test.example", "c@example.com"]
    assert message(*people).send() == 1
    assert server.message.rcpt_tos == tuple(people[:3])
    assert server.message.message["X-Original-Recipients"] == "c@example.com"


def test_a_message_without_allowed_recipients_is_cancelled(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, allowed_recipients=[])
    held_back = message()
    assert held_back.send() == 0
    assert "none of the recipients is in allowed_recipients" in str(held_back.send_error)  # type: ignore[attr-defined]
    assert server.connections == 0


def test_mail_to_other_recipients_can_be_redirected(use_mail: Use, server: MailServer) -> None:
    use_mail(
        host=server.host,
        port=server.port,
        allowed_recipients=["boss@example.com"],
        redirect_all_to=["tester@example.com"],
    )
    message("boss@example.com", "a@example.com").send()
    assert server.message.rcpt_tos == ("boss@example.com", "tester@example.com")


# System checks


def ids(found: list[checks.CheckMessage]) -> list[str | None]:
    return [problem.id for problem in found]


CLEAR = {"use_tls": False, "username": "", "password": ""}
GOOD = {"host": "mail.example.com", "port": 587, "use_tls": True, "username": "u", "password": "p"}


def test_a_good_configuration_passes_all_checks(use_mail: Use) -> None:
    use_mail(**GOOD)
    assert check_configuration(None) == []
    assert check_deployment(None) == []


@pytest.mark.parametrize(
    ("options", "identifier"),
    [
        ({"pool_sise": 3}, "mailbackends.E001"),
        ({"use_ssl": True}, "mailbackends.E001"),
        ({"port": "smtp"}, "mailbackends.E001"),
        ({"ssl_cafile": "/nowhere/ca.pem"}, "mailbackends.E001"),
        ({"use_tls": False}, "mailbackends.E001"),  # and credentials
        ({"password": ""}, "mailbackends.W005"),
        ({**CLEAR, "ssl_certfile": "client.pem"}, "mailbackends.W007"),
        ({**CLEAR, "ssl_cafile": "ca.pem"}, "mailbackends.E001"),
        ({"EMAIL_HOST": "mail.example.com"}, "mailbackends.E001"),
        ({"username": ""}, "mailbackends.W009"),
        ({"port": 465}, "mailbackends.W010"),
        ({**CLEAR, "port": 465}, "mailbackends.W010"),
        ({"port": 587, "use_tls": False, "use_ssl": True}, "mailbackends.W010"),
        ({"use_tls": "True"}, "mailbackends.W008"),
        ({"pipelining": "False"}, "mailbackends.W008"),
    ],
)
def test_check_finds_options_that_cannot_work(
    use_mail: Use, options: dict[str, Any], identifier: str
) -> None:
    use_mail(**GOOD | options)
    [problem] = check_configuration(None)
    assert problem.id == identifier
    assert problem.hint


@pytest.mark.parametrize(
    ("options", "identifiers"),
    [
        ({"use_tls": False, "username": "", "password": ""}, ["mailbackends.W001"]),
        (
            {"use_tls": False, "allow_cleartext_auth": True},
            ["mailbackends.W001", "mailbackends.W002"],
        ),
        ({"deadline": None, "content_timeout": None}, ["mailbackends.W003"]),
        ({"redirect_all_to": ["a@example.com"]}, ["mailbackends.W004"]),
        ({"host": "localhost", "use_tls": False}, []),
        ({"host": "127.0.0.1", "use_tls": False}, []),
    ],
)
def test_check_deploy_finds_options_that_production_should_not_have(
    use_mail: Use, options: dict[str, Any], identifiers: list[str]
) -> None:
    use_mail(**GOOD | options)
    found = check_deployment(None)
    assert ids(found) == identifiers
    assert all(problem.hint for problem in found)


@pytest.mark.parametrize("name", ["console", "dummy", "locmem", "filebased"])
def test_check_deploy_finds_a_backend_that_does_not_send(
    use_email_settings: Use, name: str
) -> None:
    use_email_settings(f"django.core.mail.backends.{name}.EmailBackend")
    assert ids(check_deployment(None)) == ["mailbackends.E002"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("EMAIL_HOST_USER", "username"), ("EMAIL_USE_TLS", "use_tls"), ("user", "username")],
)
def test_a_name_of_a_setting_in_the_options_is_an_error_with_the_name_of_the_option(
    use_mail: Use, name: str, meant: str
) -> None:
    use_mail(**GOOD | {name: "x"})
    [problem] = check_configuration(None)
    assert f"Did you mean {meant!r}?" in problem.msg


def test_check_names_the_text_of_a_switch_and_what_to_write(use_email_settings: Use) -> None:
    use_email_settings(host="localhost", port=2525, use_tls="False")
    [problem] = check_configuration(None)
    assert problem.msg == "EMAIL_USE_TLS is the text 'False', not True or False."
    assert "Write True or False" in str(problem.hint)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("django_integration.EmailBackEnd", 'Write "django_integration.EmailBackend".'),
        ("django_intergration.EmailBackend", 'Write "django_integration.EmailBackend".'),
        ("django.core.mail.backends.smpt.EmailBackend", "smtp.EmailBackend"),
        ("nowhere", "Write the path of a class."),
    ],
)
def test_check_finds_a_backend_that_cannot_be_imported(use_mail: Use, path: str, hint: str) -> None:
    use_mail(backend=path)
    [problem] = check_configuration(None)
    assert problem.id == "mailbackends.E003"
    assert repr(path) in problem.msg
    assert hint in str(problem.hint)


def test_check_deploy_finds_the_mailbox(use_mail: Use, use_settings: Use) -> None:
    pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")
    use_mail(backend="django_integration.mailbox.EmailBackend")
    use_settings(DEBUG=False, MAILBACKENDS_MAILBOX={"outside_debug": True})
    assert check_configuration(None) == []
    assert ids(check_deployment(None)) == ["mailbackends.E002"]
    use_settings(MAILBACKENDS_MAILBOX={"outside_debgu": True})
    assert ids(check_configuration(None)) == ["mailbackends.E001"]


@pytest.mark.parametrize("sender", ["webmaster@localhost", "Shop <shop@localhost>"])
def test_check_deploy_finds_a_sender_at_localhost(
    use_mail: Use, use_settings: Use, sender: str
) -> None:
    use_mail(**GOOD)
    use_settings(DEFAULT_FROM_EMAIL=sender)
    [problem] = check_deployment(None)
    assert (problem.id, problem.msg.split()[0]) == ("mailbackends.W011", "DEFAULT_FROM_EMAIL")
    use_settings(DEFAULT_FROM_EMAIL="shop@example.com", ADMINS=["admin@example.com"])
    [problem] = check_deployment(None)
    assert (problem.id, problem.msg.split()[0]) == ("mailbackends.W011", "SERVER_EMAIL")
    use_settings(SERVER_EMAIL="errors@example.com")
    assert check_deployment(None) == []


def test_the_checks_are_run_by_manage_check(use_mail: Use) -> None:
    use_mail(**GOOD | {"pool_sise": 3})
    with pytest.raises(CommandError, match=r"mailbackends\.E001"):
        call_command("check", stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
def test_mailbackends_beside_mailers_is_a_warning(use_settings: Use) -> None:
    mailer = {"BACKEND": "django_integration.EmailBackend", "OPTIONS": {"host": "localhost"}}
    use_settings(MAILERS={"default": mailer}, MAILBACKENDS={"pool_size": 2})
    assert ids(check_configuration(None)) == ["mailbackends.W006"]


# mail_doctor


def doctor(*arguments: str) -> str:
    out = io.StringIO()
    call_command("mail_doctor", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_the_doctor_shows_each_step_and_sends_a_test_message(
    use_mail: Use, secure_options: Callable[[MailServer], dict[str, Any]]
) -> None:
    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        use_mail(**secure_options(server))
        output = doctor("--to", "a@example.com", "--to", "b@example.com")
        assert server.message.rcpt_tos == ("a@example.com", "b@example.com")

    for words in ("resolve", "connect", "greeting", "EHLO", "STARTTLS", "login", "message", " ms"):
        assert words in output
    for words in ("certificate for localhost", "good until", "accepted for a@example.com"):
        assert words in output
    assert "Mail can be sent." in output
    assert "secret" not in output


def test_the_doctor_asks_whether_the_default_sender_is_accepted(mail: MailServer) -> None:
    assert "sender <shop@example.com>: 250" in doctor()
    mail.wait(lambda: mail.open_connections == 0)
    assert [line.split()[0] for line in mail.commands[0]] == ["EHLO", "MAIL", "RSET", "QUIT"]

    mail.refuse_sender("shop@example.com", "550 5.7.1 Not you")
    with pytest.raises(CommandError, match="Mail cannot be sent: probe failed"):
        doctor()


def test_the_doctor_warns_of_a_sender_at_localhost(mail: MailServer, use_settings: Use) -> None:
    use_settings(DEFAULT_FROM_EMAIL="webmaster@localhost")
    written = doctor()
    assert "many servers refuse a sender at localhost" in written
    assert "set DEFAULT_FROM_EMAIL" in written


def test_the_doctor_does_not_call_the_mailbox_healthy(use_mail: Use) -> None:
    pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")
    use_mail(backend="django_integration.mailbox.EmailBackend")
    with override_settings(DEBUG=True), pytest.raises(CommandError, match="reaches nobody"):
        doctor()


def test_the_doctor_sends_a_message_only_with_to(mail: MailServer) -> None:
    doctor()
    assert mail.messages == []


def test_the_doctor_exits_with_an_error_if_a_step_fails(
    use_mail: Use, secure_options: Callable[[MailServer], dict[str, Any]]
) -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        use_mail(**secure_options(server) | {"password": "wrong"})
        with pytest.raises(CommandError, match="Mail cannot be sent: login failed"):
            doctor()


def test_the_doctor_writes_json(mail: MailServer) -> None:
    report = json.loads(doctor("--json"))
    assert report["ok"] is True
    assert {step["server"] for step in report["steps"]} == {f"{mail.host}:{mail.port}"}
    names = [step["name"] for step in report["steps"]]
    assert names == ["resolve", "connect", "greeting", "EHLO", "probe"]


def test_the_doctor_shows_a_refused_test_message(mail: MailServer) -> None:
    mail.refuse("a@example.com")
    with pytest.raises(CommandError, match="message failed"):
        doctor("--to", "a@example.com")


def test_the_doctor_reports_a_wrong_configuration(use_mail: Use) -> None:
    use_mail(host="localhost", pool_sise=3)
    with pytest.raises(CommandError, match="pool_size"):
        doctor()


def test_the_doctor_reports_another_backend(use_mail: Use) -> None:
    use_mail(backend="django.core.mail.backends.console.EmailBackend")
    with pytest.raises(CommandError, match="EmailBackend, which mail_doctor cannot check"):
        doctor()


def test_an_alias_that_does_not_exist_is_named(use_mail: Use) -> None:
    use_mail(host="localhost")
    with pytest.raises(CommandError, match="bulk"):
        doctor("--using", "bulk")


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS came with Django 6.1")
def test_the_doctor_checks_any_alias(use_settings: Use, server: MailServer) -> None:
    backend = "django_integration.EmailBackend"
    bulk = {"host": server.host, "port": server.port}
    use_settings(
        MAILERS={
            "default": {"BACKEND": backend, "OPTIONS": {"host": "nowhere.invalid"}},
            "bulk": {"BACKEND": backend, "OPTIONS": bulk},
        }
    )
    assert f"{server.host}:{server.port}" in doctor("--using", "bulk")
    assert check_mail("bulk").is_ok
    assert not check_mail().is_ok


# Health


def test_mail_is_healthy_if_the_server_can_be_reached(mail: MailServer) -> None:
    for _ in range(3):
        health = check_mail()
        assert health.is_ok
        assert health.error is None
        assert health.server == f"{mail.host}:{mail.port}"
        json.dumps(health.as_dict())
    assert mail.connections == 1  # left in the pool, and checked without a command


def test_mail_is_unhealthy_if_the_server_is_gone(mail: MailServer) -> None:
    mail.answer("EHLO", "421 4.3.2 Closing", times=None)
    mail.answer("HELO", "421 4.3.2 Closing", times=None)
    health = check_mail()
    assert not health.is_ok
    assert "421" in str(health.error)


def test_the_health_check_replaces_a_connection_closed_by_the_server(mail: MailServer) -> None:
    assert check_mail().is_ok
    mail.close_connections()
    assert check_mail().is_ok
    assert mail.connections == 2


def test_a_backend_without_a_server_is_healthy(use_mail: Use) -> None:
    use_mail(backend="django.core.mail.backends.dummy.EmailBackend")
    assert check_mail().is_ok
    assert check_mail().server is None
