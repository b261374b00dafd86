"""The shop's mails with sample data: ``MAILBOX_PREVIEWS`` names this module."""

from __future__ import annotations

from flask_integration import Message
from mailbackends.previews import preview

from . import mails
from .shop import CATALOGUE, Line, Order


@preview("Order confirmation", group="Orders")
def order_confirmation() -> Message:
    """The confirmation of an order, with the invoice."""
    lines = (Line(CATALOGUE["tea"], 2), Line(CATALOGUE["cup"], 1))
    return mails.order_confirmation(Order("Ada Lovelace", "ada@example.com", lines, number=1042))


@preview("Password reset", group="Accounts")
def password_reset() -> Message:
    """A link that is valid for an hour."""
    return mails.password_reset("ada@example.com", "sample-token")


@preview("Newsletter", group="Marketing")
def newsletter() -> Message:
    """The newsletter."""
    return mails.newsletter("ada@example.com")
