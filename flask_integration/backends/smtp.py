"""The backend that sends: messages handed to a `mailbackends.Mailer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask_integration.backends.base import Backend
from flask_integration.posting import Posting
from mailbackends import Mailer, Receipt, Submission

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["SmtpBackend"]


class SmtpBackend(Backend):
    """Sends over the connections of one pool, which all threads share."""

    def __init__(self, state: MailState) -> None:
        settings = state.settings
        self.mailer = Mailer([state.options, *settings.fallbacks], strategy=settings.strategy)

    def send(self, posting: Posting) -> Receipt:
        """Send over a connection of the pool."""
        return _send(self.mailer.send_message, posting)

    def send_many(self, postings: Iterable[Posting]) -> Iterator[Receipt | Exception]:
        """Send one after the other over as few connections as the options say."""
        submissions = (
            Submission(
                posting.message,
                posting.from_addr,
                posting.to_addrs,
                posting.mail_options,
                posting.rcpt_options,
            )
            for posting in postings
        )
        yield from self.mailer.stream_messages(submissions)

    @contextmanager
    def hold(self) -> Iterator[Backend]:
        """One connection of the pool, for this block alone."""
        with self.mailer.hold() as held:
            held.open()  # an error belongs to the `with`, not to the first message
            yield _Held(held.send_message)

    def open(self) -> None:
        """Make sure that a connection stands ready."""
        self.mailer.open()

    def close(self) -> None:
        """Close the connections of the pool."""
        self.mailer.close()


class _Held(Backend):
    def __init__(self, send_message: Callable[..., Receipt]) -> None:
        self._send_message = send_message

    def send(self, posting: Posting) -> Receipt:
        return _send(self._send_message, posting)


def _send(send_message: Callable[..., Receipt], posting: Posting) -> Receipt:
    return send_message(
        posting.message,
        posting.from_addr,
        posting.to_addrs,
        mail_options=posting.mail_options,
        rcpt_options=posting.rcpt_options,
    )
