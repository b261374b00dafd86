"""A private CA, a client certificate, a context and a minimum version, with real servers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from django.core.mail import EmailMessage, send_mail

from django_integration import EmailBackend
from django_integration.compat import backend_for
from mailbackends import SMTPException, SMTPTLSError
from support.server import MailServer

Use = Callable[..., None]


@contextmanager
def serving(tls: Any, change: Callable[[ssl.SSLContext, trustme.CA], None]) -> Iterator[Any]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    change(context, authority)
    server = MailServer(tls=tls)
    server._context = context
    with server:
        yield server, authority


def options(server: MailServer, tmp_path: Path, authority: trustme.CA) -> dict[str, Any]:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    kind = {"use_tls": True} if server.tls == "starttls" else {"use_ssl": True}
    return {"host": server.host, "port": server.port, "ssl_cafile": str(path), **kind}


def send() -> int:
    return send_mail("s", "b", None, ["a@example.com"])


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_client_certificate_is_sent_to_a_server_that_asks_for_it(
    tls: str, use_mail: Use, tmp_path: Path
) -> None:
    def want_certificate(context: ssl.SSLContext, authority: trustme.CA) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = (
            ssl.TLSVersion.TLSv1_2
        )  # in which a refused client certificate fails the handshake
        authority.configure_trust(context)

    with serving(tls, want_certificate) as (server, authority):
        given = options(server, tmp_path, authority)
        use_mail(**given)
        with pytest.raises(SMTPException):
            send()
        certificate = authority.issue_cert("client@example.com")
        key, chain = tmp_path / "client.key", tmp_path / "client.pem"
        certificate.private_key_pem.write_to_path(key)
        certificate.cert_chain_pems[0].write_to_path(chain)
        use_mail(**given, ssl_certfile=str(chain), ssl_keyfile=str(key))
        assert send() == send() == 1
        assert len(server.messages) == 2


def test_a_client_certificate_without_tls_is_ignored_as_in_django(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, ssl_certfile="no.pem", ssl_keyfile="no.key")
    assert (backend_for().ssl_certfile, backend_for().ssl_keyfile) == ("no.pem", "no.key")
    assert send() == 1


def test_the_ssl_context_of_a_subclass_is_not_read_without_tls(
    use_mail: Use, server: MailServer
) -> None:
    class WithContext(EmailBackend):
        @property
        def ssl_context(self) -> ssl.SSLContext:
            raise AssertionError("asked for")

    use_mail(host=server.host, port=server.port)
    backend = backend_for()
    backend.__class__ = WithContext
    assert backend.send_messages([EmailMessage("s", "b", to=["a@example.com"])]) == 1


def test_a_server_below_the_minimum_version_is_refused(use_mail: Use, tmp_path: Path) -> None:
    def be_old(context: ssl.SSLContext, authority: trustme.CA) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    with serving("starttls", be_old) as (server, authority):
        given = options(server, tmp_path, authority)
        use_mail(**given, tls_minimum_version="TLSv1.3")
        with pytest.raises(SMTPTLSError):
            send()
        use_mail(**given)
        assert send() == 1


def test_a_context_in_the_settings_is_used_for_all_messages(use_mail: Use, tmp_path: Path) -> None:
    with serving("starttls", lambda context, authority: None) as (server, authority):
        given = options(server, tmp_path, authority)
        context = ssl.create_default_context(cafile=given.pop("ssl_cafile"))
        use_mail(**given, ssl_context=context)
        assert send() == send() == 1
        assert server.connections == 1
        assert backend_for().ssl_context is context


@pytest.mark.parametrize(
    ("options", "setting"),
    [({"use_tls": True}, "use_ssl"), ({"username": "user", "password": "secret"}, "use_tls")],
)
def test_a_hint_about_tls_names_the_settings_of_django(
    use_mail: Use, options: dict[str, Any], setting: str
) -> None:
    """The first server has no STARTTLS, and the second logs in only after it."""
    tls = "starttls" if setting == "use_tls" else None
    with MailServer(tls=tls, login=("user", "secret")) as server:  # type: ignore[arg-type]
        use_mail(host=server.host, port=server.port, **options)
        message = EmailMessage("s", "b", to=["a@example.com"])
        with pytest.raises(SMTPException) as caught:
            message.send()
        with pytest.raises(SMTPException) as opened:
            backend_for().open()
    for error in (caught.value, opened.value, message.send_error):  # type: ignore[attr-defined]
        assert setting in str(error).lower()
        assert "security=" not in str(error)


def test_a_server_that_takes_mail_only_under_tls_is_explained(use_mail: Use) -> None:
    with MailServer() as server:
        server.answer("MAIL", "530 5.7.0 Must issue a STARTTLS command first")
        use_mail(host=server.host, port=server.port)
        with pytest.raises(SMTPException) as caught:
            EmailMessage("s", "b", to=["a@example.com"]).send()
    assert "the server requires TLS: set " in str(caught.value)
    assert any(name in str(caught.value) for name in ("EMAIL_USE_TLS = ", "OPTIONS['use_tls'] = "))
