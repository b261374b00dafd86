"""How a worker sends: by a `Mailer` for each alias, or by anything else that has this form."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from mailbackends.errors import (
    ConfigurationError,
    InvalidMessageError,
    Outcome,
    SMTPException,
    SMTPNotSupportedError,
)
from mailbackends.mailer.mailer import Mailer, PinnedConnection
from mailbackends.mailer.submission import Receipt, Submission
from mailbackends.outbox.blobs import BlobStore
from mailbackends.outbox.content import submission_of
from mailbackends.outbox.values import OnUnknown, OutboxMessage

__all__ = ["BeforeEndOfMessages", "Deliver", "MailerDelivery", "Result"]

Result = tuple[OutboxMessage, Receipt | Exception]
BeforeEndOfMessages = Callable[[Sequence[OutboxMessage]], None]


class Deliver(Protocol):
    """Sends messages. Thread-safe."""

    @property
    def aliases(self) -> Sequence[str]:
        """The aliases that it can send for: a worker claims no others."""

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], before_end: BeforeEndOfMessages
    ) -> Iterator[Result]:
        """Send each message, and yield it with its receipt or exception as soon as it is known.

        ``messages`` is read as they are sent, and ends early if the worker shall stop: each
        message that was taken from it gets a result. Before the end of a content may leave,
        ``before_end`` is called with the messages concerned; if it raises, they are not sent,
        and the result is a `BeforeEndError`. A backend that cannot tell when the end leaves
        calls it before it sends anything. Exceptions that are no `SMTPException` have an
        attribute ``outcome``, or mean that the outcome is unknown.
        """


class MailerDelivery:
    """Sends by a `Mailer` for each alias, streaming the large parts from their blobs."""

    def __init__(
        self, mailers: Mailer | Mapping[str, Mailer], blobs: BlobStore | None = None
    ) -> None:
        """One mailer sends for the alias ``"default"``."""
        self._mailers = {"default": mailers} if isinstance(mailers, Mailer) else dict(mailers)
        self._blobs = blobs
        for alias, mailer in self._mailers.items():
            if not isinstance(mailer, Mailer):
                raise ConfigurationError(
                    f"the mailer {alias!r} must be a Mailer, got {type(mailer).__name__}: a worker "
                    "is made of threads"
                )

    @property
    def aliases(self) -> Sequence[str]:
        """See `Deliver.aliases`."""
        return tuple(self._mailers)

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], before_end: BeforeEndOfMessages
    ) -> Iterator[Result]:
        """See `Deliver.deliver`."""
        mailer = self._mailers[alias]
        first = mailer.servers[0]
        if first.batch_pipeline > 1 and len(mailer.servers) == 1 and first.rate is None:
            yield from self._pipelined(mailer, messages, before_end)
            return
        # By hand, and not side by side in a batch, which returns outcomes in order: here each
        # is recorded before the next message is sent.
        with mailer.hold() as pinned:
            for message in messages:
                yield message, self._send(pinned, message, before_end)

    def _send(
        self, pinned: PinnedConnection, message: OutboxMessage, before_end: BeforeEndOfMessages
    ) -> Receipt | Exception:
        has_begun = False

        def begin(messages: Sequence[OutboxMessage]) -> None:
            nonlocal has_begun
            has_begun = True
            before_end(messages)

        send = partial(_send_over, pinned, message, begin)
        try:
            submission = self._prepared(message, asks=True)
            try:
                return send(submission)
            except SMTPNotSupportedError:
                if message.on_unknown is not OnUnknown.ASK:
                    raise
                # Without DSN nobody can be asked, and the message is worth more than that.
                return send(self._prepared(message, asks=False))
        except SMTPException as error:
            return error
        except Exception as error:
            # From a token provider, for example: the next message must not wait for it.
            outcome = Outcome.UNKNOWN if has_begun else Outcome.NOT_SENT
            vars(error).setdefault("outcome", outcome)
            return error

    def _pipelined(
        self, mailer: Mailer, messages: Iterator[OutboxMessage], before_end: BeforeEndOfMessages
    ) -> Iterator[Result]:
        taken: deque[OutboxMessage] = deque()
        unprepared: deque[Result] = deque()

        def hook(submissions: list[Submission]) -> None:
            before_end([each.reference for each in submissions])

        def submissions() -> Iterator[Submission]:
            for message in messages:
                try:
                    submission = self._prepared(message, before_end=hook, reference=message)
                except SMTPException as error:
                    unprepared.append((message, error))
                else:
                    taken.append(message)
                    yield submission

        for outcome in mailer.stream_messages(submissions()):
            message = taken.popleft()
            if isinstance(outcome, SMTPNotSupportedError) and message.on_unknown is OnUnknown.ASK:
                with mailer.hold() as pinned:
                    outcome = self._send(pinned, message, before_end)
            yield message, outcome
            while unprepared:
                yield unprepared.popleft()
        yield from unprepared

    def _prepared(self, message: OutboxMessage, **fields: Any) -> Submission:
        try:
            return submission_of(message, self._blobs, **fields)
        except SMTPException:
            raise
        except Exception as error:
            # A row that another version wrote, say: it must not stop the others.
            text = f"the message cannot be prepared: {type(error).__name__}: {error}"
            raise InvalidMessageError(text) from error


def _send_over(
    pinned: PinnedConnection,
    message: OutboxMessage,
    before_end: BeforeEndOfMessages,
    submission: Submission,
) -> Receipt:
    def hook(_: list[Submission]) -> None:
        before_end([message])

    return pinned.send_submission(replace(submission, before_end=hook))
