"""The exceptions, and the outcome that each one means.

All of them are `SMTPException`, and so ``OSError``. Every class that `smtplib` has by the
same name is a subclass of that one, so that ``except smtplib.SMTPException`` goes on
catching it. The outcome is fixed by the class::

    SMTPException
    ├── SMTPServerDisconnected        not_sent   the connection is gone
    │   ├── SMTPConnectionError       not_sent   ... or could not be made
    │   ├── SMTPTimeoutError          not_sent   ... because the server did not answer in time
    │   └── SMTPDeliveryUnknown       unknown    ... between the end of the content and its reply
    ├── SMTPResponseException         not_sent   a reply that refuses
    │   ├── SMTPConnectError          not_sent       in place of the greeting
    │   ├── SMTPHeloError             not_sent       to EHLO and HELO
    │   ├── SMTPAuthenticationError   not_sent       to AUTH
    │   ├── SMTPSenderRefused         refused        to MAIL
    │   ├── SMTPDataError             refused        to DATA, BDAT or the content
    │   └── SMTPProtocolError         not_sent   a reply that RFC 5321 does not allow
    ├── SMTPRecipientsRefused         refused    all recipients were refused
    ├── RecipientsSuppressed          suppressed all recipients are on the suppression list
    ├── SMTPNotSupportedError         not_sent   the server lacks what the message needs
    ├── SMTPTLSError                  not_sent   no TLS could be agreed on
    │   └── SMTPCertificateError      not_sent   the server's certificate cannot be verified
    ├── RateLimited                   not_sent   the rate is used up for longer than the deadline
    ├── BeforeEndError                not_sent   the hook before_end raised
    ├── PoolTimeout                   not_sent   no connection became free in time
    ├── PoolClosed                    not_sent   the pool was closed before
    ├── TokenError                    not_sent   no OAuth 2.0 access token could be obtained
    ├── SigningError                  not_sent   a callable for a DKIM signature failed
    ├── SuppressionError              not_sent   the suppression list could not be asked
    ├── TransientError                not_sent   in place of an error: a task may try again
    ├── ConfigurationError            not_sent   an option that is unknown or unusable
    ├── InvalidAddressError           not_sent   an address that cannot be sent to or from
    └── InvalidMessageError           not_sent   a message that cannot be sent

The last three are invalid input, found before a byte is sent: they are ``ValueError`` too,
and never transient.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from itertools import islice
from typing import Any

from mailbackends.known_errors import connection_fix, fix_for
from mailbackends.outcome import Outcome, SMTPException, TransientError, smtplib
from mailbackends.reply import Reply
from mailbackends.suppressed import RecipientsSuppressed
from mailbackends.texts import one_line

__all__ = [
    "BeforeEndError", "ConfigurationError", "InvalidAddressError", "InvalidMessageError",
    "Outcome", "PoolClosed", "PoolTimeout", "RateLimited", "RecipientsSuppressed",
    "SMTPAuthenticationError",
    "SMTPCertificateError", "SMTPConnectError", "SMTPConnectionError", "SMTPDataError",
    "SMTPDeliveryUnknown", "SMTPException", "SMTPHeloError", "SMTPNotSupportedError",
    "SMTPProtocolError", "SMTPRecipientsRefused", "SMTPResponseException", "SMTPSenderRefused",
    "SMTPServerDisconnected", "SMTPTLSError", "SMTPTimeoutError", "SigningError",
    "SuppressionError", "TokenError", "TransientError",
]  # fmt: skip


class SMTPNotSupportedError(SMTPException, smtplib.SMTPNotSupportedError):
    """The server does not support a command or an option that is needed."""

    outcome: Outcome | None = Outcome.NOT_SENT
    is_transient = False


class SMTPServerDisconnected(SMTPException, smtplib.SMTPServerDisconnected):
    """The connection broke, or there is none."""

    outcome: Outcome | None = Outcome.NOT_SENT


class SMTPTimeoutError(SMTPServerDisconnected, TimeoutError):
    """The server did not answer in time. The connection has been closed."""


class SMTPConnectionError(SMTPServerDisconnected, ConnectionError):
    """No connection could be made: the name does not resolve, or nothing listens there.

    ``errno`` is the operating system's, or the resolver's (``EAI_*``), where there is one.
    """

    is_transient = True
    _own_fields = ("errno",)

    @classmethod
    def because_of(cls, error: OSError, server: str) -> SMTPConnectionError:
        """The exception for ``error`` while connecting to ``server``, with a suggested fix."""
        made = cls(f"cannot connect to {server}: {error.strerror or error}")
        made.errno, made.outcome = error.errno, Outcome.NOT_SENT
        return made.suggesting(connection_fix(error))

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        # OSError's own drops an errno that was set on the instance.
        return type(self), self.args, {**vars(self), "errno": self.errno}


class SMTPDeliveryUnknown(SMTPServerDisconnected):
    """The end of the content was sent, and the connection broke before its reply.

    The message may have been delivered. Sending it again may deliver it twice
    (RFC 5321 section 4.5.3.2.6; RFC 1047). ``unknown`` names the recipients concerned.
    """

    outcome: Outcome | None = Outcome.UNKNOWN
    is_transient = False
    unknown: tuple[str, ...] = ()
    _own_fields = ("unknown",)
    _always_concerns_a_message = True


class SMTPResponseException(SMTPException, smtplib.SMTPResponseException):
    """A reply that refuses. ``smtp_code`` is an int, ``smtp_error`` the text as bytes."""

    outcome: Outcome | None = Outcome.NOT_SENT
    smtp_error: bytes | str
    _refused = "the server refused"

    def __init__(self, code: int, msg: bytes | str) -> None:
        self.smtp_code = code
        self.smtp_error = msg
        self.args: tuple[Any, ...] = (code, msg)
        self.reply: Reply = Reply.of(code, msg)

    def _what(self) -> str:
        return f"{self._refusal()}: {self.reply}"

    def _refusal(self) -> str:
        return self._refused


class SMTPSenderRefused(SMTPResponseException, smtplib.SMTPSenderRefused):
    """The server refused the sender. ``sender`` is the address given."""

    outcome: Outcome | None = Outcome.REFUSED
    smtp_error: bytes
    _own_fields = ("sender",)

    def __init__(self, code: int, msg: bytes, sender: str) -> None:
        SMTPResponseException.__init__(self, code, msg)
        self.sender = sender
        self.args: tuple[Any, ...] = (code, msg, sender)

    def _refusal(self) -> str:
        return f"sender <{one_line(self.sender)}> refused"


class SMTPDataError(SMTPResponseException, smtplib.SMTPDataError):
    """The server refused the content."""

    outcome: Outcome | None = Outcome.REFUSED
    _refused = "content refused"


class SMTPConnectError(SMTPResponseException, smtplib.SMTPConnectError):
    """The server answered the connection with a refusal in place of a greeting."""

    _refused = "connection refused by the server's greeting"


class SMTPHeloError(SMTPResponseException, smtplib.SMTPHeloError):
    """The server refused EHLO and HELO."""

    _refused = "EHLO and HELO refused"


class SMTPAuthenticationError(SMTPResponseException, smtplib.SMTPAuthenticationError):
    """The server refused the login as ``username`` (None if unknown). It has no secret."""

    _refused = "login refused"
    _usual_fix = "check {username} and {password}, and that this account may send"
    username: str | None = None

    def _refusal(self) -> str:
        return f"login as {one_line(self.username)} refused" if self.username else self._refused


class SMTPProtocolError(SMTPResponseException):
    """The server broke RFC 5321. It cannot be trusted, and the connection has been closed.

    ``smtp_code`` is 500, as in the standard library for a line that is too long.
    """

    _refused = "the server broke the protocol"

    @property
    def is_transient(self) -> bool:
        """True if nothing was sent: the code is ours, and no refusal by the server."""
        return self.outcome is Outcome.NOT_SENT

    def _what(self) -> str:
        return f"{self._refused}: {self.reply.text if self.reply else ''}"


class SMTPRecipientsRefused(SMTPException, smtplib.SMTPRecipientsRefused):
    """All recipients were refused.

    ``recipients`` maps each to ``(code, text as bytes)``, as `SMTP.sendmail` returns it.
    """

    outcome: Outcome | None = Outcome.REFUSED

    def __init__(self, recipients: Mapping[str, tuple[int, bytes]]) -> None:
        # A result backend brings the pairs back as lists, since JSON has no tuples.
        self.recipients: dict[str, tuple[int, bytes]] = {
            to: (code, text) for to, (code, text) in recipients.items()
        }
        self.args: tuple[Any, ...] = (self.recipients,)
        self.refused: dict[str, Reply] = {
            path: Reply.of(*answer) for path, answer in self.recipients.items()
        }
        self.reply: Reply | None = next(reversed(self.refused.values()), None)

    @classmethod
    def of(cls, replies: Mapping[str, Reply]) -> SMTPRecipientsRefused:
        """The error for recipients that were refused with these replies."""
        return cls({to: (reply.code, reply.message) for to, reply in replies.items()})

    @property
    def is_transient(self) -> bool:
        """True if each recipient was refused with a temporary code."""
        return bool(self.recipients) and all(r.is_transient for r in self.refused.values())

    def _what(self) -> str:
        first = islice(self.refused.items(), 3)
        shown = [f"<{one_line(address)}> {reply}" for address, reply in first]
        more = len(self.recipients) - len(shown)
        tail = f"; and {more} more" if more else ""
        return f"all {len(self.recipients)} recipients refused: {'; '.join(shown)}{tail}"


class SMTPTLSError(SMTPException, ssl.SSLError):
    """No TLS connection could be agreed on. The text gives the reason and a fix.

    ``reason`` and ``library`` are those of OpenSSL, empty where it was not the cause.
    """

    outcome: Outcome | None = Outcome.NOT_SENT
    reason: str = ""
    library: str = ""

    def __str__(self) -> str:
        # ssl.SSLError's own shows the arguments as a tuple.
        return super().__str__() if self._concerns_a_message else self.what


class SMTPCertificateError(SMTPTLSError, ssl.SSLCertVerificationError):
    """The server's certificate could not be verified. The text gives the reason and a fix.

    ``verify_code`` and ``verify_message`` are those of OpenSSL.
    """

    verify_code: int = 0
    verify_message: str = ""


class _NothingSent(SMTPException):
    outcome: Outcome | None = Outcome.NOT_SENT
    is_transient = True
    _always_concerns_a_message = True


class BeforeEndError(_NothingSent):
    """``before_end`` raised, so the end of the content was not sent; ``__cause__`` is its error.

    The connection has been closed, and no other server is tried.
    """


class PoolTimeout(_NothingSent, TimeoutError):
    """All connections were busy for the whole of ``pool_timeout``. Nothing was sent."""


class RateLimited(_NothingSent):
    """The ``rate`` lets no message go before the deadline; ``retry_after`` seconds later it may."""

    retry_after: float = 0.0
    _own_fields = ("retry_after",)


class PoolClosed(_NothingSent):
    """The pool was closed, before the call or while it waited. Nothing was sent."""


class SigningError(_NothingSent):
    """The callable for a DKIM key or signature raised ``__cause__``. Nothing was sent."""


class SuppressionError(_NothingSent):
    """The suppression list could not be asked; ``__cause__`` says why. Nothing was sent."""


class TokenError(_NothingSent):
    """No access token could be obtained, so nobody could log in. Nothing was sent.

    ``code`` is the error code of the token endpoint (RFC 6749 section 5.2), such as
    ``"invalid_client"``, or ``"timeout"`` or ``"unreachable"``; empty if there is none.
    """

    _own_fields = ("code",)

    def __init__(self, text: str, code: str = "") -> None:
        self.code = code
        self.args: tuple[Any, ...] = (text, code)
        self.is_transient: bool = code in _TRANSIENT_CODES

    def _known_fix(self) -> str | None:
        return self._fix or fix_for(f"{self.code} {self.args[0]}")


_TRANSIENT_CODES = frozenset(
    ["timeout", "unreachable", "server_error", "temporarily_unavailable", "slow_down"]
)


class _InvalidInput(SMTPException, ValueError):
    outcome: Outcome | None = Outcome.NOT_SENT
    is_transient = False


class ConfigurationError(_InvalidInput):
    """An option is unknown, unusable, or contradicts another. The text suggests a fix."""


class InvalidAddressError(_InvalidInput):
    """An address cannot be used in SMTP. Nothing was sent, and no other server is tried."""


class InvalidMessageError(_InvalidInput):
    """A message cannot be sent as it is. Nothing was sent, and no other server is tried."""
