"""Views that send mail: the pool outlives the backend that Django makes for each message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail as django_mail
from django.core.mail import EmailMultiAlternatives, send_mail, send_mass_mail
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from django_integration import EmailBackend
from django_integration.registry import registry
from support.server import MailServer

Use = Callable[..., None]
Options = Callable[[MailServer], dict[str, Any]]


def order(request: HttpRequest) -> HttpResponse:
    sent = send_mail("Your order", "It is on its way.", None, ["ada@example.com"])
    return HttpResponse(str(sent))


@pytest.fixture
def client(use_settings: Use) -> Client:
    use_settings(ROOT_URLCONF=(path("order/", order),))
    return Client()


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_ten_mails_from_ten_requests_open_one_connection(
    tls: Any, client: Client, use_mail: Use, secure_options: Options
) -> None:
    login = None if tls == "none" else ("user", "secret")
    with MailServer(tls=tls, login=login, require_login=login is not None) as server:
        options = {"host": server.host, "port": server.port}
        use_mail(**(options if tls == "none" else secure_options(server)))

        for _ in range(10):
            assert client.post("/order/").content == b"1"

        assert len(server.messages) == 10
        assert server.connections == 1
        assert all(received.is_tls is (tls != "none") for received in server.messages)


def test_threads_share_the_pool_and_its_size_limit(mail: MailServer, client: Client) -> None:
    gate = threading.Barrier(12)

    def work() -> None:
        gate.wait(10)
        Client().post("/order/")

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(mail.messages) == 12
    assert mail.connections <= 4


def test_all_of_djangos_functions_go_through_the_pool(mail: MailServer, use_settings: Use) -> None:
    people = ["op@example.com"] if django_mail_takes_strings() else [("Op", "op@example.com")]
    use_settings(ADMINS=people, MANAGERS=people)

    assert send_mail("s", "b", None, ["a@example.com"], html_message="<b>b</b>") == 1
    assert send_mass_mail([("s", "b", None, ["b@example.com"])] * 2) == 2
    django_mail.mail_admins("s", "b")
    django_mail.mail_managers("s", "b", html_message="<b>b</b>")

    assert len(mail.messages) == 5
    assert mail.connections == 1
    assert mail.messages[0].message.get_content_type() == "multipart/alternative"


def django_mail_takes_strings() -> bool:
    import django

    return django.VERSION >= (6, 0)


def test_all_parts_of_a_message_arrive(mail: MailServer) -> None:
    message = EmailMultiAlternatives(
        "Grüße",
        "Der Text.\n.\n..\nFrom here\n",
        "Der Laden <shop@example.com>",
        ["Ada <ada@example.com>"],
        cc=["cc@example.com"],
        bcc=["bcc@example.com"],
        reply_to=["service@example.com"],
        headers={"X-Order": "7"},
        attachments=[("invoice.pdf", b"%PDF-1.4\n\x00\xff", "application/pdf")],
    )
    message.attach_alternative("<p>Der Text.</p>", "text/html")
    assert message.send() == 1

    received = mail.message
    assert received.mail_from == "shop@example.com"
    assert received.rcpt_tos == ("ada@example.com", "cc@example.com", "bcc@example.com")
    found = received.message
    assert found["Subject"] == "Grüße"
    assert (found["To"], found["Cc"]) == ("Ada <ada@example.com>", "cc@example.com")
    assert (found["Reply-To"], found["X-Order"]) == ("service@example.com", "7")
    assert b"bcc@example.com" not in received.content
    text = found.get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines() == ["Der Text.", ".", "..", "From here"]
    [pdf] = [part for part in found.walk() if part.get_filename() == "invoice.pdf"]
    assert pdf.get_payload(decode=True) == b"%PDF-1.4\n\x00\xff"


def test_the_message_has_the_receipt(mail: MailServer) -> None:
    message = EmailMultiAlternatives("s", "b", None, ["a@example.com"])
    message.send()
    received = mail.message

    assert message.receipt.accepted == ("a@example.com",)  # type: ignore[attr-defined]
    assert message.receipt.message_id == received.message["Message-ID"]  # type: ignore[attr-defined]
    assert message.send_error is None  # type: ignore[attr-defined]


def test_a_server_given_for_one_call_has_its_own_pool(mail: MailServer) -> None:
    with MailServer(login=("tenant", "word")) as other:
        for _ in range(2):
            send_mail("s", "b", None, ["a@example.com"])
            backend = (
                EmailBackend(
                    alias="tenant",
                    host=other.host,
                    port=other.port,
                    username="tenant",
                    password="word",
                )
                if hasattr(django_mail, "mailers")
                else EmailBackend(
                    host=other.host, port=other.port, username="tenant", password="word"
                )
            )
            message = EmailMultiAlternatives("s", "b", None, ["a@example.com"])
            assert backend.send_messages([message]) == 1

        assert (mail.connections, other.connections) == (1, 1)
        assert {received.user for received in other.messages} == {"tenant"}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_credentials_given_for_one_call_have_their_own_pool(use_mail: Use) -> None:
    """Django 6.1 warns about these functions, which still work."""
    with MailServer(login=("tenant", "word")) as server:
        use_mail(host=server.host, port=server.port)
        for _ in range(3):
            send_mail("s", "b", None, ["a@example.com"])
            send_mail("s", "b", None, ["a@example.com"], auth_user="tenant", auth_password="word")
            connection = django_mail.get_connection(username="tenant", password="word")
            message = EmailMultiAlternatives("s", "b", None, ["a@example.com"])
            assert connection.send_messages([message]) == 1

        assert server.connections == 2
        assert [received.user for received in server.messages] == [None, "tenant", "tenant"] * 3
        assert len(registry.stats()) == 2


def test_a_view_that_fails_is_reported_to_the_admins_through_the_pool(
    mail: MailServer, use_settings: Use
) -> None:
    def fail(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("a bug in a view")

    use_settings(
        ADMINS=["op@example.com"] if django_mail_takes_strings() else [("Op", "op@example.com")],
        ROOT_URLCONF=(path("fail/", fail), path("order/", order)),
    )
    # Django's own LOGGING has AdminEmailHandler on "django", outside debug mode.
    client = Client(raise_request_exception=False)
    for _ in range(2):
        assert client.get("/fail/").status_code == 500
        client.post("/order/")
    assert [received.rcpt_tos[0] for received in mail.messages[:2]] == [
        "op@example.com",
        "ada@example.com",
    ]
    assert "a bug in a view" in mail.messages[0].content.decode()
    assert mail.connections == 1


def test_changed_settings_close_the_pools(mail: MailServer, use_mail: Use) -> None:
    send_mail("s", "b", None, ["a@example.com"])
    with MailServer() as other:
        use_mail(host=other.host, port=other.port)
        mail.wait(lambda: mail.open_connections == 0)  # the old pool was closed
        send_mail("s", "b", None, ["a@example.com"])
        assert len(mail.messages) == len(other.messages) == 1
        assert len(registry.stats()) == 1
        registry.close()


def test_the_outbox_still_works(use_mail: Use) -> None:
    use_mail(backend="django.core.mail.backends.locmem.EmailBackend")
    django_mail.outbox = []
    message = EmailMultiAlternatives("s", "b", None, ["a@example.com"])
    from django_integration import attach_inline_image, receipt_of

    attach_inline_image(message, b"\x89PNG", mimetype="image/png", filename="x.png")

    assert message.send() == 1
    assert [sent.to for sent in django_mail.outbox] == [["a@example.com"]]
    assert receipt_of(message) is None
