"""The orders in the database."""

from __future__ import annotations

from typing import Any

from django.db import models

from .orders import Order

__all__ = ["PlacedOrder"]


class PlacedOrder(models.Model):
    """An order as it was placed."""

    number: Any = models.PositiveIntegerField()
    email: Any = models.EmailField()
    product: Any = models.CharField(max_length=20)
    quantity: Any = models.PositiveIntegerField()
    placed_at: Any = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"order {self.number}"

    @classmethod
    def record(cls, order: Order) -> PlacedOrder:
        """Store an order, in the transaction of the caller."""
        return cls.objects.create(
            number=order.number,
            email=order.email,
            product=order.product.code,
            quantity=order.quantity,
        )
