"""Real deliveries: Flask views, sockets, TLS and a login."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify
from flask.testing import FlaskClient

import mailbackends
from flask_integration import Mail, Message
from support import certs
from support.server import MailServer

from .conftest import MakeApp, settings_for


def shop(app: Flask) -> FlaskClient:
    """A view that sends a mail, with an extension made for a factory."""
    mail = Mail()
    mail.init_app(app)

    @app.post("/order/<int:number>")
    def order(number: int) -> Any:
        receipt = mail.send(
            Message(f"Order {number}", ["Ada <ada@example.com>"], body="Thank you.")
        )
        return jsonify(accepted=receipt.accepted, reply=str(receipt.reply))

    return app.test_client()


def test_ten_requests_send_ten_mails_over_one_connection_with_tls_and_login(
    make_app: MakeApp, secure_server: MailServer, secure_settings: dict[str, Any]
) -> None:
    client = shop(make_app(**secure_settings))
    for number in range(10):
        response = client.post(f"/order/{number}")
        assert response.json is not None
        assert response.json["accepted"] == ["ada@example.com"]
    assert secure_server.connections == 1
    assert [m.message["Subject"] for m in secure_server.messages] == [
        f"Order {number}" for number in range(10)
    ]
    assert {m.user for m in secure_server.messages} == {"user"}
    assert all(m.is_tls for m in secure_server.messages)
    assert secure_server.messages[0].mail_from == "shop@example.com"


def test_threads_use_at_most_as_many_connections_as_the_pool_has(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    app = make_app(**settings, MAIL_POOL_SIZE=2)
    client = shop(app)
    threads = [
        threading.Thread(target=client.application.test_client().post, args=[f"/order/{n}"])
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mail_server.messages) == 12
    assert mail_server.connections <= 2


def test_two_applications_have_their_own_configuration_and_connections(make_app: MakeApp) -> None:
    mail = Mail()
    with MailServer() as one, MailServer() as two:
        apps = [make_app(**settings_for(server)) for server in (one, two)]
        for app in apps:
            mail.init_app(app)
        for app in apps * 3:
            with app.app_context():
                mail.send_message("Hello", ["ada@example.com"], body="Hi")
        assert (len(one.messages), one.connections) == (3, 1)
        assert (len(two.messages), two.connections) == (3, 1)
        for app in apps:
            app.extensions["mail"].close()


def test_implicit_tls_works(make_app: MakeApp) -> None:
    with MailServer(tls="tls", login=("user", "secret"), require_login=True) as server:
        mail = Mail(make_app(**settings_for(server)))
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
        mail.close()
    assert server.message.is_tls
    assert server.message.user == "user"


def test_an_untrusted_certificate_stops_the_mail(
    make_app: MakeApp, secure_server: MailServer, secure_settings: dict[str, Any]
) -> None:
    secure_settings["MAIL_SSL_CAFILE"] = certs.untrusted_cafile()
    mail = Mail(make_app(**secure_settings))
    with pytest.raises(mailbackends.SMTPCertificateError) as caught:
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert caught.value.outcome is mailbackends.Outcome.NOT_SENT
    assert secure_server.messages == []
    assert not any(line.startswith("AUTH") for lines in secure_server.commands for line in lines)


def test_a_wrong_password_is_reported_without_showing_it(
    make_app: MakeApp, secure_settings: dict[str, Any]
) -> None:
    secure_settings["MAIL_PASSWORD"] = "hunter2-wrong"
    mail = Mail(make_app(**secure_settings))
    with pytest.raises(mailbackends.SMTPAuthenticationError) as caught:
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert "hunter2-wrong" not in f"{caught.value!s} {caught.value!r}"


def test_a_refused_recipient_is_in_the_receipt(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.refuse("bob@example.com")
    mail = Mail(make_app(**settings))
    receipt = mail.send_message(
        "Hello", ["ada@example.com", "bob@example.com", "eve@example.com"], body="Hi"
    )
    assert receipt.accepted == ("ada@example.com", "eve@example.com")
    assert {to: reply.code for to, reply in receipt.refused.items()} == {"bob@example.com": 550}


def test_recipients_are_unique_and_in_the_order_given(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    to = [f"{name}@example.com" for name in "zyxwvutsrqponmlkji"]
    mail.send_message(
        "Hello",
        ["First <a@example.com>", *to],
        cc=[("C", "c@example.com"), "a@example.com"],
        bcc=["b@example.com"],
        body="Hi",
    )
    received = mail_server.message
    assert received.rcpt_tos == ("a@example.com", *to, "c@example.com", "b@example.com")
    assert [a.addr_spec for a in received.message["To"].addresses] == ["a@example.com", *to]
    assert "b@example.com" not in received.content.decode()


def test_no_address_of_a_comma_separated_string_is_lost(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    mail.send_message("Hello", ['"Doe, Jo" <jo@example.com>, ada@example.com'], body="Hi")
    assert mail_server.message.rcpt_tos == ("jo@example.com", "ada@example.com")
    assert len(mail_server.message.message["To"].addresses) == 2


def test_a_failing_quit_does_not_make_sent_mail_look_failed(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.answer("QUIT", "421 4.3.0 out of order", times=None)
    mail = Mail(make_app(**settings))
    with mail.connect() as connection:
        receipt = connection.send_message("Hello", ["ada@example.com"], body="Hi")
    mail.close()
    assert receipt.accepted == ("ada@example.com",)
    assert len(mail_server.messages) == 1


def test_an_idle_connection_that_the_server_closed_is_replaced(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail(make_app(**settings))
    mail.send_message("One", ["ada@example.com"], body="Hi")
    mail_server.close_connections(b"421 4.4.2 idle\r\n")
    mail.send_message("Two", ["ada@example.com"], body="Hi")
    assert [m.message["Subject"] for m in mail_server.messages] == ["One", "Two"]


def test_a_connection_lost_after_the_content_is_unknown_and_sent_once(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail_server.hang_up("content")
    mail = Mail(make_app(**settings))
    with pytest.raises(mailbackends.SMTPDeliveryUnknown) as caught:
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
    assert caught.value.outcome is mailbackends.Outcome.UNKNOWN
    assert mail_server.connections == 1


def test_with_several_servers_a_message_goes_to_the_one_that_accepts_it(
    make_app: MakeApp, mail_server: MailServer
) -> None:
    with MailServer() as busy:
        busy.refuse("ada@example.com", "451 4.3.2 not now")
        mail = Mail(make_app(MAIL_URL=[busy.url, mail_server.url]))
        mail.send_message("Hello", ["ada@example.com"], body="Hi")
        mail.close()
    assert (len(busy.messages), len(mail_server.messages)) == (0, 1)


def test_a_forked_worker_does_not_use_its_parents_connection(
    mail_server: MailServer,
) -> None:
    script = f"""
import os
from flask import Flask
from flask_integration import Mail

app = Flask("preloaded")
app.config.update(MAIL_URL={mail_server.url!r}, MAIL_DEFAULT_SENDER="shop@example.com")
mail = Mail(app)
mail.send_message("parent 1", ["ada@example.com"], body="Hi")
child = os.fork()
mail.send_message("parent 2" if child else "child 1", ["ada@example.com"], body="Hi")
if child:
    assert os.waitpid(child, 0)[1] == 0
mail.send_message("parent 3" if child else "child 2", ["ada@example.com"], body="Hi")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)  # noqa: S603
    by_connection: dict[int, list[str]] = {0: [], 1: []}
    for received in mail_server.messages:
        by_connection[received.connection].append(str(received.message["Subject"]))
    assert by_connection == {0: ["parent 1", "parent 2", "parent 3"], 1: ["child 1", "child 2"]}
    mail_server.wait(lambda: mail_server.open_connections == 0)
    assert [lines[-1] for lines in mail_server.commands] == ["QUIT", "QUIT"]


def test_a_worker_thread_sends_in_an_application_context(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any]
) -> None:
    mail = Mail()
    mail.init_app(app := make_app(**settings))
    failures: list[Exception] = []

    def work(*, with_context: bool) -> None:
        try:
            with app.app_context() if with_context else nullcontext():
                mail.send_message("Hello", ["ada@example.com"], body="Hi")
        except Exception as error:
            failures.append(error)

    for with_context in (True, False):
        thread = threading.Thread(target=work, kwargs={"with_context": with_context})
        thread.start()
        thread.join()
    assert len(mail_server.messages) == 1
    assert len(failures) == 1
    assert "app.app_context()" in str(failures[0])


def test_a_large_file_is_sent_without_being_read_into_memory(
    mail_server: MailServer, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * (8 * 4096))  # 8 MiB
    # In another process, for the server here has it all in memory.
    script = f"""
import tracemalloc
from flask import Flask
from flask_integration import Mail, Message

app = Flask("large")
app.config.update(MAIL_URL={mail_server.url!r}, MAIL_DEFAULT_SENDER="shop@example.com")
mail = Mail(app)
mail.send_message("Warm", ["ada@example.com"], body="Hi")
message = Message("Large", ["ada@example.com"], body="Hi")
message.attach_path({str(path)!r})
tracemalloc.start()
mail.send(message)
assert tracemalloc.get_traced_memory()[1] < 2**20, tracemalloc.get_traced_memory()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)  # noqa: S603
    part = next(mail_server.messages[1].message.iter_attachments())
    assert part.get_content() == path.read_bytes()
