"""`SMTP`: a connection to a mail server, with the interface of `smtplib`."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Sequence
from email.message import Message
from email.policy import EmailPolicy, Policy
from types import TracebackType
from typing import Any, Self

from mailbackends.client import headers, tls
from mailbackends.client.commands import Reply
from mailbackends.client.connection import DEFAULT_TIMEOUT, SourceAddress
from mailbackends.client.hostname import own_name
from mailbackends.client.login import Login
from mailbackends.client.quoting import Data, as_bytes
from mailbackends.errors import (
    SMTPConnectError,
    SMTPDataError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.session import INJECTED

__all__ = ["SMTP", "Refused"]

Refused = dict[str, Reply]
"""Refused recipients, each with the code and the text of the refusal."""


class SMTP(Login):
    """A connection to an SMTP server.

    Where ``host`` is given, the constructor connects. ``timeout``, in seconds, bounds the
    connecting, the TLS handshake, each reply as a whole and each write; None waits for
    ever, and without it `socket.setdefaulttimeout` decides. ``local_hostname`` is the name
    for EHLO, by default this host's. ``source_address`` is ``(host, port)`` to bind to.

    In a ``with`` block the connection is ended with QUIT. Each method goes through those
    it is documented to use, so that a subclass may replace any of them.

    Raises:
        SMTPConnectError: the greeting was a refusal.
        OSError, SMTPServerDisconnected: as `connect`.
    """

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: SourceAddress | None = None,
    ) -> None:
        self.timeout = timeout
        self.source_address = source_address
        self._begin(host)
        if host:
            code, message = self.connect(host, port)
            if code != 220:
                self.close()
                raise SMTPConnectError(code, message)
        self.local_hostname = own_name(self.sock) if local_hostname is None else local_hostname

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            code, message = self.docmd("QUIT")
            # Whatever ended the block is what the caller must hear of.
            if code != 221 and error is None:
                raise SMTPResponseException(code, message)
        except SMTPServerDisconnected:
            pass
        except SMTPProtocolError:
            if error is None:
                raise
        finally:
            self.close()

    def starttls(self, *, context: ssl.SSLContext | None = None) -> Reply:
        """Go on under TLS, and forget all that was said in clear (RFC 3207).

        The server's certificate and name are verified, with the system's authorities,
        unless ``context`` says otherwise.

        Raises:
            SMTPHeloError: EHLO and HELO were refused.
            SMTPNotSupportedError: the server does not offer it, or TLS is active already.
            SMTPResponseException: the server offers it and refuses.
            SMTPProtocolError: bytes came in clear behind its reply, from anybody
                (CVE-2011-0411). The connection is closed.
            SMTPTLSError: no TLS connection could be agreed on. The connection is closed.
            SMTPCertificateError: the certificate could not be verified. Likewise.
        """
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("starttls"):
            raise SMTPNotSupportedError("STARTTLS extension not supported by server.")
        if isinstance(self.sock, ssl.SSLSocket):
            raise SMTPNotSupportedError("STARTTLS: the connection is under TLS already.")
        code, message = self.docmd("STARTTLS")
        if code != 220:
            raise SMTPResponseException(code, message)
        if self._replies().has_unread():
            self.close()
            raise SMTPProtocolError(500, INJECTED)
        self._start_tls(context or ssl.create_default_context())
        self._forget_hello()
        return code, message

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Iterable[str],
        msg: Data,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Refused:
        """Send one message; return the recipients that were refused, where not all were.

        Says EHLO first where nothing was said yet. ``msg`` goes through `data`. Its size is
        declared, and ``mail_options`` and ``rcpt_options`` are sent, where the server does
        ESMTP. The connection stays usable after an exception, unless the server ended it.

        Raises:
            SMTPHeloError: EHLO and HELO were refused.
            SMTPSenderRefused: the sender was refused; with code 552, and nothing sent,
                where the message is larger than the server said it takes.
            SMTPRecipientsRefused: no recipient is left.
            SMTPDataError: the content was refused.
            SMTPDeliveryUnknown: all was sent, and the connection broke before the reply.
            SMTPNotSupportedError: ``mail_options`` has SMTPUTF8, the server has not.
            UnicodeEncodeError: text, or an address without SMTPUTF8, is not ASCII.
        """
        self.ehlo_or_helo_if_needed()
        content = as_bytes(msg)
        options: list[str] = []
        if self.does_esmtp:
            if self.has_extn("size"):
                self._check_size(len(content), from_addr)
                options.append(f"size={len(content)}")
            options.extend(mail_options)
        code, message = self.mail(from_addr, options)
        if code != 250:
            self._give_up(code)
            raise SMTPSenderRefused(code, message, from_addr)
        try:
            refused = self._name_recipients(to_addrs, rcpt_options)
            code, message = self.data(content)
        except SMTPDataError as error:
            self._give_up(error.smtp_code)
            raise
        except (SMTPRecipientsRefused, SMTPServerDisconnected, SMTPProtocolError):
            raise
        except Exception:
            # As for an address that cannot be sent: the transaction is open, and the
            # next message would be refused for it.
            self._rset()
            raise
        return self._after_content(code, message, refused)

    def send_message(
        self,
        msg: Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Refused:
        """Send a message object with `sendmail`; addresses default to those in its header.

        The sender is the Sender field, or From; the recipients are To, Bcc and Cc; in a
        message that was resent, the fields that begin with Resent- (RFC 5322 section
        3.6.6). Bcc fields are not transmitted. Where an address is not ASCII, SMTPUTF8 and
        BODY=8BITMIME are asked for, and header fields go out in UTF-8 (RFC 6531).

        Raises:
            SMTPNotSupportedError: an address is not ASCII, the server lacks SMTPUTF8.
            InvalidMessageError: no sender is given, or a header field holds a line break.
            ValueError: the message has more than one Resent- block.
            SMTPException: as `sendmail`.
        """
        self.ehlo_or_helo_if_needed()
        prefix = headers.resent_prefix(msg)
        sender = headers.sender(msg, prefix) if from_addr is None else from_addr
        recipients = headers.recipients(msg, prefix) if to_addrs is None else to_addrs
        if not isinstance(recipients, str):
            recipients = list(recipients)  # an iterator can be asked only once
        outgoing = headers.without_bcc(msg)
        policy: Policy[Any] | None = None
        if not "".join([sender, *recipients]).isascii():
            if not self.has_extn("smtputf8"):
                raise SMTPNotSupportedError(
                    "One or more source or delivery addresses require"
                    " internationalized email support, but the server"
                    " does not advertise the required SMTPUTF8 capability"
                )
            # The legacy policy (``compat32``) does not know utf8.
            if isinstance(msg.policy, EmailPolicy):
                policy = msg.policy.clone(utf8=True)
            mail_options = (*mail_options, "SMTPUTF8", "BODY=8BITMIME")
        content = headers.flattened(outgoing, policy)
        return self.sendmail(sender, recipients, content, mail_options, rcpt_options)

    def quit(self) -> Reply:
        """End the session with QUIT and close the connection."""
        try:
            reply = self.docmd("quit")
            self._forget_hello()
            return reply
        finally:
            self.close()

    # What sendmail is made of

    def _check_size(self, size: int, from_addr: str) -> None:
        limit = Extensions({"SIZE": self.esmtp_features.get("size", "")}).max_size
        if limit is not None and size > limit:
            # What the server would answer to MAIL (RFC 1870 section 6.1 item 1), and so
            # what a program written for that already looks for.
            raise SMTPSenderRefused(
                552,
                b"5.3.4 Message of %d bytes is larger than the server's limit of %d (SIZE)"
                % (size, limit),
                from_addr,
            )

    def _name_recipients(self, to_addrs: str | Iterable[str], options: Sequence[str]) -> Refused:
        """RCPT for each; returns the refused, where not all are.

        Raises:
            SMTPRecipientsRefused: no recipient was taken. The transaction is over.
        """
        refused: Refused = {}
        is_any_taken = False
        for address in [to_addrs] if isinstance(to_addrs, str) else to_addrs:
            code, message = self.rcpt(address, options)
            if code in (250, 251):
                is_any_taken = True
            else:
                refused[address] = code, message
            if code == 421:
                self.close()
                raise SMTPRecipientsRefused(refused)
        if not is_any_taken:
            self._rset()
            raise SMTPRecipientsRefused(refused)
        return refused

    def _after_content(self, code: int, message: bytes, refused: Refused) -> Refused:
        """What `sendmail` returns, or raises, for this reply to the content."""
        if code != 250:
            self._give_up(code)
            raise SMTPDataError(code, message)
        return refused

    def _give_up(self, code: int) -> None:
        if code == 421:
            self.close()
        else:
            self._rset()

    def _rset(self) -> None:
        """RSET after a refusal; a broken connection shows with the next command."""
        with contextlib.suppress(SMTPServerDisconnected, SMTPProtocolError):
            self.rset()

    def _start_tls(self, context: ssl.SSLContext) -> None:
        sock, self.sock = self._replies().sock, None
        self.sock = tls.wrap(context, sock, self._host)
