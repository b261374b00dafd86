"""The shop's mails with sample data: `django_integration.mailbox` finds this module."""

from __future__ import annotations

from django.core.mail import EmailMessage, EmailMultiAlternatives

from mailbackends.previews import preview

from . import mails
from .orders import PRODUCTS, Order


@preview("Order confirmation", group="Orders")
def order_confirmation() -> EmailMultiAlternatives:
    """Sent after an order, with the invoice."""
    order = Order("Ada Lovelace <ada@example.com>", PRODUCTS["tea"], quantity=2, number=1042)
    return mails.order_confirmation(order)


@preview("Newsletter", group="Marketing")
def newsletter() -> EmailMessage:
    """Sent to all subscribers."""
    return mails.newsletter(["ada@example.com"])[0]
