"""The mails of the shop."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.template.loader import render_to_string

from django_integration import attach_inline_image, attach_path

from .invoice import invoice_pdf
from .orders import Order

__all__ = ["catalogue", "newsletter", "order_confirmation", "recall"]

STATIC = Path(__file__).parent / "static" / "shop"
LOGO = STATIC / "logo.png"
CATALOGUE = STATIC / "catalogue.txt"


def order_confirmation(order: Order) -> EmailMultiAlternatives:
    """Text and HTML, the logo in the HTML, the invoice as an attachment."""
    message = EmailMultiAlternatives(
        subject=f"Your order {order.number}: {order.product.name}",
        body=render_to_string("shop/order_confirmation.txt", {"order": order}),
        to=[order.email],
        cc=[order.copy_to] if order.copy_to else [],
        reply_to=["service@example.com"],
        headers={"X-Order": str(order.number)},
    )
    logo = attach_inline_image(message, LOGO)
    html = render_to_string("shop/order_confirmation.html", {"order": order, "logo": logo})
    message.attach_alternative(html, "text/html")
    message.attach(f"invoice-{order.number}.pdf", invoice_pdf(order), "application/pdf")
    return message


def newsletter(recipients: list[str]) -> list[EmailMessage]:
    """A message for each recipient, with a link to leave by one click where the shop has one."""
    body = render_to_string("shop/newsletter.txt")
    unsubscribe = {"List-Unsubscribe": "<mailto:unsubscribe@example.com>"}
    messages = [
        EmailMessage("New tea has arrived", body, to=[address], headers=unsubscribe)
        for address in recipients
    ]
    for message in messages if settings.SITE else ():
        message.unsubscribe = "newsletter"  # type: ignore[attr-defined]
    return messages


def catalogue(email: str) -> EmailMessage:
    """With an attached file that is read while it is sent, since it can be large."""
    message = EmailMessage("Our catalogue", "It is attached.\n", to=[email])
    attach_path(message, CATALOGUE)
    return message


def recall(recipients: list[str]) -> EmailMessage:
    """One message to all buyers of an article."""
    return EmailMessage("A recall: teapots", "The handle may break.\n", to=recipients)
