"""What became of a message, and the exception that can tell: the base of all in `errors`."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from mailbackends.reply import Reply, one_line

__all__ = ["Outcome", "SMTPException"]


class Outcome(StrEnum):
    """What became of a message, or of one of its recipients."""

    ACCEPTED = "accepted"
    """The server took responsibility. Never send it again."""
    REFUSED = "refused"
    """The server said no. 4yz: send it again later; 5yz: do not."""
    NOT_SENT = "not_sent"
    """The end of the content was never sent. It may be sent again at once."""
    UNKNOWN = "unknown"
    """The end of the content was sent and no reply came. It may be there already."""


_CONSEQUENCE = {
    Outcome.ACCEPTED: "the message was accepted",
    Outcome.REFUSED: "the message was refused",
    Outcome.NOT_SENT: "the message was not sent",
    Outcome.UNKNOWN: "the message may or may not have been delivered: do not send it again blindly",
}


class SMTPException(smtplib.SMTPException):
    """Base of all that a server or a connection can cause.

    ``outcome`` says what became of the message; it is None where no message was
    concerned, as in most calls on `SMTP`. ``server`` is ``"host:port"`` where known.
    ``str()`` is the standard library's text until an outcome is known, and from then
    on one line that tells what happened, where, and what became of the message.
    """

    outcome: Outcome | None = None
    server: str | None = None
    recipient: str | None = None
    reply: Reply | None = None
    """The server's reply that caused this, or None."""
    accepted: tuple[str, ...] = ()
    """The recipients that are served all the same (LMTP answers for each of them)."""
    refused: Mapping[str, Reply] = MappingProxyType({})
    """The recipients that were refused one by one, with the reply for each."""
    no_connection: bool = False
    """True where a `Mailer` had no connection to send over, as the next message would not."""
    earlier: tuple[SMTPException, ...] = ()
    """What went wrong at the servers that were tried before this one."""

    @property
    def is_transient(self) -> bool:
        """True where the same message may succeed if it is sent again later.

        False for `Outcome.UNKNOWN`, where sending again could deliver twice, and where the
        server said 5yz, to the login for example: somebody must mend something first.
        """
        if self.outcome is Outcome.UNKNOWN:
            return False
        if self.reply is None:
            return self.outcome is Outcome.NOT_SENT
        return self.reply.is_transient

    @property
    def what(self) -> str:
        """What happened, in one line: neither where, nor what became of the message."""
        return self._what()

    def _what(self) -> str:
        return one_line(str(self.args[0])) if self.args else type(self).__name__

    def __str__(self) -> str:
        if self.outcome is None:
            return super().__str__()
        before = "".join(f"; before that: {error._what_and_where()}" for error in self.earlier)
        return f"{self._what_and_where()}: {_CONSEQUENCE[self.outcome]}{before}"

    def _what_and_where(self) -> str:
        return f"{self._what()} [{self.server}]" if self.server else self._what()
