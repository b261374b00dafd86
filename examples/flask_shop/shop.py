"""What the shop sells, and an order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["CATALOGUE", "BadOrder", "Line", "Order", "Product", "continue_after", "place_order"]

_numbers = itertools.count(1001)


@dataclass(frozen=True)
class Product:
    """A tea, and its price in euros."""

    code: str
    name: str
    price: Decimal


@dataclass(frozen=True)
class Line:
    """A quantity of one product."""

    product: Product
    quantity: int

    @property
    def price(self) -> Decimal:
        """The price of the whole line, in euros."""
        return self.product.price * self.quantity


@dataclass(frozen=True)
class Order:
    """What a customer orders."""

    name: str
    email: str
    lines: tuple[Line, ...]
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def total(self) -> Decimal:
        """The price of all of it, in euros."""
        return sum((line.price for line in self.lines), Decimal(0))


def continue_after(number: int) -> None:
    """Number the next orders after this one."""
    global _numbers
    _numbers = itertools.count(number + 1)


class BadOrder(ValueError):
    """The order is invalid. The text is for the customer."""


CATALOGUE = {
    product.code: product
    for product in (
        Product("tea", "Assam, second flush, 100 g", Decimal("6.90")),
        Product("sencha", "Sencha from Uji, 100 g", Decimal("11.50")),
        Product("cup", "Cup with saucer", Decimal("18.00")),
    )
}


def place_order(name: str, email: str, product: str = "tea", quantity: str | int = 1) -> Order:
    """Return an order of one product of the catalogue.

    Raises:
        BadOrder: the product does not exist, or the quantity is invalid.
    """
    if product not in CATALOGUE:
        raise BadOrder(f"unknown product {product!r}: choose from {', '.join(CATALOGUE)}")
    try:
        number = int(quantity)
    except ValueError:
        number = 0
    if not 1 <= number <= 99:
        raise BadOrder(f"quantity must be a number from 1 to 99, got {quantity!r}")
    return Order(name, email, (Line(CATALOGUE[product], number),))
