"""A message on its way: checked, sent, and those told who listen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask

from flask_integration.addresses import Address
from flask_integration.backends import local_receipt
from flask_integration.posting import Posting, prepare
from flask_integration.signals import email_dispatched, email_failed, email_sent
from mailbackends import Receipt

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["deliver", "deliver_many", "suppressed"]


def deliver(
    app: Flask,
    state: MailState,
    message: Any,
    envelope_from: Address | None,
    send: Callable[[Posting], Receipt],
) -> Receipt:
    """Check ``message``, send it by ``send``, tell those who listen. Raises what stops it."""
    try:
        receipt = send(prepare(message, state, envelope_from))
    except Exception as error:
        email_failed.send(app, message=message, error=error)
        raise
    _tell(app, message, receipt)
    return receipt


def suppressed(posting: Posting) -> Receipt:
    """In place of sending, where that is suppressed."""
    return local_receipt(posting, "not sent: sending is suppressed")


def _tell(app: Flask, message: Any, outcome: Receipt | Exception) -> None:
    if isinstance(outcome, Exception):
        email_failed.send(app, message=message, error=outcome)
        return
    if email_dispatched.receivers:
        email_dispatched.send(app, message=message)
    if email_sent.receivers:
        email_sent.send(app, message=message, receipt=outcome)


def deliver_many(
    app: Flask, state: MailState, messages: Iterable[Any]
) -> Iterator[Receipt | Exception]:
    """One outcome for each message, in order, as they are asked for."""
    # What was read but has no outcome yet, in order; those that failed their check have.
    read: deque[tuple[Any, Exception | None]] = deque()

    def check() -> Iterator[Posting]:
        for message in messages:
            try:
                posting = prepare(message, state)
            except Exception as error:
                read.append((message, error))
            else:
                read.append((message, None))
                yield posting

    def failed() -> Iterator[Exception]:
        while read and (error := read[0][1]) is not None:
            _tell(app, read.popleft()[0], error)
            yield error

    backend = state.active_backend
    outcomes = backend.send_many(check()) if backend else map(suppressed, check())
    for outcome in outcomes:
        yield from failed()
        _tell(app, read.popleft()[0], outcome)
        yield outcome
    yield from failed()
