"""What every backend is: where messages of one mailer go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

from flask_integration.posting import Posting
from mailbackends import Receipt, Reply

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["Backend", "local_receipt"]


class Backend(ABC):
    """What MAIL_BACKEND names. One stands for each mailer of each application.

    It is called by all threads of the application at once.
    """

    delivers: ClassVar[bool] = True
    """True where messages leave for their recipients, so that TESTING must stop them."""

    def __init__(self, state: MailState) -> None:  # noqa: B027 - for subclasses to use
        """Take what is needed from ``state``, but do not keep it: it owns the backend."""

    @abstractmethod
    def send(self, posting: Posting) -> Receipt:
        """Send one message. Raises what went wrong."""

    def send_many(self, postings: Iterable[Posting]) -> Iterator[Receipt | Exception]:
        """One outcome for each message, in order; a failure does not stop the others."""
        for posting in postings:
            try:
                outcome: Receipt | Exception = self.send(posting)
            except Exception as error:
                outcome = error
            yield outcome

    def hold(self) -> AbstractContextManager[Backend]:
        """What `Mail.connect` sends on, for the length of a block."""
        return nullcontext(self)

    def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Make sure that a message could be sent now. Raises what stands against it."""

    def close(self) -> None:  # noqa: B027 - and nothing to close
        """Let go of what is held. Nothing is sent on this backend any more."""


def local_receipt(posting: Posting, text: str) -> Receipt:
    """A receipt for what no server saw. ``text`` says what was done instead."""
    return Receipt(
        accepted=posting.to_addrs,
        refused={},
        reply=Reply(250, (text.encode(),)),
        message_id=posting.message_id,
        duration=0.0,
    )
