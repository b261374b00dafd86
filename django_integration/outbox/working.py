"""The worker: `mailbackends.outbox.Worker` over Django's tables and mailers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from django.db import DatabaseError

from django_integration.outbox import models
from django_integration.outbox.configuration import outbox_settings
from django_integration.outbox.operations import outbox_store
from django_integration.outbox.sending import DjangoDelivery
from django_integration.outbox.signals import message_settled
from django_integration.outbox.store import DjangoStore
from mailbackends.outbox import FINAL, Change, OutboxMessage, State, Worker

__all__ = ["OutboxWorker", "deliver"]

logger: logging.Logger = logging.getLogger("mailbackends.outbox")

_DAY = 86400.0


class OutboxWorker(Worker):
    """Delivers the messages of one database. ``on_change`` is called after each change."""

    def __init__(
        self,
        store: DjangoStore,
        *,
        batch: int = 50,
        poll: float = 2.0,
        on_change: Callable[[OutboxMessage, Change], object] | None = None,
    ) -> None:
        current = outbox_settings()
        super().__init__(
            store,
            DjangoDelivery(),
            policy=current.retry,
            lease=current.lease,
            batch=batch,
            poll=poll,
            on_change=self._changed,
        )
        self._rows = store
        self._then = on_change

    def run(self) -> None:
        """Work until `stop` is called. A database that is down is tried again."""
        try:
            super().run()
        finally:
            self._say_goodbye()

    def sweep(self) -> int:
        """See `Worker.sweep`. The worker's sign of life is written as well."""
        workers = models.Worker.objects.using(self._rows.using)
        now = self._rows.now()
        if not workers.filter(name=self.name).update(seen_at=now):
            workers.create(name=self.name, started_at=now, seen_at=now)
            workers.filter(seen_at__lt=self._rows.now(-_DAY)).delete()
        return super().sweep()

    def _changed(self, message: OutboxMessage, change: Change) -> None:
        if change.state is State.ACCEPTED and outbox_settings().erase_content:
            self._rows.erase_content(message.id)
        if self._then is not None:
            self._then(message, change)
        if change.state not in FINAL:
            return
        for _, problem in message_settled.send_robust(
            sender=models.Message,
            id=message.id,
            state=change.state,
            reason=change.reason,
            alias=message.alias,
        ):
            if isinstance(problem, Exception):
                logger.error("A receiver of message_settled failed", exc_info=problem)

    def _say_goodbye(self) -> None:
        try:
            models.Worker.objects.using(self._rows.using).filter(name=self.name).delete()
        except DatabaseError as error:
            logger.warning("The worker's row could not be deleted: %s", error)
        self._rows.close()


def deliver(ids: Iterable[object] = ()) -> int:
    """Deliver what is due, and return how many messages were handled: the task of an engine.

    An engine (django.tasks, Celery, ...) only rings the bell: ``ids`` are the messages that it
    was called for, and everything else that is due is delivered as well. Called twice, late or
    never, it loses and doubles nothing.
    """
    worker = OutboxWorker(outbox_store())
    try:
        return worker.run_once()
    finally:
        worker._say_goodbye()
