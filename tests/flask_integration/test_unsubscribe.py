"""One-click unsubscribe in Flask: the fields, the page, and what forged requests achieve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from itsdangerous import URLSafeTimedSerializer

from flask_integration import Mail, Message
from flask_integration.unsubscribe import (
    InvalidToken,
    Subscription,
    blueprint,
    read_token,
    unsubscribe_url,
    unsubscribed,
)
from mailbackends import ConfigurationError, InvalidMessageError
from support.dkim import key_for, records, verify
from support.sink import Sink

URL = "https://www.example.com/unsubscribe/"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def app(sink: Sink) -> Flask:
    app = Flask(__name__)
    app.config.update(
        MAIL_SERVER=sink.host, MAIL_PORT=sink.port, MAIL_UNSUBSCRIBE_URL=URL, SECRET_KEY="key"
    )
    app.register_blueprint(blueprint)
    return app


@pytest.fixture
def seen(app: Flask) -> Iterator[list[tuple[str, str]]]:
    found: list[tuple[str, str]] = []

    def receive(sender: Any, address: str, stream: str, **more: Any) -> None:
        assert sender is app
        found.append((address, stream))

    with unsubscribed.connected_to(receive):
        yield found


def link(app: Flask, address: str = "ada@example.net") -> str:
    return urlsplit(unsubscribe_url(app.config, address, "newsletter")).path


def news(*to: str) -> Message:
    return Message("News", to, body="t", sender="shop@example.com", unsubscribe="newsletter")


def test_a_message_has_both_fields_and_dkim_covers_them(app: Flask, sink: Sink) -> None:
    key = key_for()
    app.config["MAIL_DKIM"] = key
    mail = Mail(app)
    mail.send(news("Ada <ada@example.net>"))
    mail.close()
    parsed = sink.message.message
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = parsed["List-Unsubscribe"].strip().removeprefix(f"<{URL}").removesuffix("/>")
    assert read_token(app.config, token) == Subscription("ada@example.net", "newsletter")
    assert verify(sink.message.content, records(key)) == [True]


@pytest.mark.parametrize("to", [["a@example.net", "b@example.net"]])
def test_several_recipients_cannot_share_a_link(app: Flask, to: list[str]) -> None:
    with pytest.raises(InvalidMessageError, match="exactly one recipient"):
        Mail(app).send(news(*to))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MAIL_UNSUBSCRIBE_URL": None}, "MAIL_UNSUBSCRIBE_URL is not set"),
        ({"MAIL_UNSUBSCRIBE_URL": "http://x.test"}, "must begin with https://"),
        ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
    ],
)
def test_a_missing_or_wrong_setting_is_named(
    app: Flask, change: dict[str, Any], words: str
) -> None:
    app.config.update(change)
    with pytest.raises(ConfigurationError, match=words):
        Mail(app).send(news("ada@example.net"))


def test_getting_the_page_changes_nothing(app: Flask, seen: list[tuple[str, str]]) -> None:
    client = app.test_client()
    for method in (client.get, client.head):
        response = method(link(app, "<b>@example.net"))
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
        assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "&lt;b&gt;@example.net" in client.get(link(app, "<b>@example.net")).text
    assert seen == []


def test_one_post_unsubscribes_and_the_next_ones_do_no_harm(
    app: Flask, seen: list[tuple[str, str]]
) -> None:
    for _ in range(3):
        response = app.test_client().post(link(app), data={"List-Unsubscribe": "One-Click"})
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers
    assert app.test_client().post(link(app).rstrip("/")).status_code == 200
    assert seen == [("ada@example.net", "newsletter")] * 4


def test_a_forged_link_changes_nothing(app: Flask, seen: list[tuple[str, str]]) -> None:
    token = link(app).strip("/").rpartition("/")[2]
    other = URLSafeTimedSerializer("other", salt="flask_integration.unsubscribe")
    text = URLSafeTimedSerializer("key", salt="flask_integration.unsubscribe").dumps("text")
    for forged in (token[:-1], "x" + token[1:], other.dumps(["a@x.test", "s"]), text, "x" * 5000):
        for method in (app.test_client().get, app.test_client().post):
            response = method(f"/unsubscribe/{forged}/")
            assert response.status_code == 400
    assert isinstance(other.dumps(["a", "b"]), str)
    assert seen == []


def test_an_expired_link_changes_nothing(app: Flask, seen: list[tuple[str, str]]) -> None:
    app.config["MAIL_UNSUBSCRIBE_MAX_AGE"] = -1
    assert app.test_client().post(link(app)).status_code == 400
    with pytest.raises(InvalidToken):
        read_token(app.config, link(app).strip("/").rpartition("/")[2])
    assert seen == []


def test_a_key_that_was_replaced_is_still_accepted(app: Flask, seen: list[tuple[str, str]]) -> None:
    old = link(app)
    app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["key"])
    assert app.test_client().post(old).status_code == 200
    assert len(seen) == 1


def test_a_receiver_that_fails_fails_the_request(app: Flask, seen: list[tuple[str, str]]) -> None:
    def fail(sender: Any, **values: Any) -> None:
        raise OSError("the database is away")

    with unsubscribed.connected_to(fail):
        assert app.test_client().post(link(app)).status_code == 500
    assert len(seen) == 1
