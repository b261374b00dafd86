"""Messages sent by a backend that is not ours, which cannot say when the end of one leaves.

So each message has begun before the backend gets it. Certain are then only a reply of the server,
and what happens before: a message that cannot be prepared, or begun, was not sent.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailbackends.errors import (
    BeforeEndError,
    InvalidMessageError,
    Outcome,
    SMTPException,
    SMTPRecipientsRefused,
)
from mailbackends.mailer.submission import Receipt
from mailbackends.outbox.blobs import BlobStore
from mailbackends.outbox.content import whole_content
from mailbackends.outbox.delivery import Hooks, Result
from mailbackends.outbox.values import OutboxMessage
from mailbackends.reply import Reply

__all__ = ["send_by"]


def send_by(
    send: Callable[[OutboxMessage, Any], Receipt | Exception],
    messages: Iterator[OutboxMessage],
    hooks: Hooks,
    *,
    prepare: Callable[[OutboxMessage, bytes], Any],
    blobs: BlobStore | None = None,
) -> Iterator[Sequence[Result]]:
    """Send each message, as `Deliver.deliver`.

    ``prepare`` makes what the backend sends from a message and its whole content, and ``send``
    sends it. What ``prepare`` raises parks the message; what ``send`` raises, and does not say
    what became of it, leaves the outcome unknown.
    """
    for message in messages:
        yield ((message, _sent(send, message, hooks, prepare, blobs)),)


def _sent(
    send: Callable[[OutboxMessage, Any], Receipt | Exception],
    message: OutboxMessage,
    hooks: Hooks,
    prepare: Callable[[OutboxMessage, bytes], Any],
    blobs: BlobStore | None,
) -> Receipt | Exception:
    try:
        made = prepare(message, whole_content(message, blobs))
    except SMTPException as error:
        return error
    except Exception as error:
        text = f"the message cannot be prepared: {type(error).__name__}: {error}"
        return InvalidMessageError(text)
    try:
        hooks.before_end([message])
    except Exception as error:
        failure = BeforeEndError(f"before_end raised {type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure
    try:
        return send(message, made)
    except Exception as error:
        return _explained(error)


def _explained(error: Exception) -> Exception:
    """The error with the outcome that it shows for certain; else the outcome is unknown."""
    if getattr(error, "outcome", None) is not None:
        return error
    failure: SMTPException
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        failure = SMTPRecipientsRefused(error.recipients)
    elif isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError):
        failure = SMTPException(f"{type(error).__name__}: {error}")
        failure.reply = Reply.of(error.smtp_code, error.smtp_error)
    elif isinstance(error, SMTPException):
        # The root of ours without an outcome: only the backend knows what it has sent.
        failure = SMTPException(f"{type(error).__name__}: {error}")
        failure.outcome = Outcome.UNKNOWN
        failure.__cause__ = error
        return failure
    else:
        return error
    failure.outcome = Outcome.REFUSED
    failure.__cause__ = error
    return failure
