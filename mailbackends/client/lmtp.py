"""`LMTP`: local delivery, with a reply for each recipient (RFC 2033)."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from mailbackends.client.commands import Reply
from mailbackends.client.connection import DEFAULT_TIMEOUT, SourceAddress, check_timeout
from mailbackends.client.quoting import Data
from mailbackends.client.smtp import SMTP, Refused
from mailbackends.errors import SMTPException, SMTPRecipientsRefused
from mailbackends.reply import Reply as ServerReply

__all__ = ["LMTP", "LMTP_PORT"]

LMTP_PORT = 2003


class LMTP(SMTP):
    """A connection to an LMTP server, by TCP or by a Unix socket.

    A ``host`` that begins with a slash is the path of a Unix socket. The default port is
    2003, as the standard library has it. Otherwise as `SMTP`, with LHLO for EHLO and a
    reply to the content for each recipient that was accepted by RCPT: `sendmail` returns
    the refused of both.
    """

    ehlo_msg = "lhlo"

    recipient_replies: Sequence[tuple[str, Reply]] = ()
    """Each recipient of the last `data`, in the order of RCPT, with its reply.

    Shorter than the recipients are where the connection broke between the replies.
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
    ) -> Reply:
        """Connect by TCP or, where ``host`` begins with a slash, by the Unix socket there."""
        if not host.startswith("/"):
            return super().connect(host, port, source_address)
        check_timeout(self.timeout)
        # A certificate can be for no path; a server behind one is this host's.
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

    def mail(self, sender: str, options: Sequence[str] = ()) -> Reply:
        """MAIL, as `SMTP.mail`."""
        self._accepted = self.recipient_replies = ()
        return super().mail(sender, options)

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> Reply:
        """RCPT, as `SMTP.rcpt`."""
        code, message = super().rcpt(recip, options)
        if 200 <= code <= 299:
            self._accepted = (*self._accepted, recip)
        return code, message

    def data(self, msg: Data) -> Reply:
        """DATA and the content, as `SMTP.data`; the replies are in ``recipient_replies``.

        Returns the first of them that accepts, or the last that refuses. Where the
        connection breaks between them, the exception's ``accepted`` and ``refused`` tell
        what is known; of the others nobody knows.
        """
        self.recipient_replies = ()
        try:
            return super().data(msg)
        except SMTPException as error:
            self._tell(error)
            raise

    def rset(self) -> Reply:
        """RSET, as `SMTP.rset`."""
        self._accepted = ()
        return super().rset()

    def _content_reply(self) -> Reply:
        recipients, self._accepted = self._accepted, ()
        if not recipients:  # the caller's RCPT did not go through `rcpt`
            return self.getreply()
        self.recipient_replies = replies = []
        reply: Reply | None = None
        for recipient in recipients:
            # Behind a 421 none follows, and no recipient without a positive reply of its
            # own is the server's (RFC 2033 section 4.2).
            if reply is None or reply[0] != 421:
                reply = self.getreply()
            replies.append((recipient, reply))
        return next((reply for _, reply in replies if reply[0] == 250), replies[-1][1])

    def _tell(self, error: SMTPException) -> None:
        """Put what is known of the recipients on the exception."""
        error.accepted = tuple(who for who, (code, _) in self.recipient_replies if code == 250)
        error.refused = {
            who: ServerReply(code, tuple(text.split(b"\n")))
            for who, (code, text) in self.recipient_replies
            if code != 250
        }

    def _after_content(self, code: int, message: bytes, refused: Refused) -> Refused:
        refused |= {who: reply for who, reply in self.recipient_replies if reply[0] != 250}
        if code != 250:
            self._give_up(code)
            raise SMTPRecipientsRefused(refused)
        return refused
