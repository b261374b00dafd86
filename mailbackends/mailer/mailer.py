"""The Mailer for threads: it sends messages to one server or several, over pooled connections."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator
from email.message import Message
from typing import Any

from mailbackends.mailer.base import BaseMailer
from mailbackends.mailer.batch import (
    Items,
    PipelinedBatch,
    Result,
    Sendable,
    as_submission,
    as_values,
    in_order,
)
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.router import Router, as_outcome
from mailbackends.mailer.server import PinnedLeases
from mailbackends.mailer.submission import BeforeEnd, Receipt, Submission
from mailbackends.mailer.upkeep import ThreadKeeper
from mailbackends.message import Email
from mailbackends.pool import Pool
from mailbackends.pool.base import BasePool
from mailbackends.transport.waiting import BLOCKING, Waiter, run

__all__ = ["Mailer", "PinnedConnection"]


class Mailer(BaseMailer[ThreadKeeper]):
    """Sends messages. Make one per process and configuration, for all threads.

    ``server`` is a URL (see `mailbackends.mailer.url`) or `Options`; keyword arguments are
    the fields of `Options` and take precedence. Nothing connects before the first message, or
    `warm_up`.
    ``on_event`` is called with each `mailbackends.events.Event`.

    With a list of servers, a message that one did not take for now is tried at the next:
    whatever certainly was not sent, or was refused with a temporary code. ``strategy`` says
    which comes first: the first of the list (``"ordered"``), or each in turn
    (``"round_robin"``). A server that failed several times in a row comes last for a while.
    Keyword arguments are for all of them.

    Raises:
        ConfigurationError: an option is unknown, unusable or contradicts another.
    """

    def _set_up(self) -> tuple[Waiter, type[BasePool[Connection]], type[ThreadKeeper]]:
        return BLOCKING, Pool, ThreadKeeper

    def send_message(
        self,
        msg: Message[Any, Any] | Email | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        before_end: BeforeEnd | None = None,
        stream: str | None = None,
    ) -> Receipt:
        """Send one message, and return what the server took responsibility for.

        Sender and recipients come from the message's fields where they are not given
        (RFC 5322 section 3.6): Sender or From; To, Cc and Bcc. Bcc is never transmitted.
        A message as bytes goes as it is, line ends apart, and needs both given.
        ``mail_options`` and ``rcpt_options`` are parameters such as ``"RET=HDRS"``.

        ``before_end`` is called with the list of `Submission` whose content is about to end,
        before the last byte of it may leave: until it returns, nobody can have the message. So
        a program that notes it durably knows after a crash whether it may send again. It is
        called for each attempt, for several messages at once where they go in one flight. If
        it raises, the message is not sent.

        ``stream``, such as ``"newsletter"``, is what the option ``suppression`` is asked for:
        recipients on the list are left out, see `Receipt.suppressed`.

        Raises:
            InvalidAddressError, InvalidMessageError: before a byte was sent.
            RecipientsSuppressed: the suppression list has all recipients. Nothing was sent.
            BeforeEndError: ``before_end`` raised.
            SMTPException: ``outcome`` says what became of the message.
        """
        submission = Submission(
            *(msg, from_addr, to_addrs, mail_options, rcpt_options),
            before_end=before_end,
            stream=stream,
        )
        return run(self._router.send(submission))

    def send_messages(
        self, messages: Iterable[Message[Any, Any] | Email | Submission]
    ) -> list[Receipt | Exception]:
        """Send all messages now, and return a `Receipt` or the exception for each, in order.

        A refusal does not stop the rest. The iterable is read to its end before the first
        message is sent: one that raises sends nothing. A suppression list is asked once for all
        of them. `stream_messages` reads it message by message, and is the one to use where not
        all of them fit in memory.
        """
        given: list[Any] = [as_values(as_submission(each)) for each in messages]
        if self._router.suppresses:
            given = run(self._router.ask_for_all(given))
        return list(self.stream_messages(given))

    def stream_messages(
        self, messages: Iterable[Message[Any, Any] | Email | Submission]
    ) -> Iterator[Receipt | Exception]:
        """Send each message, and yield its `Receipt` or the exception, in order.

        An iterable of any length, or without end, is read as it is sent; nothing is sent
        before the result is iterated over. A refusal does not stop the rest. Where the
        iterable raises, the outcomes of the messages before are yielded first. With the
        option ``batch_connections`` so many messages are sent side by side, with
        ``batch_pipeline`` so many are in flight on one connection.
        """
        if self._may_pipeline:
            return self._pipelined(messages, PipelinedBatch.next_outcome)
        return in_order(self._outcome, messages, self.options.batch_connections)

    def stream_groups(
        self, messages: Iterable[Message[Any, Any] | Email | Submission]
    ) -> Iterator[list[Receipt | Exception]]:
        """As `stream_messages`, with the outcomes that are known in the same moment in one list.

        A program that stores outcomes stores those of a list together, before the next ones are
        waited for. There is more than one in a list with ``batch_pipeline``.
        """
        if self._may_pipeline:
            return self._pipelined(messages, PipelinedBatch.next_outcomes)
        return ([outcome] for outcome in self.stream_messages(messages))

    @contextlib.contextmanager
    def hold(self) -> Iterator[PinnedConnection]:
        """Keep one connection of the pool for the block, taken at the first message."""
        pinned = PinnedConnection(self._router)
        try:
            yield pinned
        finally:
            pinned.give_back()

    def open(self) -> bool:
        """Make sure that a connection is ready. Returns True if one had to be opened.

        Raises:
            SMTPException: as `send_message`, where none can be opened.
        """
        return run(self._router.open())

    def warm_up(self, timeout: float = 0.0) -> int:
        """Begin to open ``min_idle`` connections now, and not at the first message.

        Call it where a worker starts, after the fork. Returns how many are ready: at once, or
        after ``timeout`` seconds at the latest where that is given. A server that cannot be
        reached raises nothing; it is tried again in the background.

        Raises:
            ConfigurationError: ``min_idle`` is 0.
        """
        return self._keeper_for_warm_up().warm_up(timeout)

    def close(self) -> None:
        """Close idle connections now and the others when they are released; send no more."""
        if self._keeper is not None:
            self._keeper.stop()
        for server in self._servers:
            server.pool.close()

    def __enter__(self) -> Mailer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _outcome(self, item: Sendable) -> Receipt | Exception:
        try:
            return run(self._router.send(as_submission(item)))
        except Exception as error:
            return as_outcome(error)

    def _pipelined(
        self,
        messages: Iterable[Message[Any, Any] | Email | Submission],
        take: Callable[[PipelinedBatch], Coroutine[Any, Any, Result]],
    ) -> Iterator[Result]:
        batch = PipelinedBatch(self._router, self._servers[0])
        items = Items(as_values(as_submission(each)) for each in messages)
        try:
            for item in items:
                batch.add(item)
                if batch.is_full:
                    yield run(take(batch))
            while not batch.is_empty:
                yield run(take(batch))
            if items.failure is not None:
                raise items.failure
        finally:
            run(batch.close())


class PinnedConnection:
    """A connection of the pool for one caller, until the block ends. Not thread-safe.

    One that breaks, or has carried as many messages as it may, is replaced by another.
    With several servers, one connection to each that was needed is kept.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._leases = PinnedLeases()

    def send_message(
        self,
        msg: Message[Any, Any] | Email | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
        *,
        before_end: BeforeEnd | None = None,
        stream: str | None = None,
    ) -> Receipt:
        """As `Mailer.send_message`, over the pinned connection."""
        submission = Submission(
            *(msg, from_addr, to_addrs, mail_options, rcpt_options),
            before_end=before_end,
            stream=stream,
        )
        return run(self._router.send(submission, self._leases))

    def send_submission(self, submission: Submission) -> Receipt:
        """As `send_message`, with the arguments in one value."""
        return run(self._router.send(submission, self._leases))

    def open(self) -> bool:
        """Take the connection now. Returns True if a new one had to be opened.

        Raises:
            SMTPException: as `send_message`, where none can be opened.
        """
        return run(self._router.open(self._leases))

    def give_back(self) -> None:
        """Return the connection to the pool."""
        run(self._leases.give_back())
