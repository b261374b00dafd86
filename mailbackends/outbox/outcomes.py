"""Outcomes written into a store by a worker, and the messages that it has leases on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from mailbackends.errors import BeforeEndError
from mailbackends.mailer.submission import Receipt
from mailbackends.outbox.decisions import (
    partly_recorded,
    recorded,
    with_change,
    with_earlier,
)
from mailbackends.outbox.delivery import Result
from mailbackends.outbox.policy import RetryPolicy
from mailbackends.outbox.state import RecipientState, State
from mailbackends.outbox.store import LeaseLost, Store
from mailbackends.outbox.values import Change, OnUnknown, OutboxMessage

__all__ = ["OutcomeRecorder"]

logger: logging.Logger = logging.getLogger("mailbackends.outbox")


class OutcomeRecorder:
    """Records what became of the messages of one worker. Thread-safe."""

    def __init__(
        self,
        store: Store,
        policy: RetryPolicy,
        *,
        worker: str,
        lease: float,
        on_change: Callable[[OutboxMessage, Change], object] | None,
    ) -> None:
        self.handled: int = 0
        """How many messages have an outcome."""
        self._store = store
        self._policy = policy
        self._worker = worker
        self._seconds = lease
        self._on_change = on_change
        self._lock = threading.Lock()
        self._held: dict[UUID, OutboxMessage] = {}
        # Messages that were sent to some recipients, as they are in the database by then.
        self._parts: dict[tuple[UUID, str], OutboxMessage] = {}
        # What became of recipients and could not be recorded at once.
        self._unrecorded: dict[tuple[UUID, str], Change] = {}

    def hold(self, messages: Iterable[OutboxMessage]) -> None:
        """Note messages that were claimed."""
        with self._lock:
            self._held.update((each.id, each) for each in messages)

    @property
    def held(self) -> list[OutboxMessage]:
        """The messages that were claimed and have no outcome yet."""
        with self._lock:
            return list(self._held.values())

    def forget(self, message: OutboxMessage) -> None:
        """Note that the lease on a message is over."""
        with self._lock:
            # Not the lease of another thread, which may have claimed it again since.
            if self._held.get(message.id) is message:
                del self._held[message.id]

    def release(self, messages: Sequence[OutboxMessage]) -> None:
        """Put back those of the messages that have no outcome."""
        with self._lock:
            left = [each for each in messages if self._held.get(each.id) is each]
        for each in left:
            self.forget(each)
        if left:
            self._store.release(left)

    def note_part(self, message: OutboxMessage, receipt: Receipt) -> None:
        """Record those whom a server has taken the message for; whatever follows leaves them.

        Where that fails, the message's outcome contains them.
        """
        lease = _lease(message)
        before = self._parts.get(lease, message)
        change = partly_recorded(before, receipt, worker=self._worker)
        self._parts[lease] = with_change(before, change)
        change = with_earlier(change, self._unrecorded.get(lease))
        self._unrecorded[lease] = change
        if self._store.record(change):
            del self._unrecorded[lease]

    def note(self, results: Sequence[Result]) -> None:
        """Record outcomes that are known in one moment, before anything else is waited for."""
        changes: list[tuple[OutboxMessage, Change]] = []
        for message, result in results:
            now = self._parts.pop(_lease(message), message)
            earlier = self._unrecorded.pop(_lease(message), None)
            cause = result.__cause__ if isinstance(result, BeforeEndError) else None
            if earlier is None and isinstance(cause, LeaseLost) and message.id in cause.ids:
                logger.warning("%s: somebody else has it, or cancelled it: not sent", message.id)
                self.forget(message)
            # Without a connection, it waits with all others of its alias, and no attempt counts.
            elif not (
                earlier is None
                and getattr(result, "no_connection", False)
                and self._released(message)
            ):
                change = with_earlier(self._decided(now, result), earlier)
                changes.append((now, change))
                level = logging.INFO if isinstance(result, Receipt) else logging.WARNING
                logger.log(level, "%s %s: %s", message.id, change.state, result)
        self._apply_surely(changes)
        for message, _ in results:
            self.forget(message)
        with self._lock:
            self.handled += len(changes)

    def _decided(self, message: OutboxMessage, result: Receipt | Exception) -> Change:
        change = recorded(message, result, worker=self._worker, policy=self._policy)
        if change.state is not State.UNKNOWN or message.on_unknown is not OnUnknown.ASK:
            return change
        # A report may have settled some of them while the reply was awaited.
        try:
            found = self._store.get(message.id)
        except Exception:
            logger.warning("%s: reports are not taken into account", message.id, exc_info=True)
            return change
        if found is None or found.lease_by != message.lease_by:
            return change
        known = (RecipientState.ACCEPTED, RecipientState.REFUSED)
        settled = {each.address: each for each in found.recipients if each.state in known}
        recipients = tuple(
            settled.get(each.address, each) if each.address in message.pending else each
            for each in message.recipients
        )
        message = replace(message, recipients=recipients)
        change = recorded(message, result, worker=self._worker, policy=self._policy)
        # If another report comes now, the sweep decides once the lease has expired.
        return replace(change, version=found.version)

    def _released(self, message: OutboxMessage) -> bool:
        try:
            released = bool(self._store.release([message]))
        except Exception:
            logger.warning("%s was not released", message.id, exc_info=True)
            return False
        if released:
            self.forget(message)
        return released

    def _apply_surely(
        self, changes: Sequence[tuple[OutboxMessage, Change]], latest: float | None = None
    ) -> None:
        """Record outcomes; while the database is down it is tried again, for one lease.

        An outcome that is known and cannot be recorded would become unknown.
        """
        latest = latest or time.monotonic() + self._seconds
        pause = 0.05
        while changes:
            try:
                applied = self._store.record_all([change for _, change in changes])
            except Exception:
                outcomes = ", ".join(f"{message.id} {change.state}" for message, change in changes)
                if time.monotonic() >= latest:
                    # Their leases expire: then a sweep decides.
                    logger.exception("outcomes were lost: %s", outcomes)
                    return
                logger.warning("recording again: %s", outcomes, exc_info=True)
                if len(changes) > 1:
                    # One that the database does not take must not take the others along.
                    for each in changes:
                        self._apply_surely([each], latest)
                    return
                time.sleep(pause)
                pause = min(2 * pause, 5.0)
            else:
                for (message, change), is_applied in zip(changes, applied, strict=True):
                    self._applied(message, change, is_applied)
                return

    def apply(self, message: OutboxMessage, change: Change) -> bool:
        """Record a change; False where it does not apply."""
        return self._applied(message, change, self._store.record(change))

    def _applied(self, message: OutboxMessage, change: Change, is_applied: bool) -> bool:
        if not is_applied:
            # After an error in COMMIT it may be recorded already; else another one was faster.
            logger.info("%s: %s was not recorded, its row has changed", message.id, change.state)
            return False
        if self._on_change is not None:
            try:
                self._on_change(message, change)
            except Exception:
                logger.exception("on_change failed for %s", message.id)
        return True


def _lease(message: OutboxMessage) -> tuple[UUID, str]:
    return message.id, message.lease_by
