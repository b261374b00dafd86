"""Orders in a database, each with its confirmation, in one transaction.

With ``SHOP_DATABASE``, a URL of SQLAlchemy, an order and its mail are stored together: both or
neither. ``flask mail outbox work`` sends the mail, once. Without it nothing is stored.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from flask_integration import Message

from .extensions import mail
from .shop import Order, continue_after

__all__ = ["database", "store"]


@lru_cache(maxsize=1)
def database() -> Any:
    """The engine with the table of orders; None without ``SHOP_DATABASE``."""
    url = os.environ.get("SHOP_DATABASE")
    if not url:
        return None
    from sqlalchemy import create_engine, text  # the extra "outbox"

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE IF NOT EXISTS shop_order (number INTEGER PRIMARY KEY, email TEXT)")
        )
        last = connection.scalar(text("SELECT MAX(number) FROM shop_order"))
    if last is not None:
        continue_after(last)
    return engine


def store(order: Order, confirmation: Message) -> Any:
    """Store the order and its confirmation; returns the receipt of the queued mail."""
    from sqlalchemy import text

    with database().begin() as connection:
        values = {"number": order.number, "email": order.email}
        queued = mail.enqueue(confirmation, session=connection, key=f"order-{order.number}")
        connection.execute(text("INSERT INTO shop_order VALUES (:number, :email)"), values)
    return queued
