"""Products and orders."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["PRODUCTS", "Order", "Product"]


@dataclass(frozen=True)
class Product:
    """One article."""

    code: str
    name: str
    price: Decimal


PRODUCTS = {
    product.code: product
    for product in (
        Product("tea", "Darjeeling First Flush, 100 g", Decimal("14.90")),
        Product("pot", "Teapot, cast iron, 0.8 l", Decimal("59.00")),
        Product("cup", "Cup, porcelain", Decimal("12.50")),
    )
}

_numbers = itertools.count(1001)


@dataclass(frozen=True)
class Order:
    """One order of one article."""

    email: str
    product: Product
    quantity: int = 1
    copy_to: str = ""
    """The address for a copy of the confirmation, or an empty string."""
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def total(self) -> Decimal:
        """In euros."""
        return self.product.price * self.quantity
