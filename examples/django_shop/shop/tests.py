# ruff: noqa: S101
"""The shop's own tests, with Django's test runner and ``mail.outbox``."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core import mail
from django.test import TestCase


class OrderTests(TestCase):
    """Orders from the page and as JSON."""

    def test_an_order_puts_one_mail_into_the_outbox(self) -> None:
        """Text, HTML, the logo and the invoice."""
        answer = self.client.post(
            "/api/orders/", {"email": "ada@example.com"}, content_type="application/json"
        )
        assert answer.status_code == 201
        # The outbox has no receipts: nothing was sent to a server.
        assert answer.json()["receipt"] is None
        [message] = mail.outbox
        assert message.to == ["ada@example.com"]
        assert "Total: 14.90 EUR" in message.body
        kinds = [part.get_content_type() for part in message.message().walk()]
        for kind in ("text/plain", "text/html", "image/png", "application/pdf"):
            assert kind in kinds

    def test_an_order_without_an_address_sends_nothing(self) -> None:
        """The form is shown again."""
        answer = self.client.post("/orders/", {"product": "tea"})
        self.assertContains(answer, "This field is required", status_code=400)
        assert mail.outbox == []


class PasswordResetTests(TestCase):
    """Django's own password reset."""

    def test_a_reset_sends_a_link(self) -> None:
        """It is sent to the customer's address."""
        User.objects.create_user("ada", "ada@example.com", "forgotten")
        answer = self.client.post("/password-reset/", {"email": "ada@example.com"})
        self.assertRedirects(answer, "/password-reset/done/")
        [message] = mail.outbox
        assert message.subject == "Set a new password for testserver"
        assert "/reset/" in message.body
