"""The mailbox in a Flask application."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from flask import Flask
from flask.testing import FlaskClient

from flask_integration import Mail, Message
from flask_integration.mailbox import blueprint, get_mailbox
from mailbackends import ConfigurationError
from mailbackends.previews import preview

from .conftest import MakeApp


@pytest.fixture
def app(make_app: MakeApp) -> Iterator[Flask]:
    app = make_app(MAIL_BACKEND="mailbox", TESTING=True)
    app.debug = True
    Mail(app)
    app.register_blueprint(blueprint)
    yield app
    if "mailbackends_mailbox" in app.extensions:
        app.extensions["mailbackends_mailbox"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def send(app: Flask, **more: Any) -> Any:
    with app.app_context():
        return app.extensions["mail"].send(Message("Hello", ["ada@example.com"], "Text", **more))


def test_mail_of_the_application_is_in_the_mailbox_even_in_tests(
    app: Flask, client: FlaskClient
) -> None:
    receipt = send(app, html="<p>HTML</p>")
    page = client.get("/mailbox/")
    assert page.status_code == 200
    assert 'href="/mailbox/messages/1/"' in page.text
    assert "<p>HTML</p>" in client.get("/mailbox/messages/1/frame").text
    stored = client.get("/mailbox/api/messages/1").get_json()
    assert stored["receipt"]["reply"] == str(receipt.reply)
    assert stored["receipt"]["message_id"] == receipt.message_id


@pytest.mark.parametrize("path", ["/mailbox", "/mailbox/faults"])
def test_the_address_of_the_mailbox_works_without_its_trailing_slash(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(path, follow_redirects=True)
    assert (answer.status_code, answer.request.path) == (200, f"{path}/")


def test_the_form_of_the_page_deletes(app: Flask, client: FlaskClient) -> None:
    send(app)
    assert client.post("/mailbox/messages/1/delete").status_code == 403
    token = re.search(r'name="token" value="([^"]+)"', client.get("/mailbox/messages/1/").text)
    assert token is not None
    gone = client.post("/mailbox/messages/1/delete", data={"token": token[1]})
    assert (gone.status_code, gone.headers["Location"]) == (303, "/mailbox/")
    assert get_mailbox(app).store.count() == 0


def test_the_blueprint_may_have_another_prefix(make_app: MakeApp) -> None:
    app = make_app(MAIL_BACKEND="mailbox")
    app.debug = True
    app.register_blueprint(blueprint, url_prefix="/dev/mail")
    page = app.test_client().get("/dev/mail/", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert 'href="/shop/dev/mail/faults/"' in page.text
    app.extensions["mailbackends_mailbox"].close()


def test_other_host_names_are_refused(client: FlaskClient) -> None:
    assert client.get("/mailbox/", headers={"Host": "evil.example"}).status_code == 421


def test_the_mailbox_is_refused_outside_of_debug_mode(app: Flask, client: FlaskClient) -> None:
    app.debug = False
    assert client.get("/mailbox/").status_code == 404
    with pytest.raises(ConfigurationError, match="debug mode is off"):
        send(app)


def test_the_mailbox_can_be_allowed_outside_of_debug_mode(
    app: Flask, client: FlaskClient, tmp_path: Path
) -> None:
    app.debug = False
    app.config.update(MAILBOX_OUTSIDE_DEBUG=True, MAILBOX_PATH=tmp_path / "mail.sqlite3")
    send(app)
    assert "Hello" in client.get("/mailbox/").text
    assert (tmp_path / "mail.sqlite3").exists()


def test_messages_of_flask_integration_are_previewed(client: FlaskClient) -> None:
    @preview("Flask's hello", name="flasks-hello")
    def hello() -> Message:
        return Message("Hello preview", ["ada@example.com"], "Text", html="<p>HTML</p>")

    assert "Hello preview" in client.get("/mailbox/previews/flasks-hello/").text
    assert "<p>HTML</p>" in client.get("/mailbox/previews/flasks-hello/frame").text


def test_a_port_in_use_names_the_setting(make_app: MakeApp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        app = make_app(MAILBOX_SMTP_PORT=taken.getsockname()[1])
        app.debug = True
        with pytest.raises(ConfigurationError, match=r"MAILBOX_SMTP_PORT=\d+ cannot be used"):
            get_mailbox(app)
    app.extensions["mailbackends_mailbox"].close()
