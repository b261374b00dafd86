"""Signals around each message.

All are sent by the backend's class, with ``message`` (Django's ``EmailMessage``),
``alias`` (the key in ``MAILERS``, or None) and ``backend``.
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["post_send", "pre_send", "send_failed"]

pre_send = Signal()
"""Before a message is built. A receiver may change it, also its recipients, or raise
`SendCancelled` to keep it from being sent. Any other exception fails the message."""

post_send = Signal()
"""A message was accepted for at least one recipient. Also given: ``receipt``."""

send_failed = Signal()
"""A message could not be sent. Also given: ``error``, with its ``outcome``.

An exception in a receiver of `post_send` or `send_failed` is logged and goes no further:
what became of the message is settled."""
