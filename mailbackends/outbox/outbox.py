"""`Outbox`: the outbox of an application that uses SQLAlchemy. Needs the extra ``outbox``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.orm import Session

from mailbackends.bounces.report import BounceReport
from mailbackends.errors import ConfigurationError
from mailbackends.mailer.mailer import Mailer
from mailbackends.mailer.submission import Submission
from mailbackends.outbox.blobs import BlobStore, DirectoryBlobs
from mailbackends.outbox.by_hand import cancelled, resent, resolved
from mailbackends.outbox.content import outbox_message
from mailbackends.outbox.delivery import Deliver, MailerDelivery
from mailbackends.outbox.policy import RetryPolicy
from mailbackends.outbox.rendering import RenderedDelivery, template_message
from mailbackends.outbox.settling import settle_by_report, settle_unknown
from mailbackends.outbox.sqlalchemy_insert import insert_message
from mailbackends.outbox.sqlalchemy_store import SQLAlchemyStore
from mailbackends.outbox.state import FINAL, State
from mailbackends.outbox.tables import Tables, outbox_tables
from mailbackends.outbox.values import Change, OnUnknown, OutboxMessage, Priority, Queued
from mailbackends.outbox.worker import Worker
from mailbackends.outcome import Outcome
from mailbackends.sql import Database

__all__ = ["Outbox"]

# A transaction that stores a message is over by then.
_BLOB_AGE = 86400.0


class Outbox:
    """Messages in the application's database, and what is done with them.

    ``database`` is a SQLAlchemy engine, its URL, or a function that returns the engine when it is
    first needed. ``metadata`` takes the tables up, for the application's own migrations. Parts
    above 256 KiB are stored in ``blobs``, a directory or a `BlobStore`; without it, in the row.
    """

    def __init__(
        self,
        database: Engine | str | Callable[[], Engine],
        *,
        blobs: BlobStore | str | os.PathLike[str] | None = None,
        metadata: MetaData | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._database = Database(database)
        self._store: SQLAlchemyStore | None = None
        self.tables: Tables = outbox_tables(metadata)
        self.policy: RetryPolicy = policy or RetryPolicy()
        self.blobs: BlobStore | None = (
            DirectoryBlobs(Path(blobs)) if isinstance(blobs, str | os.PathLike) else blobs
        )

    @property
    def store(self) -> SQLAlchemyStore:
        """The `Store` over the engine."""
        if self._store is None:
            self._store = SQLAlchemyStore(self._database.engine, self.tables)
        return self._store

    def create_tables(self) -> None:
        """Create the tables that do not exist; for applications without migrations."""
        self.store.create_tables()

    def enqueue(
        self,
        msg: Any,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        session: Session | Connection | Any = None,
        alias: str = "default",
        key: str | None = None,
        at: datetime | timedelta | None = None,
        expires: datetime | timedelta | None = None,
        priority: Priority | int | str = Priority.NORMAL,
        on_unknown: OnUnknown | str = OnUnknown.HOLD,
        render: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Queued:
        """Store one message, to be sent by a worker, and return its receipt.

        The first arguments are those of `Mailer.send_message`; ``msg`` may be a `Submission`. With
        ``session``, a SQLAlchemy session or connection, the message is part of its transaction:
        it is sent if that is committed, and not if it is rolled back. Without, it is committed
        here. ``render`` is the path of a function that makes the content just before it is sent,
        from ``context``, which must be JSON; see docs/outbox.md. The others are those of
        `outbox_message`.

        Raises:
            InvalidAddressError, InvalidMessageError: it cannot be sent. Nothing was stored.
            KeyReusedError: another message was stored under this key.
            ConfigurationError: an argument is not usable.
        """
        given = (from_addr, to_addrs, mail_options, rcpt_options)
        submission = msg if isinstance(msg, Submission) else Submission(msg, *given)
        if render is None:
            if context is not None:
                raise ConfigurationError("context is given without render, the path of a function")
            make = outbox_message
        else:
            make = partial(template_message, render=render, context=context)
        message = make(
            submission,
            blobs=self.blobs,
            alias=alias,
            key=key,
            at=at,
            expires=expires,
            priority=priority,
            on_unknown=on_unknown,
            policy=self.policy,
        )
        if session is None:
            with self.store.engine.begin() as connection:
                return insert_message(connection, message, self.tables)
        if not isinstance(session, Connection):
            # Also a scoped session, as Flask-SQLAlchemy's.
            session = session.connection()
        return insert_message(session, message, self.tables)

    def worker(self, mailers: Mailer | Mapping[str, Mailer] | Deliver, **options: Any) -> Worker:
        """A `Worker` that sends by a Mailer, by one for each alias, or by a `Deliver`.

        ``options`` are those of `Worker`.
        """
        if isinstance(mailers, Mailer | Mapping):
            mailers = MailerDelivery(mailers, self.blobs)
        surroundings = getattr(mailers, "rendering_context", nullcontext)
        deliver = RenderedDelivery(mailers, surroundings)
        return Worker(self.store, deliver, policy=self.policy, **options)

    def resend(self, id: UUID | str, *, by: str = "", everyone: bool = False) -> bool:
        """Send a message again, to those who do not have it for certain; see `resent`.

        False where its state changed in this moment.

        Raises:
            ValueError: no message has this id, or its state does not allow it.
        """
        return self._apply(resent(self._get(id), by=by, everyone=everyone))

    def cancel(self, id: UUID | str, *, by: str = "") -> bool:
        """Cancel a message, which is possible until its end is about to leave; see `cancelled`.

        False where its state changed in this moment.

        Raises:
            ValueError: no message has this id, or its state does not allow it.
        """
        return self._apply(cancelled(self._get(id), by=by))

    def resolve(self, id: UUID | str, *, arrived: bool, by: str = "", text: str = "") -> bool:
        """Say what became of a message whose outcome is unknown; see `resolved`.

        False where its state changed in this moment.

        Raises:
            ValueError: no message has this id, or its outcome is known.
        """
        return self._apply(resolved(self._get(id), arrived=arrived, by=by, text=text))

    def settle_by_report(self, report: BounceReport) -> int:
        """As `settle_unknown`, by what `parse_bounce` returned; how many recipients it settled."""
        return settle_by_report(self.store, report)

    def settle_unknown(
        self, id: UUID | str, recipient: str, outcome: Outcome | str, source: str = ""
    ) -> bool:
        """Say what a report of delivery says about one recipient whose outcome is unknown.

        For ``on_unknown="ask"``: the report (RFC 3464) has the message's id as its
        Original-Envelope-Id. ``outcome`` is ``"accepted"`` or ``"refused"``, ``source`` what said
        so, for the message's history; see `settled`. Reports may come twice, or late: False
        where there is nothing to settle.

        Raises:
            ConfigurationError: ``outcome`` is neither.
        """
        return settle_unknown(self.store, id, recipient, outcome, source)

    def prune(self, *, older_than: float, states: Iterable[State] | None = None) -> int:
        """Delete messages in these states, unchanged for so many seconds, and unused blobs.

        By default those that were accepted, refused, cancelled or expired. Returns the number of
        messages.
        """
        if not older_than >= 0:
            raise ConfigurationError(
                f"older_than must be a number of seconds from 0, got {older_than!r}"
            )
        chosen = FINAL - {State.UNKNOWN, State.PARKED} if states is None else frozenset(states)
        pruned = 0
        while count := self.store.prune(states=chosen, older_than=older_than):
            pruned += count
        if self.blobs is not None:
            for digest in list(self.blobs.digests(_BLOB_AGE)):
                # Whoever stores the same content in between makes the blob new.
                if not self.store.blobs_in_use([digest]):
                    self.blobs.delete(digest, _BLOB_AGE)
        return pruned

    def close(self) -> None:
        """Close the connections of this outbox; those of an engine that was given stay."""
        if self._store is not None:
            self._store.close()
        self._database.close()

    def _get(self, id: UUID | str) -> OutboxMessage:
        message = self.store.get(UUID(str(id)))
        if message is None:
            raise ValueError(f"there is no message {id}: it was pruned, or the id is another one's")
        return message

    def _apply(self, change: Change) -> bool:
        return self.store.record(change)
