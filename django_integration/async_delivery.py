"""One call of ``asend_messages()``: as `Delivery`, awaited in the running event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.dispatch import Signal

from django_integration.attachments import as_django_message
from django_integration.configuration import Configuration, InvalidConfiguration
from django_integration.delivery import _SIGNAL_FAILED, Delivery, Result, _Entry
from django_integration.logs import logger, sending
from django_integration.messages import RawEmailMessage
from django_integration.registry import MailerKey, async_registry
from django_integration.rendering import Rendering
from django_integration.signals import pre_send
from django_integration.staging import Staging
from mailbackends import AsyncMailer, Email, Submission
from mailbackends.integration import settle_in_background, settle_when_known

__all__ = ["AsyncDelivery", "AsyncSending"]

# Writing this much takes about a millisecond.
_SHORT = 50_000  # in characters


class AsyncDelivery(Delivery):
    """What `Delivery` decides, with signals and messages awaited."""

    async def asend_by_mailer(
        self, mailer: AsyncMailer, messages: Iterable[EmailMessage | Email]
    ) -> None:
        """See `Delivery.send_by_mailer`.

        Raises:
            CancelledError: with ``outcome`` and ``results``; see `mailbackends.AsyncMailer`. Each
                message that the Mailer had gets its result, and the signal for it, when it is
                known. Until then its ``send_error`` is this error.
        """
        self._options = mailer.options
        if self._options.suppression is not None:
            messages = list(messages)
            await sync_to_async(self._ask)(self._options.suppression, messages)
        waiting: deque[_Entry] = deque()
        submissions = self._asubmissions(messages, waiting)
        async with (
            aclosing(submissions),
            aclosing(mailer.stream_messages(submissions)) as results,
        ):
            try:
                async for result in results:
                    await self._asettle(waiting.popleft(), result)
            except asyncio.CancelledError as error:
                if waiting and not hasattr(error, "results"):
                    # It came while a signal was sent. The Mailer has further messages.
                    with suppress(asyncio.CancelledError):
                        await results.athrow(error)
                with suppress(asyncio.CancelledError):
                    await self._settle_later(waiting, error)
                raise

    async def _settle_later(self, waiting: deque[_Entry], error: asyncio.CancelledError) -> None:
        """Settle the messages that have no result yet, now or when it is known.

        Nothing is awaited before all of them are noted: the task may be cancelled again.
        """
        now = []
        for result in getattr(error, "results", ()):
            entry = waiting.popleft()
            if not result.done():
                self._leave(entry, error)
                settle_when_known(result, partial(self._asettle, entry), error)
            elif to_send := self._record(entry, result.result()):
                now.append(settle_in_background(self._apublish(entry, *to_send)))
        if now:
            await asyncio.wait(now)

    async def _asubmissions(
        self, messages: Iterable[EmailMessage | Email], waiting: deque[_Entry]
    ) -> AsyncGenerator[Submission, None]:
        for given in messages:
            message = as_django_message(given) if isinstance(given, Email) else given
            entry = _Entry(message)
            self._entries.append(entry)
            unreachable = self._unreachable and self._still_unreachable()
            prepared = unreachable or await self._aprepare(message)
            if isinstance(prepared, Exception):
                await self._asettle(entry, prepared)
            else:
                waiting.append(entry)
                yield prepared

    async def _aprepare(self, message: EmailMessage) -> Submission | Exception:
        if pre_send.receivers:
            try:
                await pre_send.asend(**self._arguments(message))
            except Exception as error:
                return error
        if _is_quick(message) and self._lookup is None:
            return self._build(message)
        # Large messages would stop the loop; an application's own class may use the ORM, and the
        # suppression list does.
        return await sync_to_async(self._build)(message)

    async def _asettle(self, entry: _Entry, result: Result) -> None:
        if (to_send := self._record(entry, result)) is None:
            return
        signal, more = to_send
        await asyncio.shield(settle_in_background(self._apublish(entry, signal, more)))

    async def _apublish(self, entry: _Entry, signal: Signal, more: dict[str, Any]) -> None:
        """In a task: all receivers of a settled message are called, even if its caller leaves."""
        try:
            await signal.asend_robust(**self._arguments(entry.message), **more)
        except Exception:
            logger.exception(_SIGNAL_FAILED)
        self._apply_policy(entry)


class AsyncSending(ABC):
    """The part of `EmailBackend` that sends in an event loop."""

    alias: str | None
    fail_silently: bool
    staging: Staging
    rendering: Rendering
    on_partial_refusal: str
    on_suppressed: str

    _configuration: Configuration | InvalidConfiguration

    @property
    @abstractmethod
    def mailer_key(self) -> MailerKey:
        """See `EmailBackend`."""

    @abstractmethod
    def send_messages(self, email_messages: Iterable[EmailMessage | Email]) -> int:
        """See `EmailBackend`."""

    @abstractmethod
    def _is_extended(self) -> bool: ...

    @abstractmethod
    def _overrides(self, *names: str) -> bool: ...

    async def asend_messages(self, email_messages: Iterable[EmailMessage | Email]) -> int:
        """As `send_messages`, awaited in the running event loop, by an `AsyncMailer`.

        A subclass that extends how messages are sent, and has no ``asend_messages()`` itself,
        sends in the thread that Django uses for synchronous code.

        Raises: as `send_messages`; CancelledError, with ``outcome``.
        """
        if not email_messages:
            return 0
        is_native = type(self).asend_messages is not AsyncSending.asend_messages
        is_native = is_native or not self._overrides(
            "send_messages", "_send_all", "_send_pooled", "_send_through"
        )
        if not is_native or self._is_extended():
            return int(await sync_to_async(self.send_messages)(email_messages) or 0)
        with sending() as silently:
            try:
                delivery = AsyncDelivery(self)
                async with async_registry.mailer(self.mailer_key) as mailer:
                    await delivery.asend_by_mailer(mailer, email_messages)
                return delivery.finish()
            except Exception:
                if silently:
                    return 0
                raise


def _is_quick(message: EmailMessage) -> bool:
    """True for a message that is written at once, from values that need no evaluation."""
    if type(message) is RawEmailMessage:
        return True
    if type(message) not in (EmailMessage, EmailMultiAlternatives) or message.attachments:
        return False
    texts = [message.subject, message.body]
    texts += [content for content, _ in getattr(message, "alternatives", ())]
    return all(type(text) is str for text in texts) and sum(map(len, texts)) <= _SHORT
