"""`Sent`: one transaction with given replies, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mailbackends.errors import SMTPException
from mailbackends.mime.content import Content, from_bytes
from mailbackends.protocol.chunking import Chunking
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import State
from mailbackends.protocol.transaction import Delivery, deliver
from support.runner import Runner, hung_up, ready_session

__all__ = [
    "BYE", "CHUNK", "CONTENT", "FLIGHT", "GO", "GROUP", "LARGE", "LOCK_STEP", "NO", "OK", "ONE",
    "TWO", "Sent",
]  # fmt: skip

ONE = Envelope("me@x", ("a@x",))
TWO = Envelope("me@x", ("a@x", "b@x"))
CONTENT = from_bytes(b"Subject: hi\r\n\r\n.dot\r\n")
LARGE = from_bytes(b"Subject: hi\r\n\r\n" + b"x" * 70_000 + b"\r\n")

FLIGHT = ("PIPELINING", "CHUNKING")
GROUP = ("PIPELINING",)
LOCK_STEP = ()
CHUNK = ("CHUNKING",)

OK = b"250 2.0.0 Ok\r\n"
NO = b"550 5.1.1 No\r\n"
GO = b"354 Go ahead\r\n"
BYE = b"421 4.3.2 Closing\r\n"


class Sent:
    """A transaction that has been run.

    ``keywords`` are what the server announces, and ``replies`` what it answers; see
    `Runner` for these, ``takes`` and ``ending``. ``failed``: the last one before it was
    refused. ``options`` are those of `deliver`; by default BDAT is known to work, and the
    connection to be fresh.
    """

    def __init__(
        self,
        keywords: Sequence[str],
        replies: Iterable[bytes],
        *,
        envelope: Envelope = ONE,
        content: Content = CONTENT,
        lmtp: bool = False,
        failed: bool = False,
        takes: int | None = None,
        ending: Callable[[], SMTPException] = hung_up,
        **options: Any,
    ) -> None:
        self.session = ready_session(*keywords, is_lmtp=lmtp)
        if failed:
            self.session.state = State.FAILED
        self.runner = Runner(self.session, replies, takes=takes, ending=ending)
        self.result: Delivery | None = None
        self.error: SMTPException | None = None
        options = {"chunking": Chunking.PROVED, "is_fresh": True, **options}
        try:
            self.result = self.runner.run(deliver(self.session, envelope, content, **options))
        except SMTPException as error:
            self.error = error

    @property
    def lines(self) -> list[bytes]:
        """What was sent, line by line."""
        return self.runner.lines

    @property
    def outcome(self) -> Any:
        """The error's outcome."""
        assert self.error is not None
        return self.error.outcome
