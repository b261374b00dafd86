"""The shop's mails. Each function returns a message; the views send it."""

from __future__ import annotations

from pathlib import Path

from flask import current_app, url_for

from flask_integration import Message

from .invoice import invoice
from .shop import CATALOGUE, Order

__all__ = ["newsletter", "order_confirmation", "password_reset", "question"]


def order_confirmation(order: Order) -> Message:
    """Return a text, HTML with the shop's logo, and the invoice."""
    customer = (order.name, order.email)
    message = Message.from_template("mail/order", recipients=[customer], order=order)
    _add_logo(message)
    message.attach(f"invoice-{order.number}.pdf", "application/pdf", invoice(order))
    return message


def password_reset(email: str, token: str) -> Message:
    """Return a message with a link that is valid for an hour."""
    link = url_for("shop.new_password", token=token, _external=True)
    message = Message.from_template("mail/password_reset", recipients=[email], link=link)
    message.stream = "password_reset"  # exempt from the suppression list: see config
    _add_logo(message)
    return message


def newsletter(email: str) -> Message:
    """Return HTML alone: the text is made from it if the extra "html" is installed."""
    message = Message.from_template(
        "mail/newsletter",
        recipients=[email],
        extra_headers={"List-Unsubscribe": "<mailto:news-leave@leafandcup.example>"},
        products=CATALOGUE.values(),
    )
    if current_app.config.get("MAIL_UNSUBSCRIBE_URL"):
        message.unsubscribe = "newsletter"  # a link for one click, in place of the address above
    _add_logo(message)
    return message


def question(sender: str, text: str) -> Message:
    """Return a customer's question to the shop; replies go to the customer."""
    return Message(
        "A question from the website",
        ["Leaf & Cup <shop@leafandcup.example>"],
        body=text,
        reply_to=sender,
    )


def _add_logo(message: Message) -> None:
    logo = Path(current_app.root_path, "static", "logo.png")
    message.attach_inline("logo.png", logo.read_bytes(), content_id="logo@leafandcup.example")
