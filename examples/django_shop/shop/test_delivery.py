# ruff: noqa: S101
"""Tests that send to a real server, with the pytest fixture ``django_smtp_server``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from mailbackends import Mailer

from .mails import catalogue
from .orders import PRODUCTS, Order

if TYPE_CHECKING:
    from mailbackends.testing.server import LoopbackServer

pytestmark = pytest.mark.django_db  # orders are stored


def post(client: Client, path: str, **fields: Any) -> tuple[int, Any]:
    answer = client.post(path, fields, content_type="application/json")
    return answer.status_code, answer.json()


def test_the_receipt_is_for_the_message_at_the_server(
    client: Client, django_smtp_server: LoopbackServer
) -> None:
    status, answer = post(client, "/api/orders/", email="ada@example.com")
    [received] = django_smtp_server.messages
    assert (status, received.recipients) == (201, ("ada@example.com",))
    assert answer["receipt"]["message_id"] == received.message["Message-ID"]


def test_two_orders_share_a_connection(client: Client, django_smtp_server: LoopbackServer) -> None:
    for _ in range(2):
        post(client, "/api/orders/", email="ada@example.com")
    assert len(django_smtp_server.messages) == 2
    assert django_smtp_server.connections == 1


def test_refused_recipients_of_a_recall_are_telephoned(
    client: Client, django_smtp_server: LoopbackServer
) -> None:
    django_smtp_server.refuse("gone@example.com", "550 5.1.1 Gone")
    answer = post(client, "/api/recall/", recipients="ada@example.com, gone@example.com")
    assert answer == (207, {"telephone": ["gone@example.com"]})
    [received] = django_smtp_server.messages
    assert received.recipients == ("ada@example.com",)


def test_nobody_is_telephoned_if_all_recipients_accepted(
    client: Client, django_smtp_server: LoopbackServer
) -> None:
    answer = post(client, "/api/recall/", recipients="ada@example.com, bob@example.com")
    assert answer == (200, {"telephone": []})


def test_a_mail_of_the_shop_can_be_sent_by_a_mailer(smtp_server: LoopbackServer) -> None:
    order = Order("ada@example.com", PRODUCTS["tea"])
    with Mailer(smtp_server.url) as mailer:
        mailer.send_message(catalogue(order.email).message())
    received = smtp_server.assert_sent(subject="Our catalogue", to=[order.email])
    assert len(received.attachments) == 1


@pytest.mark.smtp_server(tls="starttls", login=("shop", "secret"))
def test_an_order_reaches_a_server_with_tls_and_all_parts_arrive(
    client: Client, django_smtp_server: LoopbackServer
) -> None:
    post(client, "/api/orders/", email="ada@example.com")
    received = django_smtp_server.assert_sent(
        to=["ada@example.com"], text_has="Total: 14.90 EUR", html_has="cid:"
    )
    assert received.is_tls
    assert any(content.startswith(b"%PDF") for content in received.attachments.values())
