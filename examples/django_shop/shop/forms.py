"""The forms of the shop."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import validate_email

from .orders import PRODUCTS, Order

__all__ = ["ContactForm", "NewsletterForm", "OrderForm"]


class OrderForm(forms.Form):
    """An order from the page or as JSON."""

    email = forms.EmailField(initial="ada@example.com")
    product = forms.ChoiceField(
        choices=[(code, f"{item.name}, {item.price} EUR") for code, item in PRODUCTS.items()],
        required=False,
    )
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1, required=False)
    copy_to = forms.EmailField(required=False)

    def order(self) -> Order:
        """The order, once the form is valid."""
        given = self.cleaned_data
        return Order(
            email=given["email"],
            product=PRODUCTS[given["product"] or "tea"],
            quantity=given["quantity"] or 1,
            copy_to=given["copy_to"],
        )


class ContactForm(forms.Form):
    """A request for the catalogue, or a message to the managers."""

    email = forms.EmailField()
    text = forms.CharField(max_length=10_000, required=False)


class NewsletterForm(forms.Form):
    """The recipients of the newsletter, separated by commas."""

    recipients = forms.CharField(max_length=10_000)

    def clean_recipients(self) -> list[str]:
        """The addresses."""
        text: Any = self.cleaned_data["recipients"]
        addresses = [part.strip() for part in text.split(",") if part.strip()]
        for address in addresses:
            validate_email(address)
        return addresses
