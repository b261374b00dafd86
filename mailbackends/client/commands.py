"""One method for each SMTP command."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from mailbackends.client.channel import CodeAndText, CommandChannel
from mailbackends.client.formatting import Data, address_only, as_bytes, dot_stuff, quoteaddr
from mailbackends.errors import (
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPServerDisconnected,
)
from mailbackends.protocol.extensions import Extensions, announced

__all__ = ["Commands"]


class Commands(CommandChannel):
    """The commands of SMTP. A refusal is a return value here, unless documented otherwise.

    Each raises `SMTPServerDisconnected`, `SMTPTimeoutError` and `SMTPProtocolError` as
    `CommandChannel.getreply` does, and ValueError if an argument contains a line break or NUL.
    """

    ehlo_msg: str = "ehlo"
    helo_resp: bytes | None = None
    """The text of the reply to HELO, None before it."""
    ehlo_resp: bytes | None = None
    """The text of the reply to EHLO, None before it."""
    does_esmtp: bool = False
    """True once the server accepted EHLO."""
    esmtp_features: dict[str, str]
    """The announced extensions: keyword in lower case to its parameters."""
    local_hostname: str

    def helo(self, name: str = "") -> CodeAndText:
        """Send HELO, by default with ``local_hostname``."""
        self.putcmd("helo", name or self.local_hostname)
        code, message = self.getreply()
        self.helo_resp = message
        return code, message

    def ehlo(self, name: str = "") -> CodeAndText:
        """Send EHLO, by default with ``local_hostname``; its reply fills ``esmtp_features``."""
        self.esmtp_features = {}
        self.putcmd(self.ehlo_msg, name or self.local_hostname)
        code, message = self.getreply()
        self.ehlo_resp = message
        if code == 250:
            self.does_esmtp = True
            # `Mailer` has keywords in upper case, and no space before the mechanisms of AUTH.
            self.esmtp_features = {
                keyword.lower(): text if keyword == "AUTH" else text.strip()
                for keyword, text in announced(message.split(b"\n")[1:])
            }
        return code, message

    def ehlo_or_helo_if_needed(self) -> None:
        """Send EHLO, or HELO if that is refused, unless either was sent before.

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
        """Return whether the server announced this extension, in any case."""
        return opt.lower() in self.esmtp_features

    def help(self, args: str = "") -> bytes:
        """Send HELP, and return the text of the reply."""
        self.putcmd("help", args)
        return self.getreply()[1]

    def rset(self) -> CodeAndText:
        """Send RSET, which ends the open transaction."""
        self.command_encoding: str = "ascii"
        return self.docmd("rset")

    def noop(self) -> CodeAndText:
        """Send NOOP."""
        return self.docmd("noop")

    def verify(self, address: str) -> CodeAndText:
        """Send VRFY, which asks whether an address exists."""
        self.putcmd("vrfy", address_only(address))
        return self.getreply()

    vrfy = verify

    def expn(self, address: str) -> CodeAndText:
        """Send EXPN, which asks for the members of a mailing list."""
        self.putcmd("expn", address_only(address))
        return self.getreply()

    def mail(self, sender: str, options: Sequence[str] = ()) -> CodeAndText:
        """Send MAIL, which begins a transaction. ``options`` are sent if the server does ESMTP.

        If they include SMTPUTF8, addresses are sent in UTF-8 until the transaction ends.

        Raises:
            SMTPNotSupportedError: they include SMTPUTF8, and the server does not announce it.
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

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> CodeAndText:
        """Send RCPT for one recipient. ``options`` are sent if the server does ESMTP."""
        parameters = " " + " ".join(options) if options and self.does_esmtp else ""
        self.putcmd("rcpt", f"to:{quoteaddr(recip)}{parameters}")
        return self.getreply()

    def data(self, msg: Data) -> CodeAndText:
        """Send DATA and the content, and return the reply to the content.

        Text must be ASCII, and its line ends become CRLF; bytes are sent as they are. Both get
        a dot before each leading dot, and the final dot.

        Raises:
            SMTPDataError: DATA itself was refused; no content was sent.
            SMTPDeliveryUnknown: all of the content was sent, and no reply came.
            UnicodeEncodeError: text that is not ASCII; nothing is sent.
            TypeError: neither text nor bytes; nothing is sent.
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

    def _extensions(self) -> Extensions:
        """What the server announced, in the form that the rest of the core uses."""
        return Extensions({name.upper(): text for name, text in self.esmtp_features.items()})

    def _is_tls(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    def _content_reply(self) -> CodeAndText:
        return self.getreply()

    def _begin(self, host: str) -> None:
        super()._begin(host)
        self._forget_hello()

    def _forget_hello(self) -> None:
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False
