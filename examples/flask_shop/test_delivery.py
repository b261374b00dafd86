# ruff: noqa: S101
"""The shop's own tests, with the pytest fixtures of `mailbackends.testing`.

In the folder above: ``python -m pytest flask_shop``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from flask.testing import FlaskClient

from . import create_app

if TYPE_CHECKING:
    from mailbackends.testing.server import LoopbackServer


@pytest.fixture
def app() -> Iterator[Flask]:
    """The shop; ``flask_smtp_server`` looks for it by this name."""
    app = create_app({"TESTING": True})
    yield app
    app.extensions["mail"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A customer's browser."""
    return app.test_client()


def test_an_order_is_confirmed_with_the_invoice(
    client: FlaskClient, flask_smtp_server: LoopbackServer
) -> None:
    answer = client.post("/api/orders/", json={"name": "Ada", "email": "ada@example.com"})
    assert answer.json is not None
    number = answer.json["order"]
    received = flask_smtp_server.assert_sent(
        to=["ada@example.com"],
        subject=f"Your order {number} at Leaf & Cup",
        text_has="EUR",
        html_has="cid:",
    )
    assert received.attachments[f"invoice-{number}.pdf"].startswith(b"%PDF")
    assert answer.json["receipt"]["message_id"] == received.message["Message-ID"]


def test_an_order_of_somebody_who_is_gone_is_the_customers_to_mend(
    client: FlaskClient, flask_smtp_server: LoopbackServer
) -> None:
    flask_smtp_server.refuse("gone@example.com")
    answer = client.post("/api/orders/", json={"name": "Bob", "email": "gone@example.com"})
    assert answer.status_code >= 400
    flask_smtp_server.assert_nothing_sent()


@pytest.mark.parametrize("at", ["MAIL", "content"])
def test_while_the_server_is_busy_the_customer_may_try_again(
    client: FlaskClient, flask_smtp_server: LoopbackServer, at: str
) -> None:
    flask_smtp_server.fail_next("451 4.3.0 Try again later", at=at)  # type: ignore[arg-type]
    order = {"name": "Ada", "email": "ada@example.com"}
    assert client.post("/api/orders/", json=order).status_code == 503
    assert client.post("/api/orders/", json=order).status_code == 201
    assert len(flask_smtp_server.messages) == 1
