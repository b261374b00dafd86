"""`LoopbackServer` and the fixtures: a real server that fails on request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from email.message import EmailMessage

import pytest

pytest.importorskip("aiosmtpd")

from mailbackends import (
    AsyncMailer,
    Mailer,
    Outcome,
    SMTPAuthenticationError,
    SMTPCertificateError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPSenderRefused,
)
from mailbackends.testing.server import LoopbackServer


def message(to: str = "ada@example.com") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "shop@example.com", to, "Your order"
    made.set_content("On its way.\n")
    return made


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_its_url_contains_tls_and_login(tls: str) -> None:
    if tls != "none":
        pytest.importorskip("trustme")
    login = ("user@example.com", "a:b/c?")
    with (
        LoopbackServer(tls=tls, login=login) as server,  # type: ignore[arg-type]
        Mailer(server.url) as mailer,
    ):
        mailer.send_message(message())
        mailer.send_message(message())
    assert [m.user for m in server.messages] == [login[0]] * 2
    assert all(m.is_tls == (tls != "none") for m in server.messages)
    assert server.connections == 1


def test_it_accepts_no_message_without_a_login() -> None:
    with LoopbackServer(login=("user", "secret")) as server:
        stranger = Mailer(host=server.host, port=server.port)
        with stranger, pytest.raises(SMTPSenderRefused):
            stranger.send_message(message())
        impostor = Mailer(**{**server.options, "password": "wrong"})
        with impostor, pytest.raises(SMTPAuthenticationError):
            impostor.send_message(message())
        server.assert_nothing_sent()


@pytest.mark.parametrize("at", ["EHLO", "MAIL", "RCPT", "DATA", "content"])
def test_fail_next_fails_one_command_at_the_given_step(at: str) -> None:
    with LoopbackServer() as server, Mailer(server.url) as mailer:
        server.fail_next("450 4.2.0 Not now", at=at)  # type: ignore[arg-type]
        if at == "EHLO":  # the client falls back to HELO
            mailer.send_message(message())
            return
        with pytest.raises(SMTPException) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.REFUSED
        assert caught.value.is_transient
        mailer.send_message(message())
        assert len(server.messages) == 1


def test_fail_next_fails_the_given_number_of_times() -> None:
    with LoopbackServer() as server, Mailer(server.url) as mailer:
        server.fail_next("554 5.6.0 Not this", times=2)
        for _ in range(2):
            with pytest.raises(SMTPDataError):
                mailer.send_message(message())
        mailer.send_message(message())
        server.fail_next()
        server.clear()
        mailer.send_message(message())
        assert len(server.messages) == 1


@pytest.mark.parametrize("tls", ["none", "starttls"])
def test_a_connection_dropped_after_the_content_leaves_the_outcome_unknown(tls: str) -> None:
    if tls != "none":
        pytest.importorskip("trustme")
    with (
        LoopbackServer(tls=tls) as server,  # type: ignore[arg-type]
        Mailer(server.url) as mailer,
    ):
        server.fail_next(None)
        with pytest.raises(SMTPDeliveryUnknown):
            mailer.send_message(message())
        mailer.send_message(message())
        assert len(server.messages) == 1


def test_an_unknown_step_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at must be one of 'EHLO', .* got 'BODY'"):
        LoopbackServer().fail_next(at="BODY")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"tls must be one of .* got 'ssl'"):
        LoopbackServer(tls="ssl")  # type: ignore[arg-type]


def loaded(code: str) -> set[str]:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_the_plugin_imports_nothing_unless_a_fixture_is_used() -> None:
    more = loaded("import mailbackends.testing.plugin") - loaded("import pytest")
    assert more == {"mailbackends", "mailbackends.testing", "mailbackends.testing.plugin"}


def test_a_failed_handshake_does_not_harm_the_server() -> None:
    pytest.importorskip("trustme")
    with LoopbackServer(tls="starttls") as server:
        stranger = Mailer(host=server.host, port=server.port, security="starttls")
        with stranger, pytest.raises(SMTPCertificateError, match="ssl_cafile"):
            stranger.send_message(message())
        with Mailer(server.url) as mailer:
            mailer.send_message(message())


def test_the_fixture_for_event_loops_sends_in_the_loop_of_the_test(
    smtp_server: LoopbackServer, async_smtp_mailer: AsyncMailer
) -> None:
    for _ in range(2):
        assert asyncio.run(async_smtp_mailer.send_message(message())).accepted
    assert len(smtp_server.messages) == 2
