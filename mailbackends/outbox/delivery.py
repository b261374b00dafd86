"""How a worker sends: by a `Mailer` for each alias, or by anything else that has this form."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from mailbackends.suppression.store import SuppressionList

__all__ = ["Deliver", "Hooks", "MailerDelivery", "Result"]

Result = tuple[OutboxMessage, Receipt | Exception]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a worker has called while messages are sent."""

    before_end: Callable[[Sequence[OutboxMessage]], None]
    """Called with messages before the end of their contents may leave. If it raises, they are not
    sent."""
    after_part: Callable[[OutboxMessage, Receipt], None]
    """Called once a server has taken a message for some recipients, while others are left."""


class Deliver(Protocol):
    """Sends messages. Thread-safe.

    It may have a method ``suppression(alias)`` that returns the suppression list of an alias, or
    None. A worker asks that once for each stream of a batch; the answers are in
    `OutboxMessage.suppressed`.
    """

    @property
    def aliases(self) -> Sequence[str]:
        """The aliases that it can send for: a worker claims no others."""

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        """Send each message, and yield it with its receipt or exception as soon as it is known.

        Results that are known in the same moment are yielded together, and no others: the worker
        commits them before it asks for more. ``messages`` is read as they are sent, and ends early
        if the worker shall stop: each message that was taken from it gets a result. Before the end
        of a content may leave, `Hooks.before_end` is called with the messages concerned; if it
        raises, they are not sent, and the result is a `BeforeEndError`. A backend that cannot tell
        when the end leaves calls it before it sends anything. Exceptions other than an
        `SMTPException` have an attribute ``outcome``, or mean that the outcome is unknown.
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

    def suppression(self, alias: str) -> SuppressionList | None:
        """The suppression list of that Mailer; see `Deliver`."""
        return self._mailers[alias].options.suppression

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        """See `Deliver.deliver`."""
        mailer = self._mailers[alias]
        first = mailer.servers[0]
        if first.batch_pipeline > 1 and len(mailer.servers) == 1 and first.rate is None:
            yield from self._pipelined(mailer, messages, hooks)
            return
        # By hand, and not side by side in a batch, which returns outcomes in order: here each
        # is recorded before the next message is sent.
        with mailer.hold() as pinned:
            for message in messages:
                yield ((message, self._send(pinned, message, hooks)),)

    def _send(
        self, pinned: PinnedConnection, message: OutboxMessage, hooks: Hooks
    ) -> Receipt | Exception:
        has_begun = False

        def begin(_: list[Submission]) -> None:
            nonlocal has_begun
            has_begun = True
            hooks.before_end([message])

        def after_part(_: Submission, receipt: Receipt) -> None:
            nonlocal has_begun
            # Those who are left have not begun.
            has_begun = False
            hooks.after_part(message, receipt)

        def send(submission: Submission) -> Receipt:
            return pinned.send_submission(
                replace(submission, before_end=begin, after_part=after_part)
            )

        try:
            submission = self._prepared(message, asks=True)
            try:
                return send(submission)
            except SMTPNotSupportedError as error:
                if not _asked_in_vain(message, error):
                    raise
                return send(self._prepared(message, asks=False))
        except SMTPException as error:
            return error
        except Exception as error:
            # From a token provider, for example: the next message must not wait for it.
            outcome = Outcome.UNKNOWN if has_begun else Outcome.NOT_SENT
            vars(error).setdefault("outcome", outcome)
            return error

    def _pipelined(
        self, mailer: Mailer, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        taken: deque[OutboxMessage] = deque()
        unprepared: deque[Result] = deque()

        def begin(submissions: list[Submission]) -> None:
            hooks.before_end([each.reference for each in submissions])

        def after_part(submission: Submission, receipt: Receipt) -> None:
            hooks.after_part(submission.reference, receipt)

        def submissions() -> Iterator[Submission]:
            for message in messages:
                try:
                    submission = self._prepared(
                        message, before_end=begin, after_part=after_part, reference=message
                    )
                except SMTPException as error:
                    unprepared.append((message, error))
                else:
                    taken.append(message)
                    yield submission

        for outcomes in mailer.stream_groups(submissions()):
            results = [*unprepared, *((taken.popleft(), outcome) for outcome in outcomes)]
            unprepared.clear()
            again = [each for each in results if _asked_in_vain(*each)]
            # The others are committed first: this waits for the server.
            yield [each for each in results if each not in again]
            for message, _ in again:
                with mailer.hold() as pinned:
                    result = self._send(pinned, message, hooks)
                yield ((message, result),)
        yield tuple(unprepared)

    def _prepared(self, message: OutboxMessage, **fields: Any) -> Submission:
        try:
            return submission_of(message, self._blobs, **fields)
        except SMTPException:
            raise
        except Exception as error:
            # A row that another version wrote, say: it must not stop the others.
            text = f"the message cannot be prepared: {type(error).__name__}: {error}"
            raise InvalidMessageError(text) from error


def _asked_in_vain(message: OutboxMessage, outcome: Receipt | Exception) -> bool:
    """True for a server without DSN: nobody can be asked, and the message is worth more."""
    return message.on_unknown is OnUnknown.ASK and isinstance(outcome, SMTPNotSupportedError)
