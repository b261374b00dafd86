"""Signals of the outbox."""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["message_settled"]

message_settled: Signal = Signal()
"""Sent by a worker once a message is in a final state, after that was committed.

The sender is the class `Message`. Receivers get ``id``, ``state`` (a
`mailbackends.outbox.State`; ``unknown`` needs a decision by a person), ``reason`` and ``alias``.
Exceptions are logged. After a crash in between it is not sent: the rows are the truth."""
