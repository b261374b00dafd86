"""The variants of `SMTP`: `SMTP_SSL`, with TLS from the first byte, and `LMTP` (RFC 2033)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from mailbackends.client.channel import (
    DEFAULT_TIMEOUT,
    CodeAndText,
    SourceAddress,
    check_timeout,
)
from mailbackends.client.formatting import Data
from mailbackends.client.smtp import SMTP, Refused, under_tls
from mailbackends.errors import SMTPException, SMTPRecipientsRefused
from mailbackends.reply import Reply

__all__ = ["LMTP", "LMTP_PORT", "SMTP_SSL", "SMTP_SSL_PORT"]

LMTP_PORT = 2003
SMTP_SSL_PORT = 465


class SMTP_SSL(SMTP):
    """A connection to an SMTP server with TLS from the first byte (RFC 8314).

    The default port is 465. ``context`` is as in `SMTP.starttls`; the rest is as in `SMTP`.

    Raises:
        SMTPTLSError: the TLS handshake failed.
        SMTPCertificateError: the certificate could not be verified.
        SMTPTimeoutError: the handshake took too long.
    """

    default_port = SMTP_SSL_PORT

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: SourceAddress | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.context: ssl.SSLContext = context or ssl.create_default_context()
        super().__init__(host, port, local_hostname, timeout, source_address)

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        if self.debuglevel > 0:
            self._print_debug("connect:", (host, port))
        return under_tls(self.context, super()._get_socket(host, port, timeout), self._host)


class LMTP(SMTP):
    """A connection to an LMTP server, over TCP or a Unix socket.

    A ``host`` that begins with a slash is the path of a Unix socket. The default port is 2003,
    as in the standard library. Otherwise like `SMTP`, with LHLO instead of EHLO, and one reply
    to the content for each recipient that RCPT accepted. `sendmail` returns the recipients
    refused by either.
    """

    ehlo_msg = "lhlo"

    recipient_replies: Sequence[tuple[str, CodeAndText]] = ()
    """Each recipient of the last `data`, in the order of RCPT, with its reply.

    Incomplete if the connection broke between the replies.
    """
    _accepted: Sequence[str] = ()

    def __init__(
        self,
        host: str = "",
        port: int = LMTP_PORT,
        local_hostname: str | None = None,
        source_address: SourceAddress | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__(host, port, local_hostname, timeout, source_address)

    def connect(
        self, host: str = "localhost", port: int = 0, source_address: SourceAddress | None = None
    ) -> CodeAndText:
        """Connect over TCP or, if ``host`` begins with a slash, over that Unix socket."""
        if not host.startswith("/"):
            return super().connect(host, port, source_address)
        check_timeout(self.timeout)
        # A certificate cannot name a path; the server at a Unix socket is this host's.
        self._begin("localhost")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self.timeout is not DEFAULT_TIMEOUT:
                sock.settimeout(self.timeout)
            sock.connect(host)
        except BaseException:
            if self.debuglevel > 0:
                self._print_debug("connect fail:", host)
            sock.close()
            raise
        return self._greeting(sock)

    def mail(self, sender: str, options: Sequence[str] = ()) -> CodeAndText:
        """Send MAIL, like `SMTP.mail`."""
        self._accepted = self.recipient_replies = ()
        return super().mail(sender, options)

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> CodeAndText:
        """Send RCPT, like `SMTP.rcpt`."""
        code, message = super().rcpt(recip, options)
        if 200 <= code <= 299:
            self._accepted = (*self._accepted, recip)
        return code, message

    def data(self, msg: Data) -> CodeAndText:
        """Send DATA and the content, like `SMTP.data`; the replies are in ``recipient_replies``.

        Returns the first reply that accepts, or the last refusal. If the connection breaks
        between them, the exception's ``accepted`` and ``refused`` contain the recipients that
        were answered; the outcome of the others is unknown.
        """
        self.recipient_replies = ()
        try:
            return super().data(msg)
        except SMTPException as error:
            self._add_recipients(error)
            raise

    def rset(self) -> CodeAndText:
        """Send RSET, like `SMTP.rset`."""
        self._accepted = ()
        return super().rset()

    def _content_reply(self) -> CodeAndText:
        recipients, self._accepted = self._accepted, ()
        if not recipients:  # the caller's RCPT did not go through `rcpt`
            return self.getreply()
        self.recipient_replies = replies = []
        reply: CodeAndText | None = None
        for recipient in recipients:
            # No reply follows a 421, and the server has not accepted a recipient without a
            # positive reply for it (RFC 2033 section 4.2).
            if reply is None or reply[0] != 421:
                reply = self.getreply()
            replies.append((recipient, reply))
        return next((reply for _, reply in replies if reply[0] == 250), replies[-1][1])

    def _add_recipients(self, error: SMTPException) -> None:
        """Add the recipients that were answered to the exception."""
        error.accepted = tuple(to for to, (code, _) in self.recipient_replies if code == 250)
        error.refused = {
            to: Reply.of(code, text) for to, (code, text) in self.recipient_replies if code != 250
        }

    def _after_content(self, code: int, message: bytes, refused: Refused) -> Refused:
        refused |= {to: reply for to, reply in self.recipient_replies if reply[0] != 250}
        if code != 250:
            self._give_up(code)
            raise SMTPRecipientsRefused(refused)
        return refused
