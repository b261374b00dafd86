"""Code written for Django's own SMTP backend works with this one."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.core.mail import EmailMessage

from django_integration import EmailBackend
from django_integration.compat import backend_for
from mailbackends import InvalidAddressError
from support.server import MailServer

Use = Callable[..., None]


def message(*to: str) -> EmailMessage:
    return EmailMessage("Subject", "Body\n.\n", to=list(to or ("a@example.com",)))


def test_open_returns_true_only_if_the_backend_was_closed(mail: MailServer) -> None:
    backend = backend_for()
    assert backend.connection is None
    assert backend.open() is True
    assert backend.connection is not None
    assert backend.open() is False
    backend.close()
    assert backend.connection is None
    assert backend.open() is True  # also where the pool has a connection already
    backend.close()
    assert mail.connections == 1


def test_close_without_open_does_nothing_to_the_pool(mail: MailServer) -> None:
    backend = backend_for()
    backend.close()
    with backend as opened:
        assert opened is backend
        assert backend.send_messages([message()]) == 1
    assert backend.connection is None
    assert backend_for().send_messages([message()]) == 1
    assert (mail.connections, mail.open_connections) == (1, 1)


def test_a_backend_that_is_never_closed_blocks_no_others(use_mail: Use, server: MailServer) -> None:
    use_mail(host=server.host, port=server.port, pool_size=1, pool_timeout=5)
    backends = [backend_for() for _ in range(3)]
    for backend in backends:
        backend.open()
    assert backend_for().send_messages([message()]) == 1
    assert server.connections == 1


def test_open_raises_the_same_as_the_first_message(use_mail: Use) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use_mail(host="127.0.0.1", port=closed.getsockname()[1])
        backend = backend_for()
        with pytest.raises(ConnectionError):
            backend.open()
        assert backend.connection is None
        backend.fail_silently = True
        assert backend.open() is None
        assert backend.connection is None
        assert backend.send_messages([message()]) == 0
        backend.close()


def test_a_server_without_starttls_is_refused_in_smtplibs_words(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, use_tls=True)
    backend = backend_for()
    with pytest.raises(smtplib.SMTPException, match="STARTTLS extension not supported by server"):
        backend.open()
    assert backend.connection is None


def test_a_server_without_login_is_refused_in_smtplibs_words(
    use_mail: Use, server: MailServer
) -> None:
    use_mail(host=server.host, port=server.port, username="user", password="secret")
    with pytest.raises(smtplib.SMTPException, match="SMTP AUTH extension not supported by server"):
        backend_for().open()


def test_tls_to_a_server_without_tls_is_an_ssl_error(use_mail: Use, server: MailServer) -> None:
    use_mail(host=server.host, port=server.port, use_ssl=True, timeout=3)
    with pytest.raises(ssl.SSLError):
        backend_for().open()


def test_the_timeout_is_that_of_the_connection(mail: MailServer) -> None:
    backend = backend_for()
    backend.timeout = 42
    with backend:
        assert backend.connection.timeout == 42


def test_open_keeps_an_existing_connection(mail: MailServer) -> None:
    backend = backend_for()
    backend.connection = mock.Mock(spec=object())
    assert backend.open() is False


def test_nothing_is_sent_after_open_failed_silently(mail: MailServer) -> None:
    backend = backend_for()
    backend.open = lambda: None
    assert backend.send_messages([message()]) == 0
    assert mail.connections == 0


def test_messages_go_through_a_third_party_connection(mail: MailServer) -> None:
    backend = backend_for()
    backend.connection = mock.Mock()
    backend.connection.sendmail.return_value = {"b@example.com": (550, b"no")}
    sent = message("a@example.com", "b@example.com")

    assert backend.send_messages([sent]) == 1

    from_addr, to_addrs, content = backend.connection.sendmail.call_args.args
    assert (from_addr, to_addrs) == ("shop@example.com", ["a@example.com", "b@example.com"])
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    assert sent.receipt.accepted == ("a@example.com",)  # type: ignore[attr-defined]
    assert list(sent.receipt.refused) == ["b@example.com"]  # type: ignore[attr-defined]
    assert mail.connections == 0


def test_the_connection_has_smtplibs_sendmail(mail: MailServer) -> None:
    mail.refuse("b@example.com")
    with backend_for() as backend:
        refused = backend.connection.sendmail(
            "shop@example.com", ["a@example.com", "b@example.com"], "Subject: Hi\n\nBody\n"
        )
    assert refused == {"b@example.com": (550, b"5.1.1 No such user")}
    assert mail.message.content == b"Subject: Hi\r\n\r\nBody\r\n"


def test_a_replaced_sendmail_is_used(mail: MailServer) -> None:
    with backend_for() as backend, mock.patch.object(backend.connection, "sendmail") as sendmail:
        backend.send_messages([message()])
    sendmail.assert_called_once()
    assert mail.messages == []


def test_an_invisible_character_is_refused_also_with_a_third_party_connection(
    mail: MailServer,
) -> None:
    backend = backend_for()
    backend.connection = smtplib.SMTP(mail.host, mail.port)
    with pytest.raises(InvalidAddressError, match=r"U\+200B"):
        backend.send_messages([EmailMessage("s", "b", to=["x@\u200bexample.com"])])
    backend.close()
    assert mail.messages == []


def test_a_subclass_can_open_its_own_connection(mail: MailServer) -> None:
    class Own(EmailBackend):
        def open(self) -> bool | None:
            if self.connection:
                return False
            self.connection = smtplib.SMTP(self.host or "", self.port or 0, timeout=10)
            return True

    backend = as_subclass(Own, mail)
    assert backend.send_messages([message(), message()]) == 2
    mail.wait(lambda: mail.open_connections == 0)  # closed with QUIT, as Django's would be
    assert mail.connections == 1
    assert mail.commands[0][-1] == "QUIT"


def test_a_subclass_can_have_its_own_connection_class() -> None:
    class Traced(smtplib.SMTP):
        sent = 0

        def sendmail(self, *args: Any, **kwargs: Any) -> Any:
            type(self).sent += 1
            return super().sendmail(*args, **kwargs)

    class Own(EmailBackend):
        @property
        def connection_class(self) -> Any:
            return Traced

        @property
        def ssl_context(self) -> ssl.SSLContext:
            return ssl.create_default_context(cafile=server.cafile)

    with MailServer(tls="starttls", login=("user", "secret"), require_login=True) as server:
        backend = as_subclass(Own, server, username="user", password="secret", use_tls=True)
        assert backend.send_messages([message(), message()]) == 2
        assert Traced.sent == 2
        assert server.messages[0].user == "user"


def test_a_subclass_can_replace_the_sending_of_each_message(mail: MailServer) -> None:
    class Signing(EmailBackend):
        def _send(self, email_message: EmailMessage) -> bool:
            content = b"X-Signed: yes\r\n" + email_message.message().as_bytes()
            self.connection.sendmail(email_message.from_email, email_message.recipients(), content)
            return True

    backend = as_subclass(Signing, mail)
    assert backend.send_messages([message(), message()]) == 2
    assert mail.messages[1].message["X-Signed"] == "yes"
    assert mail.connections == 1


def test_a_subclass_can_extend_the_sending_of_each_message(mail: MailServer) -> None:
    class Counting(EmailBackend):
        count = 0

        def _send(self, email_message: EmailMessage) -> bool:
            type(self).count += 1
            return super()._send(email_message)

    assert as_subclass(Counting, mail).send_messages([message(), message()]) == 2
    assert Counting.count == 2
    assert mail.connections == 1


def test_a_subclass_can_have_its_own_tls_context() -> None:
    with MailServer(tls="starttls") as server:
        context = ssl.create_default_context(cafile=server.cafile)

        class Own(EmailBackend):
            ssl_context = context  # type: ignore[assignment]

        for _ in range(3):
            backend = as_subclass(Own, server, use_tls=True)
            assert backend.send_messages([message()]) == 1
        assert server.connections == 1


def as_subclass(backend_class: type[EmailBackend], server: MailServer, **options: Any) -> Any:
    """Made as Django makes it, for an alias or without."""
    import django

    given = {"host": server.host, "port": server.port} | options
    return backend_class(**given, **({"alias": "own"} if django.VERSION >= (6, 1) else {}))


def test_prep_address_is_djangos(mail: MailServer) -> None:
    backend = backend_for()
    assert backend.prep_address("Ada <ada@bücher.example>") == "ada@xn--bcher-kva.example"
    assert backend.prep_address("åh@åh.example", force_ascii=False) == "åh@åh.example"
    with pytest.raises(
        ValueError, match=r"non-ASCII characters before the @: write it as 'name@example\.com'"
    ):
        backend.prep_address("åh@example.dk")


def test_one_backend_can_be_used_by_many_threads(mail: MailServer) -> None:
    backend = backend_for()
    threads = [
        threading.Thread(target=backend.send_messages, args=([message()],)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mail.messages) == 8


@pytest.mark.parametrize("module", ["django_integration", "django_integration.backend"])
def test_the_backend_is_found_by_either_path(use_mail: Use, module: str) -> None:
    use_mail(backend=f"{module}.EmailBackend", host="h")
    assert isinstance(backend_for(), EmailBackend)
