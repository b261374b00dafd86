"""Durable delivery: messages in the application's own database, sent once by a worker.

`decisions` and `state` are pure. A `Store` runs statements; `Worker` claims, sends and records.
"""

from __future__ import annotations

from mailbackends.outbox.blobs import BlobStore, DirectoryBlobs
from mailbackends.outbox.by_hand import cancelled, resent, resolved, settled
from mailbackends.outbox.changes import final_state
from mailbackends.outbox.content import (
    INLINE_LIMIT,
    outbox_message,
    source_of,
    submission_of,
    whole_content,
)
from mailbackends.outbox.decisions import expired, lease_expired, parked, recorded
from mailbackends.outbox.delivery import Deliver, Hooks, MailerDelivery
from mailbackends.outbox.ids import lease_token, uuid7
from mailbackends.outbox.policy import (
    KeyReusedError,
    RetryPolicy,
    check_same_content,
    order_of_priorities,
    pause_after,
    retry_delay,
)
from mailbackends.outbox.settling import settle_by_report, settle_unknown
from mailbackends.outbox.state import CANCELLABLE, FINAL, LEASED, TRANSITIONS, RecipientState, State
from mailbackends.outbox.store import LeaseLost, Store
from mailbackends.outbox.values import (
    BlobPart,
    Change,
    LogEntry,
    OnUnknown,
    OutboxMessage,
    OutboxRecipient,
    Pause,
    Priority,
    Queued,
    RecipientChange,
    Status,
)
from mailbackends.outbox.worker import Worker

__all__ = [
    "CANCELLABLE",
    "FINAL",
    "INLINE_LIMIT",
    "LEASED",
    "TRANSITIONS",
    "BlobPart",
    "BlobStore",
    "Change",
    "Deliver",
    "DirectoryBlobs",
    "Hooks",
    "KeyReusedError",
    "LeaseLost",
    "LogEntry",
    "MailerDelivery",
    "OnUnknown",
    "OutboxMessage",
    "OutboxRecipient",
    "Pause",
    "Priority",
    "Queued",
    "RecipientChange",
    "RecipientState",
    "RetryPolicy",
    "State",
    "Status",
    "Store",
    "Worker",
    "cancelled",
    "check_same_content",
    "expired",
    "final_state",
    "lease_expired",
    "lease_token",
    "order_of_priorities",
    "outbox_message",
    "parked",
    "pause_after",
    "recorded",
    "resent",
    "resolved",
    "retry_delay",
    "settle_by_report",
    "settle_unknown",
    "settled",
    "source_of",
    "submission_of",
    "uuid7",
    "whole_content",
]
