"""Exceptions that the backend adds to those of `mailbackends` and Django."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import django
from django.core.exceptions import ImproperlyConfigured

from mailbackends import (
    ConfigurationError,
    InvalidMessageError,
    Outcome,
    Receipt,
    RecipientsSuppressed,
    Reply,
    SMTPException,
)
from mailbackends.integration import SendCancelled

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

if TYPE_CHECKING:
    BadHeaderError = ValueError
elif django.VERSION < (6, 0):
    from django.core.mail import BadHeaderError
else:
    BadHeaderError = ValueError

__all__ = ["BatchError", "InvalidHeaderError", "PartialRefusal", "SendCancelled", "SettingsError"]


class SettingsError(ImproperlyConfigured, ConfigurationError):
    """A setting or an argument of the backend is unknown, unusable or contradicts another.

    Also a `ValueError`, which Django's own backend raises for ``use_tls`` with ``use_ssl``.
    With ``MAILERS``, Django's ``InvalidMailer`` is raised instead.
    """


class InvalidHeaderError(InvalidMessageError, BadHeaderError):
    """A header field contains a line break. On Django 5.2 also Django's ``BadHeaderError``."""


class PartialRefusal(SMTPException):
    """Some recipients were refused; the message was accepted for the others.

    Raised only with ``on_partial_refusal = "raise"``. Do not send the message again as it
    is: the recipients in ``accepted`` would get it twice. ``refused`` maps the others to
    the server's replies, ``receipt`` is the `Receipt`.
    """

    outcome: Outcome | None = Outcome.ACCEPTED

    def __init__(self, receipt: Receipt | str) -> None:
        super().__init__(receipt)
        self.receipt: Receipt | None = None
        # Result backends of task queues keep a text only.
        if isinstance(receipt, Receipt):
            self.receipt = receipt
            self.refused: Mapping[str, Reply] = receipt.refused
            self.accepted: tuple[str, ...] = receipt.accepted
            self.reply: Reply | None = next(iter(receipt.refused.values()), None)

    @property
    def is_transient(self) -> bool:
        """False, since the message must not be sent again as it is."""
        return False

    def __str__(self) -> str:
        if self.receipt is None:
            return str(self.args[0])
        refused = "; ".join(f"<{address}> {reply}" for address, reply in self.refused.items())
        return (
            f"{len(self.refused)} of {len(self.refused) + len(self.accepted)} recipients refused, "
            f"the message was accepted for the others: {refused}"
        )


class BatchError(SMTPException):
    """At least one of several messages in one call could not be sent; the others were.

    ``outcomes`` has a pair for each message, in their order: the message, and its `Receipt`
    or exception.
    """

    def __init__(
        self, outcomes: Iterable[tuple[EmailMessage, Receipt | Exception]] | str = ()
    ) -> None:
        # Result backends of task queues keep a text only.
        self.outcomes: tuple[tuple[EmailMessage, Receipt | Exception], ...] = (
            () if isinstance(outcomes, str) else tuple(outcomes)
        )
        super().__init__(outcomes if isinstance(outcomes, str) else self.outcomes)

    @property
    def failed(self) -> tuple[tuple[EmailMessage, Exception], ...]:
        """The failed messages, each with its exception."""
        failed = [
            (message, result)
            for message, result in self.outcomes
            if isinstance(result, Exception) and not isinstance(result, SendCancelled)
        ]
        # Those whose recipients are suppressed need nothing done; unless nothing else failed.
        others = [each for each in failed if not isinstance(each[1], RecipientsSuppressed)]
        return tuple(others or failed)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of the accepted messages."""
        return tuple(result for _, result in self.outcomes if isinstance(result, Receipt))

    @property
    def is_transient(self) -> bool:
        """True if every failed message may succeed later; send only those in ``failed`` again."""
        failed = self.failed
        return bool(failed) and all(getattr(error, "is_transient", False) for _, error in failed)

    def as_dict(self) -> dict[str, Any]:
        """As `SMTPException.as_dict`, with ``messages``: a list with the result of each."""
        results = [
            result.as_dict()
            if isinstance(result, Receipt | SMTPException)
            else {"error": type(result).__name__, "text": str(result)}
            for _, result in self.outcomes
        ]
        return {**super().as_dict(), "messages": results}

    def __str__(self) -> str:
        if not self.outcomes:
            return str(self.args[0])
        failed = self.failed
        first = str(failed[0][1]) if failed else ""
        return (
            f"{len(failed)} of {len(self.outcomes)} messages could not be sent, "
            f"{len(self.receipts)} were accepted; first failure: {first}"
        )
