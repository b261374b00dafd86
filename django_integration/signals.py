"""Signals around each message.

The sender is the backend's class. Receivers get ``message`` (Django's ``EmailMessage``),
``alias`` (the key in ``MAILERS``, or None) and ``backend``.
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["post_send", "pre_send", "send_failed"]

pre_send: Signal = Signal()
"""Sent before a message is built. A receiver may change the message, including its
recipients, or raise `SendCancelled` to stop it. Any other exception fails the message."""

post_send: Signal = Signal()
"""Sent after a message was accepted for at least one recipient. Adds ``receipt``."""

send_failed: Signal = Signal()
"""Sent after a message could not be sent. Adds ``error``, with its ``outcome``.

An exception in a receiver of `post_send` or `send_failed` is logged and not raised, since
it cannot change the outcome of the message."""
