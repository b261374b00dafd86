"""The Flask shop: its views over HTTP, its mails over TLS with a login."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from support.dkim import RSA, key_for, pem_of, records, verify
from support.ports import free_port
from support.server import MailServer

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def shop(secure_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The shop with its settings from the environment, as in production."""
    monkeypatch.syspath_prepend(EXAMPLES)
    assert secure_server.login
    for name, value in {
        "HOST": "localhost",
        "PORT": str(secure_server.port),
        "USER": secure_server.login[0],
        "PASSWORD": secure_server.login[1],
        "CAFILE": secure_server.cafile,
    }.items():
        monkeypatch.setenv(f"MAIL_DEMO_{name}", value)
    app: Flask = importlib.import_module("flask_shop").create_app()
    yield app
    app.extensions["mail"].close()


@pytest.fixture
def client(shop: Flask) -> FlaskClient:
    """A customer's browser."""
    return shop.test_client()


def post(client: FlaskClient, path: str, **fields: str) -> dict[str, Any]:
    answer = client.post(path, json=fields)
    assert answer.status_code < 300, answer.text
    assert isinstance(answer.json, dict)
    return answer.json


def test_an_order_is_confirmed_with_text_html_logo_and_invoice(
    client: FlaskClient, secure_server: MailServer
) -> None:
    answer = post(
        client, "/api/orders/", name="Lovelace, Ada", email="ada@example.com", quantity="2"
    )
    received = secure_server.message
    message = received.message
    assert answer["receipt"]["accepted"] == ["ada@example.com"]
    assert answer["receipt"]["message_id"] == message["Message-ID"]
    assert received.is_tls
    assert received.user == "user"
    assert message["To"].addresses[0].display_name == "Lovelace, Ada"
    assert message["Subject"] == f"Your order {answer['order']} at Leaf & Cup"
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    plain, html, logo, invoice = [p for p in message.walk() if not p.is_multipart()]
    assert "13.80 EUR" in plain.get_content()
    assert f'src="cid:{logo["Content-ID"].strip("<>")}"' in html.get_content()
    assert logo.get_content() == (EXAMPLES / "flask_shop/static/logo.png").read_bytes()
    assert invoice.get_filename() == f"invoice-{answer['order']}.pdf"
    assert invoice.get_content().startswith(b"%PDF-1.4")


def test_with_a_database_the_confirmation_is_stored_with_the_order_and_sent_once(
    secure_server: MailServer, monkeypatch: pytest.MonkeyPatch, shop: Flask, tmp_path: Path
) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="the extra outbox is not installed")
    orders: Any = importlib.import_module("flask_shop.orders")
    monkeypatch.setenv("SHOP_DATABASE", f"sqlite:///{tmp_path / 'shop.sqlite3'}")
    orders.database.cache_clear()
    app: Flask = importlib.import_module("flask_shop").create_app()
    run = app.test_cli_runner().invoke
    try:
        run(args=["mail", "outbox", "create-tables"])
        client = app.test_client()
        answer = post(client, "/api/orders/", email="ada@example.com")
        assert answer["receipt"]["outcome"] == "pending"
        assert secure_server.messages == []
        # An order that cannot be stored has no mail.
        with orders.database().begin() as connection:
            connection.execute(
                sqlalchemy.text("INSERT INTO shop_order VALUES (:n, 'eve@example.com')"),
                {"n": answer["order"] + 1},
            )
        app.config["PROPAGATE_EXCEPTIONS"] = False
        assert client.post("/api/orders/", json={"email": "bob@example.com"}).status_code == 500
        for _ in range(2):
            done = run(args=["mail", "outbox", "work", "--once"])
            assert done.exit_code == 0, done.output
        assert secure_server.message.rcpt_tos == ("ada@example.com",)
        assert secure_server.message.message["Message-ID"] == answer["receipt"]["message_id"]
    finally:
        app.extensions["mail"].close()
        orders.database().dispose()
        orders.database.cache_clear()


def test_styles_are_inlined(client: FlaskClient, secure_server: MailServer) -> None:
    pytest.importorskip("css_inline")
    post(client, "/api/orders/", email="ada@example.com")
    html = secure_server.message.message.get_body(("html",))
    assert html is not None
    assert '<h1 style="font-size: 20px;color: #0f766e;">' in html.get_content()


def test_the_link_to_a_new_password_works(client: FlaskClient, secure_server: MailServer) -> None:
    post(client, "/api/password-reset/", email="ada@example.com")
    text = secure_server.message.message.get_body(("plain",))
    assert text is not None
    link = re.search(r"http://localhost(/\S+)", text.get_content())
    assert link is not None
    assert client.get(link[1]).json == {"email": "ada@example.com"}
    assert client.get(link[1] + "x").status_code == 404


def test_ten_requests_of_all_kinds_take_one_connection(
    client: FlaskClient, secure_server: MailServer
) -> None:
    for number in range(10):
        path = ("/api/orders/", "/api/password-reset/")[number % 2]
        post(client, path, email="ada@example.com")
    assert len(secure_server.messages) == 10
    assert secure_server.connections == 1


def test_an_async_view_sends_too(client: FlaskClient, secure_server: MailServer) -> None:
    pytest.importorskip("asgiref", reason="Flask's async views need asgiref")
    post(client, "/api/question/", email="ada@example.com", text="Is it fresh?")
    assert secure_server.message.message["Reply-To"] == "ada@example.com"


def test_a_newsletter_reports_each_outcome(client: FlaskClient, secure_server: MailServer) -> None:
    secure_server.refuse("gone@example.com")
    answer = client.post(
        "/api/newsletter/",
        json={"recipients": "ada@example.com, gone@example.com, no address, eve@example.com"},
    )
    assert answer.status_code == 207
    assert answer.json is not None
    errors = {result["to"]: result["error"] for result in answer.json["results"]}
    assert errors["ada@example.com"] is None
    assert "550 5.1.1 No such user" in errors["gone@example.com"]
    assert "is not an address" in errors["no address"]
    assert errors["eve@example.com"] is None
    assert [m.rcpt_tos for m in secure_server.messages] == [
        ("ada@example.com",),
        ("eve@example.com",),
    ]
    assert secure_server.messages[0].mail_from == "news@leafandcup.example"
    assert secure_server.connections == 1


def test_the_newsletter_is_signed_and_left_by_one_click(
    secure_server: MailServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shop: Flask
) -> None:
    pytest.importorskip("sqlalchemy", reason="the suppression list needs the extra outbox")
    key = key_for("leafandcup.example", "shop")
    tmp_path.joinpath("shop.pem").write_text(str(pem_of(RSA, 0).reveal()))
    monkeypatch.setenv("SHOP_SITE", "https://shop.example.com")
    monkeypatch.setenv("SHOP_DATABASE", f"sqlite:///{tmp_path / 'shop.sqlite3'}")
    monkeypatch.setenv("SHOP_DKIM_KEY", str(tmp_path / "shop.pem"))
    app: Flask = importlib.import_module("flask_shop").create_app()
    client = app.test_client()
    people = {"recipients": "ada@example.com, b@example.com"}
    assert client.post("/api/newsletter/", json=people).status_code == 200
    news = secure_server.messages[0]
    assert verify(news.content, records(key)) == [True]
    assert news.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = str(news.message["List-Unsubscribe"]).strip("<>")
    place = link.removeprefix("https://shop.example.com")
    assert client.get(place).status_code == 200
    assert client.post(place).status_code == 200
    answer = client.post("/api/newsletter/", json=people)
    assert answer.status_code == 207
    assert answer.json is not None
    assert "unsubscribed, for the stream 'newsletter'" in answer.json["results"][0]["error"]
    assert [each.rcpt_tos[0] for each in secure_server.messages] == [
        *("ada@example.com", "b@example.com", "b@example.com"),
    ]
    post(client, "/api/orders/", name="Ada", email="ada@example.com", quantity="2")
    post(client, "/api/password-reset/", email="ada@example.com")
    assert [verify(each.content, records(key)) for each in secure_server.messages] == [[True]] * 5
    app.extensions["mail"].close()
    app.extensions["mail_suppression"].close()


def test_the_newsletter_can_be_sent_from_the_command_line(
    shop: Flask, secure_server: MailServer
) -> None:
    result = shop.test_cli_runner().invoke(
        args=["send-newsletter", "a@example.com", "b@example.com"]
    )
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].startswith("a@example.com: 250 ")
    assert len(secure_server.messages) == 2


def test_a_refused_recipient_is_reported_to_the_customer(
    client: FlaskClient, secure_server: MailServer
) -> None:
    secure_server.refuse("gone@example.com")
    answer = client.post("/api/orders/", json={"email": "gone@example.com"})
    assert (answer.status_code, answer.json) == (
        502,
        {"error": "the mail could not be sent", "outcome": "refused", "try_again": False},
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"email": "no address"},
        {"email": "ada@example.com", "product": "coffee"},
        {"email": "ada@example.com", "quantity": "many"},
        {"email": "ada@example.com\r\nBcc: eve@example.com"},
        {"email": "ada@example.com", "name": "Ada\r\nBcc: eve@example.com"},
    ],
)
def test_bad_input_is_a_bad_request_and_sends_nothing(
    client: FlaskClient, secure_server: MailServer, fields: dict[str, str]
) -> None:
    answer = client.post("/api/orders/", data=json.dumps(fields), content_type="application/json")
    assert answer.status_code == 400
    assert secure_server.connections == 0


def test_doctor_finds_no_problem_in_the_shop(shop: Flask) -> None:
    result = shop.test_cli_runner().invoke(args=["mail", "doctor"])
    assert result.exit_code == 0, result.output
    assert "STARTTLS, login as user" in result.output


def test_without_a_server_mail_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    app = importlib.import_module("flask_shop").create_app()
    post(app.test_client(), "/api/orders/", email="ada@example.com")
    assert "Subject: Your order" in capsys.readouterr().out


def test_the_page_lists_the_products(client: FlaskClient) -> None:
    page = client.get("/").text
    assert "Sencha from Uji" in page
    assert 'action="/api/orders/"' in page


def test_the_shops_own_tests_pass() -> None:
    pytest.importorskip("trustme")
    plugins = ["-p", "mailbackends.testing.plugin", "-p", "flask_integration.pytest_plugin"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", "-q", *plugins, "flask_shop"],
        cwd=EXAMPLES,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "4 passed" in done.stdout, done.stdout


ASGI = """
from asgiref.wsgi import WsgiToAsgi
from flask_shop import create_app

application = WsgiToAsgi(create_app())
"""


def test_an_async_view_sends_under_an_asgi_server(
    secure_server: MailServer, tmp_path: Path
) -> None:
    """Flask is WSGI: such a view runs in a loop of its own call, and sends in a thread."""
    pytest.importorskip("uvicorn")
    (tmp_path / "shop_asgi.py").write_text(ASGI)
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]),
        "MAIL_DEMO_HOST": "localhost",
        "MAIL_DEMO_PORT": str(secure_server.port),
        "MAIL_DEMO_USER": "user",
        "MAIL_DEMO_PASSWORD": "secret",
        "MAIL_DEMO_CAFILE": secure_server.cafile,
    }
    command = [sys.executable, "-m", "uvicorn", "shop_asgi:application", f"--port={port}"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)  # noqa: S603

    def ask(number: int) -> int:
        body = json.dumps({"email": f"user{number}@example.com", "text": "Is it fresh?"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/question/", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            assert json.load(answer)["receipt"]["accepted"]
            return int(answer.status)

    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        with ThreadPoolExecutor(12) as customers:
            assert list(customers.map(ask, range(12))) == [202] * 12
    finally:
        process.terminate()
        process.wait(15)
    assert len(secure_server.messages) == 12
    assert secure_server.connections <= 4
