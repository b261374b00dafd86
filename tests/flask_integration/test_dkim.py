"""Mail of Flask is signed by ``MAIL_DKIM``, whichever way its messages are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from flask_integration import Mail, Message
from mailbackends import ConfigurationError
from support.dkim import key_for, pem_of, records, verify
from support.sink import Sink

RSA = "rsa-sha256"


def given() -> dict[str, str]:
    return {"domain": "example.com", "selector": "s1", "key": pem_of(RSA, 0).reveal()}


def application(sink: Sink, dkim: Any) -> tuple[Flask, Mail]:
    app = Flask(__name__)
    app.config.update(MAIL_SERVER=sink.host, MAIL_PORT=sink.port, MAIL_DKIM=dkim)
    return app, Mail(app)


@pytest.mark.parametrize("extensions", [("8BITMIME", "PIPELINING", "CHUNKING"), ("PIPELINING",)])
@pytest.mark.parametrize("is_list", [True, False])
def test_a_message_is_signed(is_list: bool, extensions: tuple[str, ...]) -> None:
    with Sink(extensions=extensions) as sink:
        app, mail = application(sink, [given()] if is_list else given())
        with app.app_context():
            mail.send(Message("Grüße", ["b@example.net"], body="Hé\n.\n", sender="a@example.com"))
            rich = Message(
                "Both", ["b@example.net"], body="t", html="<p>é</p>", sender="a@example.com"
            )
            rich.attach("data.bin", "application/octet-stream", b"\x00\x01" * 100_000)
            mail.send(rich)
        mail.close()
        published = records(key_for())
        assert [verify(each.content, published) for each in sink.messages] == [[True]] * 2


def test_the_key_may_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_MAIL_DKIM", json.dumps(given()))
    with Sink() as sink:
        app = Flask(__name__)
        app.config.update(MAIL_SERVER=sink.host, MAIL_PORT=sink.port)
        app.config.from_prefixed_env()
        mail = Mail(app)
        with app.app_context():
            mail.send(Message("s", ["b@example.net"], body="t", sender="a@example.com"))
        mail.close()
        assert verify(sink.message.content, records(key_for())) == [True]


def test_a_wrong_key_names_the_setting_and_does_not_show_the_key() -> None:
    pem = pem_of(RSA, 0).reveal()
    with Sink() as sink, pytest.raises(ConfigurationError, match="MAIL_DKIM: the key of s1") as e:
        application(sink, given() | {"key": pem[:500]})
    assert pem[100:120] not in str(e.value)


def test_the_configuration_is_shown_without_the_key() -> None:
    with Sink() as sink:
        app, _ = application(sink, given())
        shown = app.test_cli_runner().invoke(args=["mail", "show-config"]).output
    assert "s1._domainkey.example.com" in shown
    assert "PRIVATE" not in shown
