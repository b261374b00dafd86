"""The worker: claims messages, sends them, and records what became of each."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from django.db import DatabaseError, connections

from django_integration.outbox import models
from django_integration.outbox.configuration import outbox_settings
from django_integration.outbox.delivering import delivering_aliases
from django_integration.outbox.operations import sweep
from django_integration.outbox.sending import Result, attempts
from django_integration.outbox.signals import message_settled
from django_integration.outbox.store import DjangoStore
from mailbackends import Receipt
from mailbackends.outbox import (
    FINAL,
    LeaseLost,
    OutboxMessage,
    State,
    pause_after,
    recorded,
)

__all__ = ["HEARTBEAT", "OutboxWorker"]

logger = logging.getLogger("mailbackends.outbox")

HEARTBEAT = 30.0
"""Seconds between two signs of life, and two sweeps."""
_DAY = 86400.0


class _Stop(BaseException):
    """Ends the wait of a worker that is asked to stop."""


class OutboxWorker:
    """Delivers the messages of one database until it is stopped."""

    def __init__(
        self,
        store: DjangoStore,
        *,
        batch: int = 50,
        poll: float = 5.0,
        on_result: Callable[[OutboxMessage, Result], None] = lambda message, result: None,
    ) -> None:
        self.store = store
        self.batch = batch
        self.poll = poll
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"[:200]
        self._on_result = on_result
        self._is_stopping = False
        self._is_waiting = False
        self._upkeep_at = 0.0

    def stop(self) -> None:
        """Let `run` end after the message that is being sent; for signal handlers."""
        self._is_stopping = True
        self.store.stop()
        if self._is_waiting:
            self._is_waiting = False
            raise _Stop

    def run(self) -> None:
        """Deliver messages until `stop` is called. A database that is away is waited for."""
        failures = 0
        while not self._is_stopping:
            try:
                self._keep_up()
                if not self.deliver_due():
                    self._wait(self.poll)
                failures = 0
            except DatabaseError as error:
                failures += 1
                logger.warning("The outbox's database cannot be used: %s", error)
                connections[self.store.using].close()
                self._wait(min(30.0, 0.5 * 2.0**failures))
        self._say_goodbye()

    def run_once(self) -> int:
        """Sweep, deliver what is due now, and return the number of messages that were tried."""
        sweep(self.store)
        tried = 0
        while not self._is_stopping and (count := self.deliver_due()):
            tried += count
        return tried

    def deliver_due(self) -> int:
        """Claim one batch and try to send it; the number of messages claimed."""
        lease = outbox_settings().lease
        claimed = self.store.claim(
            self.batch, lease=lease, worker=self.name, aliases=delivering_aliases()
        )
        by_alias: dict[str, list[OutboxMessage]] = defaultdict(list)
        for message in claimed:
            by_alias[message.alias].append(message)
        for alias, messages in by_alias.items():
            self._deliver(alias, messages)
        return len(claimed)

    def deliver(self, ids: Sequence[UUID]) -> None:
        """Deliver what is due, for an engine that was told of these messages.

        The rows are the truth: others that are due are delivered as well, and a message that
        somebody else has is left to them.
        """
        if self.store.messages.filter(id__in=ids, state=State.QUEUED.value).exists():
            self.run_once()

    # One batch

    def _deliver(self, alias: str, messages: list[OutboxMessage]) -> None:
        left = {message.id: message for message in messages}
        lease_from = time.monotonic()
        lease = outbox_settings().lease

        def begin(ending: Sequence[OutboxMessage]) -> None:
            self.store.begin(ending, lease=lease, worker=self.name)

        results = attempts(alias, messages, begin)
        try:
            for message, result in results:
                left.pop(message.id, None)
                self._record(message, result)
                if self._is_stopping or self._must_pause(alias, result):
                    break
                if left and time.monotonic() - lease_from > lease / 3:
                    self.store.renew(list(left.values()), lease=lease, worker=self.name)
                    lease_from = time.monotonic()
            else:
                self.store.resume(alias)
        finally:
            results.close()
            if left:
                self.store.release(list(left.values()), worker=self.name)

    def _record(self, message: OutboxMessage, result: Result) -> None:
        if isinstance(result, Exception) and isinstance(result.__cause__, LeaseLost):
            logger.info("Not sent, somebody else has it: %s", message.id)
            return
        current = outbox_settings()
        change = recorded(message, result, worker=self.name, policy=current.retry)
        if not self.store.record(change):
            logger.warning("The outcome of %s came too late: %s", message.id, result)
            return
        self._on_result(message, result)
        if change.state is State.ACCEPTED and current.erase_content:
            self.store.erase_content(message.id)
        if change.state in FINAL:
            for _, problem in message_settled.send_robust(
                sender=models.Message,
                id=message.id,
                state=change.state,
                reason=change.reason,
                alias=message.alias,
            ):
                if isinstance(problem, Exception):
                    logger.error("A receiver of message_settled failed", exc_info=problem)

    def _must_pause(self, alias: str, result: Result) -> bool:
        if isinstance(result, Receipt):
            return False
        before = [each.failures for each in self.store.pauses() if each.alias == alias]
        failures = 1 + (before[0] if before else 0)
        seconds = pause_after(result, failures, outbox_settings().retry)
        if seconds is None:
            return False
        logger.warning("Mail by %r waits for %.1f s: %s", alias, seconds, result)
        self.store.pause(alias, seconds, failures=failures, reason=str(result))
        return True

    # Between batches

    def _wait(self, seconds: float) -> None:
        try:
            self._is_waiting = True
            if not self._is_stopping:
                self.store.wait(seconds)
        except _Stop:
            pass
        finally:
            self._is_waiting = False

    def _keep_up(self) -> None:
        now = time.monotonic()
        if self._upkeep_at and now - self._upkeep_at < HEARTBEAT:
            return
        self._upkeep_at = now
        workers = models.Worker.objects.using(self.store.using)
        moment = self.store.now()
        if not workers.filter(name=self.name).update(seen_at=moment):
            workers.create(name=self.name, started_at=moment, seen_at=moment)
            workers.filter(seen_at__lt=self.store.now(-_DAY)).delete()
        sweep(self.store)

    def _say_goodbye(self) -> None:
        try:
            models.Worker.objects.using(self.store.using).filter(name=self.name).delete()
        except DatabaseError as error:
            logger.warning("The worker's row could not be deleted: %s", error)
        self.store.close()
