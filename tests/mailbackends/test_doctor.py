"""`mailbackends.diagnose`: each step to a real server, and the error of the step that fails."""

from __future__ import annotations

import socket
from typing import Literal

import pytest

from mailbackends import Mailer, Options, SMTPTimeoutError, Step, diagnose
from mailbackends.testing.server import LoopbackServer
from support import certs
from support.server import MailServer


def steps(server: MailServer, **options: object) -> list[Step]:
    given: dict[str, object] = {"security": server.tls, "ssl_cafile": server.cafile}
    if server.tls == "none":
        del given["ssl_cafile"]
    given |= {"host": server.host, "port": server.port, "timeout": 10.0} | options
    return list(diagnose(Options.from_mapping(given)))


def test_all_steps_to_a_server_with_starttls_and_login() -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        found = steps(server, username="user", password="secret")

        assert [step.name for step in found] == [
            "resolve", "connect", "greeting", "EHLO", "STARTTLS", "login",
        ]  # fmt: skip
        assert all(step.is_ok and step.seconds >= 0 for step in found)
        server.wait(lambda: server.open_connections == 0)
        assert [line.split()[0] for line in server.commands[0]] == [
            "EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT",
        ]  # fmt: skip


def test_the_certificate_is_shown_with_its_names_issuer_and_expiry() -> None:
    with MailServer(tls="tls") as server:
        found = steps(server)

    tls = found[2]
    assert tls.name == "TLS"
    text = " | ".join(tls.findings)
    assert "TLSv1.3" in text
    assert "certificate for localhost" in text
    assert "issued by mailbackends tests" in text
    assert "good until" in text
    # The tests' certificates are good for a day.
    assert any("expires in" in warning for warning in tls.warnings)


@pytest.mark.parametrize(
    ("failing", "options", "words"),
    [
        ("STARTTLS", {"ssl_cafile": certs.untrusted_cafile}, "ssl_cafile"),
        ("login", {"password": "wrong"}, "check username and password"),
        ("resolve", {"host": "nowhere.invalid"}, "the name does not resolve"),
    ],
)
def test_the_first_step_that_fails_is_the_last_and_suggests_a_fix(
    failing: str, options: dict[str, object], words: str
) -> None:
    made = {name: value() if callable(value) else value for name, value in options.items()}
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        found = steps(server, **{"username": "user", "password": "secret"} | made)

    assert found[-1].name == failing
    assert not found[-1].is_ok
    assert words in str(found[-1].error)
    assert all(step.is_ok for step in found[:-1])


def test_no_step_contains_a_secret() -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        found = steps(server, username="user", password="hunter2")
    assert "hunter2" not in repr(found)


def test_a_closed_port_fails_the_step_connect() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        found = list(diagnose(Options(host="127.0.0.1", port=port)))
    assert [step.name for step in found] == ["resolve", "connect"]
    assert "nothing listens there" in str(found[-1].error)


def test_an_expired_certificate_is_reported() -> None:
    with MailServer(tls="starttls", expired=True) as server:
        found = steps(server)
    assert "expired" in str(found[-1].error)


def test_an_offer_of_tls_that_is_not_used_is_a_warning() -> None:
    with MailServer(tls="starttls") as server:
        options = Options(host=server.host, port=server.port)
        found = list(diagnose(options))
    assert found[-1].warnings == (
        "the server offers TLS, and it is not used: set security='starttls'",
    )


def test_a_step_runs_only_when_the_iterator_is_advanced() -> None:
    with MailServer() as server:
        diagnosis = diagnose(Options(host=server.host, port=server.port))
        assert next(diagnosis).name == "resolve"
        diagnosis.close()  # type: ignore[attr-defined]
        assert server.connections == 0


@pytest.mark.parametrize("security", ["none", "starttls"])
def test_a_server_that_expects_tls_from_the_first_byte_is_recognised(security: str) -> None:
    with MailServer(tls="tls") as server:
        trust = {"ssl_cafile": server.cafile} if security == "starttls" else {}
        options = {"host": server.host, "port": server.port, "security": security, **trust}
        found = list(diagnose(Options.from_mapping(options)))
        assert server.connections == 2
    assert [step.name for step in found] == ["resolve", "connect", "greeting"]
    assert "expects TLS from the first byte" in str(found[-1].error)
    assert "set security='tls'" in str(found[-1].error)


def test_the_error_of_a_mailer_to_a_server_that_expects_tls_suggests_it() -> None:
    message = b"Subject: x\r\n\r\nx\r\n"
    with (
        MailServer(tls="tls") as server,
        Mailer(host=server.host, port=server.port, timeout=0.3) as mailer,
        pytest.raises(SMTPTimeoutError, match="on port 465, set security='tls'") as caught,
    ):
        mailer.send_message(message, "a@example.com", "b@example.com")
    assert str(caught.value.outcome) == "not_sent"


def test_a_silent_server_without_tls_is_not_taken_for_one_with_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = Options(host="127.0.0.1", port=silent.getsockname()[1], timeout=0.2)
        error = str(list(diagnose(options))[-1].error)
    assert "SMTPTimeoutError" in error
    assert "there was no greeting" in error


@pytest.mark.parametrize(
    ("tls", "security", "login", "step", "words"),
    [
        ("none", "starttls", None, "STARTTLS", ["it offers", "8BITMIME", "port 465"]),
        ("starttls", "none", ("user", "secret"), "login", ["set security='starttls'"]),
        (
            "none",
            "none",
            None,
            "login",
            ["it offers", "8BITMIME", "leave out username and password"],
        ),
    ],
)
def test_a_missing_extension_is_explained_by_what_the_server_offers(
    tls: Literal["none", "starttls"],
    security: str,
    login: tuple[str, str] | None,
    step: str,
    words: list[str],
) -> None:
    with LoopbackServer(tls=tls, login=login) as server:
        options: dict[str, object] = {"host": server.host, "port": server.port}
        options["security"] = security
        if step == "login":
            options |= {"username": "user", "password": "secret", "allow_cleartext_auth": True}
        found = list(diagnose(Options.from_mapping(options)))
    assert found[-1].name == step
    for word in words:
        assert word in str(found[-1].error)


def test_a_server_that_requires_a_login_is_explained() -> None:
    with LoopbackServer(login=("user", "secret")) as server:
        options = Options(host=server.host, port=server.port)
        found = list(diagnose(options, probe_to="a@example.com"))
    assert "530 5.7.0" in str(found[-1].error)
    assert "set username and password" in str(found[-1].error)


def test_the_chain_is_shown_up_to_the_root() -> None:
    with MailServer(tls="starttls") as server:
        found = steps(server)
    text = " | ".join(found[-1].findings)
    assert "chain: mailbackends tests (trusted), until " in text


def test_a_probe_asks_for_sender_and_recipient_and_sends_nothing() -> None:
    with MailServer() as server:
        options = Options(host=server.host, port=server.port)
        found = list(diagnose(options, probe_from="a@example.com", probe_to="b@example.com"))
        assert found[-1].name == "probe"
        assert found[-1].is_ok
        assert "recipient <b@example.com>: 250 2.1.5 Ok" in found[-1].findings
        server.wait(lambda: server.open_connections == 0)
        assert [line.split()[0] for line in server.commands[0]] == [
            "EHLO", "MAIL", "RCPT", "RSET", "QUIT",
        ]  # fmt: skip
        assert server.messages == []


def test_a_probe_with_a_sender_alone_names_no_recipient() -> None:
    with MailServer() as server:
        options = Options(host=server.host, port=server.port)
        assert list(diagnose(options, probe_from="a@example.com"))[-1].is_ok
        server.wait(lambda: server.open_connections == 0)
        assert [line.split()[0] for line in server.commands[0]] == ["EHLO", "MAIL", "RSET", "QUIT"]


def test_a_refused_recipient_of_the_probe_is_reported_with_a_fix() -> None:
    with MailServer() as server:
        server.refuse("b@example.com", "550 5.7.1 Relaying denied")
        options = Options(host=server.host, port=server.port)
        found = list(diagnose(options, probe_to="b@example.com"))
    assert "550 5.7.1 Relaying denied" in str(found[-1].error)
    assert "<b@example.com> is refused: log in" in str(found[-1].error)
