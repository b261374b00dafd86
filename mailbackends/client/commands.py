"""One method for each SMTP command."""

from __future__ import annotations

from collections.abc import Sequence

from mailbackends.client.connection import Connection
from mailbackends.client.features import parse_features
from mailbackends.client.quoting import Data, address_only, as_bytes, dot_stuff, quoteaddr
from mailbackends.errors import (
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPServerDisconnected,
)

__all__ = ["Commands", "Reply"]

Reply = tuple[int, bytes]
"""What a command gives back: the code, and the text with its lines joined by a line feed."""


class Commands(Connection):
    """The commands of SMTP. A refusal is a return value here, unless a method says otherwise.

    Each raises `SMTPServerDisconnected`, `SMTPTimeoutError` and `SMTPProtocolError` as
    `Connection.getreply` does, and ValueError where an argument holds a line break or NUL.
    """

    ehlo_msg: str = "ehlo"
    helo_resp: bytes | None = None
    """The text of the reply to HELO, None before it."""
    ehlo_resp: bytes | None = None
    """The text of the reply to EHLO, None before it."""
    does_esmtp: bool = False
    """True once the server took EHLO."""
    esmtp_features: dict[str, str]
    """The extensions that it announced: keyword in lower case to parameters."""
    local_hostname: str

    def helo(self, name: str = "") -> Reply:
        """HELO, by default with ``local_hostname``."""
        self.putcmd("helo", name or self.local_hostname)
        code, message = self.getreply()
        self.helo_resp = message
        return code, message

    def ehlo(self, name: str = "") -> Reply:
        """EHLO, by default with ``local_hostname``; its reply fills ``esmtp_features``."""
        self.esmtp_features = {}
        self.putcmd(self.ehlo_msg, name or self.local_hostname)
        code, message = self.getreply()
        self.ehlo_resp = message
        if code == 250:
            self.does_esmtp = True
            self.esmtp_features = parse_features(message)
        return code, message

    def ehlo_or_helo_if_needed(self) -> None:
        """Say EHLO, or HELO where that is refused, unless it has been said before.

        Raises:
            SMTPHeloError: both were refused.
        """
        if self.helo_resp is None and self.ehlo_resp is None:
            code, message = self.ehlo()
            if not 200 <= code <= 299 and code != 421:
                code, message = self.helo()
            if not 200 <= code <= 299:
                raise SMTPHeloError(code, message)

    def has_extn(self, opt: str) -> bool:
        """True where the server announced this extension, in whatever case."""
        return opt.lower() in self.esmtp_features

    def help(self, args: str = "") -> bytes:
        """HELP. Returns the text alone."""
        self.putcmd("help", args)
        return self.getreply()[1]

    def rset(self) -> Reply:
        """RSET: the open transaction is over."""
        self.command_encoding = "ascii"
        return self.docmd("rset")

    def noop(self) -> Reply:
        """NOOP."""
        return self.docmd("noop")

    def verify(self, address: str) -> Reply:
        """VRFY: is there such an address?"""
        self.putcmd("vrfy", address_only(address))
        return self.getreply()

    vrfy = verify

    def expn(self, address: str) -> Reply:
        """EXPN: who is on this list?"""
        self.putcmd("expn", address_only(address))
        return self.getreply()

    def mail(self, sender: str, options: Sequence[str] = ()) -> Reply:
        """MAIL: begin a transaction. ``options`` are sent where the server does ESMTP.

        With SMTPUTF8 among them, addresses go out in UTF-8 until the transaction ends.

        Raises:
            SMTPNotSupportedError: SMTPUTF8 is wanted and was not announced.
        """
        parameters = ""
        if options and self.does_esmtp:
            if any(option.lower() == "smtputf8" for option in options):
                if not self.has_extn("smtputf8"):
                    raise SMTPNotSupportedError("SMTPUTF8 not supported by server")
                self.command_encoding = "utf-8"
            parameters = " " + " ".join(options)
        self.putcmd("mail", f"from:{quoteaddr(sender)}{parameters}")
        return self.getreply()

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> Reply:
        """RCPT: one recipient. ``options`` are sent where the server does ESMTP."""
        parameters = " " + " ".join(options) if options and self.does_esmtp else ""
        self.putcmd("rcpt", f"to:{quoteaddr(recip)}{parameters}")
        return self.getreply()

    def data(self, msg: Data) -> Reply:
        """DATA and the content. Returns the reply to the content.

        Text must be ASCII, and each of its line ends becomes CRLF; bytes are sent as they
        are. Both get a dot before each leading dot, and the final dot.

        Raises:
            SMTPDataError: DATA itself was refused; no content was sent.
            SMTPDeliveryUnknown: all of the content was sent, and no reply came.
            UnicodeEncodeError: text that is not ASCII, before anything is sent.
            TypeError: neither text nor bytes, likewise.
        """
        content = dot_stuff(as_bytes(msg))
        self.putcmd("data")
        code, message = self.getreply()
        if self.debuglevel > 0:
            self._print_debug("data:", (code, message))
        if code != 354:
            raise SMTPDataError(code, message)
        self.send(content)
        try:
            code, message = self._content_reply()
        except SMTPProtocolError as error:
            raise SMTPDeliveryUnknown(error.what) from error
        except SMTPServerDisconnected as error:
            raise SMTPDeliveryUnknown(*error.args) from error
        finally:
            self.command_encoding = "ascii"
        if self.debuglevel > 0:
            self._print_debug("data:", (code, message))
        return code, message

    def _content_reply(self) -> Reply:
        return self.getreply()

    def _begin(self, host: str) -> None:
        super()._begin(host)
        self._forget_hello()

    def _forget_hello(self) -> None:
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False
