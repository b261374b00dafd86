"""`mailbackends.diagnose`: each step to a real server, and what it says where one fails."""

from __future__ import annotations

import socket

import pytest

from mailbackends import Options, Step, diagnose
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
        ("login", {"password": "wrong"}, "check user name and password"),
        ("resolve", {"host": "nowhere.invalid"}, "the name does not resolve"),
    ],
)
def test_the_first_step_that_fails_is_the_last_and_says_the_mend(
    failing: str, options: dict[str, object], words: str
) -> None:
    made = {name: value() if callable(value) else value for name, value in options.items()}
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        found = steps(server, **{"username": "user", "password": "secret"} | made)

    assert found[-1].name == failing
    assert not found[-1].is_ok
    assert words in str(found[-1].error)
    assert all(step.is_ok for step in found[:-1])


def test_a_secret_stands_nowhere_in_what_is_said() -> None:
    with MailServer(tls="starttls", login=("user", "secret")) as server:
        found = steps(server, username="user", password="hunter2")
    assert "hunter2" not in repr(found)


def test_a_port_where_nobody_listens_fails_to_connect() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        found = list(diagnose(Options(host="127.0.0.1", port=port)))
    assert [step.name for step in found] == ["resolve", "connect"]
    assert "nobody listens there" in str(found[-1].error)


def test_an_expired_certificate_is_named_as_such() -> None:
    with MailServer(tls="starttls", expired=True) as server:
        found = steps(server)
    assert "expired" in str(found[-1].error)


def test_tls_that_is_offered_and_not_used_is_a_warning() -> None:
    with MailServer(tls="starttls") as server:
        options = Options(host=server.host, port=server.port)
        found = list(diagnose(options))
    assert found[-1].warnings == ("the server offers TLS, and it is not used: set STARTTLS",)


def test_no_step_is_made_before_it_is_asked_for() -> None:
    with MailServer() as server:
        visit = diagnose(Options(host=server.host, port=server.port))
        assert next(visit).name == "resolve"
        visit.close()  # type: ignore[attr-defined]
        assert server.connections == 0


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


def test_a_recipient_whom_the_probe_finds_refused_is_named_with_the_mend() -> None:
    with MailServer() as server:
        server.refuse("b@example.com", "550 5.7.1 Relaying denied")
        options = Options(host=server.host, port=server.port)
        found = list(diagnose(options, probe_to="b@example.com"))
    assert "550 5.7.1 Relaying denied" in str(found[-1].error)
    assert "<b@example.com> is not taken: log in" in str(found[-1].error)
