"""`Backend`: what each backend of Flask's mail has."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Protocol

from flask_integration.posting import Posting
from mailbackends import Options, Receipt, Reply

__all__ = ["Backend", "BackendSettings", "local_receipt", "send_by_smtplib"]


class BackendSettings(Protocol):
    """What a backend is made from: the settings of a `MailState` that are in force."""

    @property
    def options(self) -> Options:
        """Where and how to deliver."""

    @property
    def fallbacks(self) -> tuple[Options, ...]:
        """The servers to try when that one cannot take a message."""

    @property
    def strategy(self) -> Literal["ordered", "round_robin"]:
        """Which server comes first."""

    @property
    def file_path(self) -> str | None:
        """MAIL_FILE_PATH."""


class Backend(ABC):
    """The base class of everything that MAIL_BACKEND can name."""

    delivers: ClassVar[bool] = True
    """Whether messages leave for their recipients, so that TESTING must stop them."""

    @property
    def asks_suppression_list(self) -> bool:
        """Whether it asks the suppression list by itself. If not, it gets only the recipients
        that are not on the list."""
        return False

    def __init__(self, state: BackendSettings) -> None:  # noqa: B027 - for subclasses to use
        """Read the settings in ``state``, a `MailState`. Do not store it: it owns the backend."""

    @abstractmethod
    def send(self, posting: Posting) -> Receipt:
        """Send one message and return its receipt, or raise what went wrong."""

    def send_many(self, postings: Iterable[Posting]) -> Iterator[Receipt | Exception]:
        """Yield one outcome for each message, in order. A failure does not stop the others."""
        for posting in postings:
            try:
                outcome: Receipt | Exception = self.send(posting)
            except Exception as error:
                outcome = error
            yield outcome

    @property
    def is_async(self) -> bool:
        """Whether `asend` and `asend_many` exist, and do not block the event loop."""
        return False

    async def asend(self, posting: Posting) -> Receipt:
        """As `send`, awaited. Called only if `is_async`."""
        raise NotImplementedError

    def asend_many(
        self, postings: AsyncIterable[Posting]
    ) -> AsyncGenerator[Receipt | Exception, None]:
        """As `send_many`, awaited. Called only if `is_async`."""
        raise NotImplementedError

    def hold(self) -> AbstractContextManager[Backend]:
        """Return what `Mail.connect` sends on within its block."""
        return nullcontext(self)

    def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Make sure that a message could be sent now. Raises the reason if it could not."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Release what the backend uses. Nothing is sent on it afterwards."""


def local_receipt(posting: Posting, text: str) -> Receipt:
    """Return a receipt for a message that no server saw; ``text`` says where it went."""
    return Receipt(
        accepted=posting.to_addrs,
        refused={},
        reply=Reply(250, (text.encode(),)),
        message_id=posting.message_id,
        duration=0.0,
        suppressed=posting.suppressed or {},
    )


def send_by_smtplib(host: Any, posting: Posting) -> Receipt:
    """Send with the ``sendmail`` of an object that the application put in place of ours."""
    started = time.monotonic()
    refused = host.sendmail(
        posting.from_addr,
        list(posting.to_addrs),
        posting.as_bytes(),
        list(posting.mail_options),
        list(posting.rcpt_options),
    )
    replies = {
        address: Reply(code, (text,))
        for address, (code, text) in (refused.items() if isinstance(refused, dict) else ())
    }
    return Receipt(
        accepted=tuple(x for x in posting.to_addrs if x not in replies),
        refused=replies,
        reply=Reply(250, (b"",)),
        message_id=posting.message_id,
        duration=time.monotonic() - started,
        suppressed=posting.suppressed or {},
    )
