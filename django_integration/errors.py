"""What the backend raises of its own; all else comes from `mailbackends` or from Django."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from mailbackends import ConfigurationError, Outcome, Receipt, Reply, SMTPException

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

__all__ = ["BatchError", "PartialRefusal", "SendCancelled", "SettingsError"]


class SettingsError(ImproperlyConfigured, ConfigurationError):
    """A setting or a constructor's argument is unknown, unusable or contradicts another.

    Also a `ValueError`, which Django's own backend raises for ``use_tls`` with ``use_ssl``.
    Under ``MAILERS`` Django's ``InvalidMailer`` is raised instead.
    """


class SendCancelled(Exception):
    """Raise it in a receiver of `pre_send`, and the message is not sent.

    This is no failure: nothing is raised to the sender, and the count that
    ``send_messages()`` returns leaves the message out.
    """

    outcome = Outcome.NOT_SENT


class PartialRefusal(SMTPException):
    """Some recipients were refused, the message was accepted for the others.

    Raised only with ``on_partial_refusal = "raise"``. Sending the message again would send
    it twice to those who have it: ``receipt`` tells who they are.
    """

    outcome: Outcome | None = Outcome.ACCEPTED

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(receipt)
        self.receipt = receipt
        self.refused = receipt.refused
        self.accepted = receipt.accepted
        self.reply: Reply | None = next(iter(receipt.refused.values()), None)

    @property
    def is_transient(self) -> bool:
        """False: the message must not be sent again as it is."""
        return False

    def __str__(self) -> str:
        refused = "; ".join(f"<{who}> {reply}" for who, reply in self.receipt.refused.items())
        total = len(self.receipt.refused) + len(self.receipt.accepted)
        return (
            f"{len(self.receipt.refused)} of {total} recipients refused, "
            f"the message was accepted for the others: {refused}"
        )


class BatchError(SMTPException):
    """Of several messages in one call, at least one could not be sent.

    ``outcomes`` holds a pair for each message, in their order: the message, and its
    `Receipt` or the exception. Those that could be sent have been.
    """

    def __init__(self, outcomes: Iterable[tuple[EmailMessage, Receipt | Exception]]) -> None:
        self.outcomes = tuple(outcomes)
        super().__init__(self.outcomes)

    @property
    def failed(self) -> tuple[tuple[EmailMessage, Exception], ...]:
        """The messages that failed, each with its exception."""
        return tuple(
            (message, result)
            for message, result in self.outcomes
            if isinstance(result, Exception) and not isinstance(result, SendCancelled)
        )

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of those that were accepted."""
        return tuple(result for _, result in self.outcomes if isinstance(result, Receipt))

    @property
    def is_transient(self) -> bool:
        """True where each message that failed may succeed later."""
        return all(getattr(error, "is_transient", False) for _, error in self.failed)

    def __str__(self) -> str:
        failed = self.failed
        first = str(failed[0][1]) if failed else ""
        return (
            f"{len(failed)} of {len(self.outcomes)} messages could not be sent, "
            f"{len(self.receipts)} were; the first failure: {first}"
        )
