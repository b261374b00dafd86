"""What people do with messages in the outbox: send again, cancel, resolve, erase, prune."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from django_integration.outbox import models
from django_integration.outbox.blobs import blob_store
from django_integration.outbox.configuration import outbox_database, outbox_settings
from django_integration.outbox.rendering import render_django_message
from django_integration.outbox.store import DjangoStore
from mailbackends import Outcome
from mailbackends.outbox import (
    FINAL,
    Change,
    OutboxMessage,
    State,
    cancelled,
    resent,
    resolved,
    source_of,
)
from mailbackends.outbox import settle_unknown as settle_in
from mailbackends.outbox.rendering import rendered

__all__ = [
    "ACTS",
    "cancel",
    "count_of",
    "erase",
    "find_ids",
    "outbox_store",
    "prune",
    "read_content",
    "resend",
    "resolve",
    "settle_unknown",
    "was",
]

_DAY = 86400.0


def outbox_store() -> DjangoStore:
    """A store over the outbox's database."""
    return DjangoStore(outbox_database())


def resend(id: UUID, *, by: str, everyone: bool = False) -> None:
    """Send a message again: to the recipients who do not have it for certain, or to everyone.

    Raises:
        ValueError: a worker has it, its content was erased, or everyone has it.
    """

    def decide(message: OutboxMessage) -> Change:
        if not message.content and not message.blobs:
            raise ValueError("the content was erased: the message cannot be sent again")
        return resent(message, by=by, everyone=everyone)

    _apply(id, decide)


def cancel(id: UUID, *, by: str) -> None:
    """Cancel a message that is not being sent yet. Raises ValueError if it is too late."""
    _apply(id, lambda message: cancelled(message, by=by))


def resolve(id: UUID, *, arrived: bool, by: str) -> None:
    """Say what became of a message whose outcome is unknown.

    Raises:
        ValueError: its outcome is known.
    """
    _apply(id, lambda message: resolved(message, arrived=arrived, by=by))


def settle_unknown(
    id: UUID | str, recipient: str, outcome: Outcome | str, source: str = ""
) -> bool:
    """Say what a report of delivery says about one recipient whose outcome is unknown.

    For ``on_unknown="ask"``: the report (RFC 3464) has the message's id as its
    Original-Envelope-Id. ``outcome`` is ``"accepted"`` (it was delivered, relayed or expanded) or
    ``"refused"`` (it failed), ``source`` what said so, for the message's history. Reports may come
    twice, or late: False where there is nothing to settle.

    Raises:
        ConfigurationError: ``outcome`` is neither.
    """
    return settle_in(outbox_store(), id, recipient, outcome, source)


def erase(id: UUID, *, by: str) -> None:
    """Erase the content of a message in a final state, and keep its outcome.

    Raises:
        ValueError: its state is not final.
    """
    store = outbox_store()
    message = _found(store, id)
    if message.state not in FINAL:
        raise ValueError(f"a message that is {message.state} is still to be sent: cancel it first")
    store.erase_content(id)
    _log(store, id, "content erased", by)


def read_content(id: UUID, *, by: str) -> bytes:
    """The whole message as it is sent. Who read it is recorded in its history.

    Raises:
        ValueError: no message has this id, or its content was erased.
        SMTPException: a part in a blob cannot be read, or rendering it failed.
    """
    store = outbox_store()
    message = _found(store, id)
    if not message.content and not message.blobs:
        raise ValueError("the content was erased")
    made = rendered(message, render_django_message)
    content = b"".join(source_of(made, blob_store()))
    _log(store, id, "content read", by)
    return content


def find_ids(text: str) -> list[UUID]:
    """The messages with this id, key, Message-ID, or recipient's address."""
    messages = outbox_store().messages
    try:
        return list(messages.filter(id=UUID(text)).values_list("id", flat=True))
    except ValueError:
        pass
    found = messages.filter(key=text) or messages.filter(message_id=text)
    found = found or messages.filter(recipients__address=text).distinct()
    return [row.id for row in found.defer("content")]


def prune(store: DjangoStore, *, keep: dict[State, float] | None = None) -> Iterator[int]:
    """Delete old messages, by the setting ``keep``, and blobs that nothing refers to.

    Yields the number that each transaction deleted.
    """
    days = outbox_settings().keep if keep is None else keep
    for state, limit in days.items():
        while count := store.prune(states=[state], older_than=limit * _DAY):
            yield count
    blobs = blob_store()
    if blobs is None:
        return
    # A day: a transaction that has stored a blob may still be open.
    old = list(blobs.digests(_DAY))
    used = store.blobs_in_use(old) if old else set()
    for digest in old:
        if digest not in used:
            # Whoever has stored the same content since then has made the blob new.
            blobs.delete(digest, _DAY)


def _apply(id: UUID, decide: Callable[[OutboxMessage], Change]) -> None:
    store = outbox_store()
    if not store.record(decide(_found(store, id))):
        raise ValueError("the message has changed meanwhile: look at it again")


def _found(store: DjangoStore, id: UUID) -> OutboxMessage:
    message = store.get(id)
    if message is None:
        raise ValueError(f"there is no message {id}: it may have been pruned")
    return message


def _log(store: DjangoStore, id: UUID, kind: str, by: str) -> None:
    models.LogEntry.objects.using(store.using).create(
        message_id=id, at=store.now(), kind=kind, by=by
    )


def count_of(count: int) -> str:
    """So many messages, in words."""
    return "1 message" if count == 1 else f"{count} messages"


def was(count: int) -> str:
    """The verb for so many messages."""
    return "was" if count == 1 else "were"


ACTS: dict[str, tuple[Callable[[UUID, str], None], Callable[[int], str]]] = {
    "resend": (lambda id, by: resend(id, by=by), lambda _: "will be sent again"),
    "everyone": (
        lambda id, by: resend(id, by=by, everyone=True),
        lambda _: "will be sent again to all recipients",
    ),
    "cancel": (
        lambda id, by: cancel(id, by=by),
        lambda count: f"{was(count)} cancelled",
    ),
    "arrived": (
        lambda id, by: resolve(id, arrived=True, by=by),
        lambda count: f"{was(count)} marked as arrived",
    ),
    "missing": (
        lambda id, by: resolve(id, arrived=False, by=by),
        lambda count: f"{was(count)} marked as not arrived",
    ),
    "erase": (
        lambda id, by: erase(id, by=by),
        lambda count: f"{'has' if count == 1 else 'have'} no content any more",
    ),
}
"""What a button or an action does, and what is said about so many messages afterwards."""
