"""The exceptions, and what each says about the message.

Every class that `smtplib` has by the same name is a subclass of that one, so that
``except smtplib.SMTPException`` goes on catching it::

    SMTPException
    ├── SMTPNotSupportedError         the server lacks what the message needs
    ├── SMTPServerDisconnected        the connection is gone
    │   ├── SMTPConnectionError       ... or was never made: nobody answers there
    │   ├── SMTPTimeoutError          ... because the server did not answer in time
    │   └── SMTPDeliveryUnknown       ... between the end of the content and its reply
    ├── SMTPResponseException         a reply that refuses
    │   ├── SMTPConnectError              in place of the greeting
    │   ├── SMTPHeloError                 to EHLO and HELO
    │   ├── SMTPAuthenticationError       to AUTH
    │   ├── SMTPSenderRefused             to MAIL
    │   ├── SMTPDataError                 to DATA, BDAT or the content
    │   └── SMTPProtocolError             no reply at all by RFC 5321; the connection is closed
    ├── SMTPRecipientsRefused         all recipients were refused
    ├── SMTPTLSError                  no TLS could be agreed on
    │   └── SMTPCertificateError      the server's certificate could not be verified
    ├── RateLimited                   the rate was used up for longer than the deadline
    ├── PoolTimeout                   no connection became free in time
    └── PoolClosed                    the pool was closed before the message had a connection
    ConfigurationError                an option is unknown, unusable or contradicts another
    InvalidAddressError               an address that cannot go on the wire
    InvalidMessageError               a message that cannot go on the wire

The last three are ``ValueError``: the caller's to mend, found before a byte is sent.
The others come from the world outside.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Mapping
from itertools import islice

from mailbackends.outcome import Outcome, SMTPException
from mailbackends.reply import Reply, one_line

__all__ = [
    "ConfigurationError",
    "InvalidAddressError",
    "InvalidMessageError",
    "Outcome",
    "PoolClosed",
    "PoolTimeout",
    "RateLimited",
    "SMTPAuthenticationError",
    "SMTPCertificateError",
    "SMTPConnectError",
    "SMTPConnectionError",
    "SMTPDataError",
    "SMTPDeliveryUnknown",
    "SMTPException",
    "SMTPHeloError",
    "SMTPNotSupportedError",
    "SMTPProtocolError",
    "SMTPRecipientsRefused",
    "SMTPResponseException",
    "SMTPSenderRefused",
    "SMTPServerDisconnected",
    "SMTPTLSError",
    "SMTPTimeoutError",
]


def _reply(code: int, text: bytes | str) -> Reply:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return Reply(code, tuple(data.split(b"\n")))


class SMTPNotSupportedError(SMTPException, smtplib.SMTPNotSupportedError):
    """The server does not support a command or an option that is needed."""

    @property
    def is_transient(self) -> bool:
        """Always False: the server will not learn it by itself."""
        return False


class SMTPServerDisconnected(SMTPException, smtplib.SMTPServerDisconnected):
    """The connection broke, or there is none."""


class SMTPTimeoutError(SMTPServerDisconnected, TimeoutError):
    """The server did not answer in time. The connection has been closed."""


class SMTPConnectionError(SMTPServerDisconnected, ConnectionError):
    """No connection could be made: no such name, nobody listens, no way there.

    ``errno`` is the operating system's, or the resolver's (``EAI_*``), where there is one.
    """

    @classmethod
    def because_of(cls, error: OSError, server: str) -> SMTPConnectionError:
        """The exception for ``error`` while connecting to ``server``, with the mend."""
        if isinstance(error, socket.gaierror):
            mend = "the name does not resolve: check the host"
        elif isinstance(error, ConnectionRefusedError | FileNotFoundError):
            mend = "nobody listens there: check host and port, and that the server runs"
        else:
            mend = "check the network and the host"
        made = cls(f"cannot connect to {server}: {error.strerror or error}: {mend}")
        made.errno = error.errno
        made.outcome = Outcome.NOT_SENT
        return made

    def __reduce__(self) -> tuple[type, tuple[object, ...], dict[str, object]]:
        # That of OSError drops an errno that was set by hand.
        return type(self), self.args, {**vars(self), "errno": self.errno}


class SMTPDeliveryUnknown(SMTPServerDisconnected):
    """The end of the content was sent, and the connection broke before its reply.

    The message may have been delivered. Sending it again may deliver it twice
    (RFC 5321 section 4.5.3.2.6; RFC 1047). ``unknown`` names the recipients concerned.
    """

    unknown: tuple[str, ...] = ()

    outcome: Outcome | None = Outcome.UNKNOWN


class SMTPResponseException(SMTPException, smtplib.SMTPResponseException):
    """A reply that refuses. ``smtp_code`` is an int, ``smtp_error`` the text as bytes."""

    smtp_error: bytes | str
    _refused = "the server refused"

    def __init__(self, code: int, msg: bytes | str) -> None:
        self.smtp_code = code
        self.smtp_error = msg
        self.args = (code, msg)
        self.reply = _reply(code, msg)

    def _what(self) -> str:
        return f"{self._refused}: {self.reply}"


class SMTPSenderRefused(SMTPResponseException, smtplib.SMTPSenderRefused):
    """The server refused the sender. ``sender`` is the address given."""

    smtp_error: bytes

    def __init__(self, code: int, msg: bytes, sender: str) -> None:
        self.smtp_code = code
        self.smtp_error = msg
        self.sender = sender
        self.args = (code, msg, sender)
        self.reply = _reply(code, msg)

    def _what(self) -> str:
        return f"sender <{one_line(self.sender)}> refused: {self.reply}"


class SMTPDataError(SMTPResponseException, smtplib.SMTPDataError):
    """The server refused the content."""

    _refused = "content refused"


class SMTPConnectError(SMTPResponseException, smtplib.SMTPConnectError):
    """The server answered the connection with a refusal in place of a greeting."""

    _refused = "connection refused by the server's greeting"


class SMTPHeloError(SMTPResponseException, smtplib.SMTPHeloError):
    """The server refused EHLO and HELO."""

    _refused = "EHLO and HELO refused"


class SMTPAuthenticationError(SMTPResponseException, smtplib.SMTPAuthenticationError):
    """The server refused the credentials. They stand nowhere in this exception."""

    _refused = "login refused"


class SMTPProtocolError(SMTPResponseException):
    """The server sent something that RFC 5321 does not allow at this point.

    What it will say next cannot be trusted: the connection has been closed.
    ``smtp_code`` is 500, as in the standard library for a line that is too long.
    """

    _refused = "the server broke the protocol"

    @property
    def is_transient(self) -> bool:
        """True where nothing was sent: the code is ours, and what it says is no refusal."""
        return self.outcome is Outcome.NOT_SENT

    def _what(self) -> str:
        return f"{self._refused}: {self.reply.text if self.reply else ''}"


class SMTPRecipientsRefused(SMTPException, smtplib.SMTPRecipientsRefused):
    """All recipients were refused.

    ``recipients`` maps each to ``(code, text as bytes)``, as `SMTP.sendmail` returns it.
    """

    def __init__(self, recipients: Mapping[str, tuple[int, bytes]]) -> None:
        self.recipients = dict(recipients)
        self.args = (self.recipients,)
        self.refused = {path: _reply(*answer) for path, answer in self.recipients.items()}
        self.reply = next(reversed(self.refused.values()), None)

    @property
    def is_transient(self) -> bool:
        """True where each recipient was refused with a temporary code."""
        return bool(self.recipients) and all(r.is_transient for r in self.refused.values())

    def _what(self) -> str:
        first = islice(self.refused.items(), 3)
        shown = [f"<{one_line(address)}> {reply}" for address, reply in first]
        more = len(self.recipients) - len(shown)
        tail = f"; and {more} more" if more else ""
        return f"all {len(self.recipients)} recipients refused: {'; '.join(shown)}{tail}"


class SMTPTLSError(SMTPException, ssl.SSLError):
    """No TLS connection could be agreed on. The text says why, and the mend.

    ``reason`` and ``library`` are those of OpenSSL, empty where it was not the cause.
    """

    reason: str = ""
    library: str = ""

    def __str__(self) -> str:
        # Without an outcome, that of ssl.SSLError would show the arguments as a tuple.
        return super().__str__() if self.outcome is not None else self._what()


class SMTPCertificateError(SMTPTLSError, ssl.SSLCertVerificationError):
    """The server's certificate could not be verified. The text says why, and the mend.

    ``verify_code`` and ``verify_message`` are those of OpenSSL.
    """

    verify_code: int = 0
    verify_message: str = ""


class PoolTimeout(SMTPException, TimeoutError):
    """All connections were busy for the whole of ``pool_timeout``. Nothing was sent."""

    outcome: Outcome | None = Outcome.NOT_SENT


class RateLimited(SMTPException):
    """The option ``rate`` lets no message go before the deadline. Nothing was sent.

    ``retry_after`` is the time, in seconds, after which it may be tried again.
    """

    outcome: Outcome | None = Outcome.NOT_SENT
    retry_after: float = 0.0


class PoolClosed(SMTPException):
    """The pool was closed, before the call or while it waited. Nothing was sent."""

    outcome: Outcome | None = Outcome.NOT_SENT


class ConfigurationError(ValueError):
    """An option is unknown, unusable, or contradicts another. The text names the mend."""


class InvalidAddressError(ValueError):
    """An address cannot go on the wire. ``outcome`` is always `Outcome.NOT_SENT`."""

    outcome = Outcome.NOT_SENT


class InvalidMessageError(ValueError):
    """A message cannot go on the wire. ``outcome`` is always `Outcome.NOT_SENT`."""

    outcome = Outcome.NOT_SENT
