"""`SMTP`: a connection to a mail server, with the interface of `smtplib`."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Sequence
from email.message import Message
from email.policy import EmailPolicy, Policy
from types import TracebackType
from typing import Any, Self

from mailbackends.client.channel import DEFAULT_TIMEOUT, CodeAndText, SourceAddress, add_hint
from mailbackends.client.formatting import Data, as_bytes, flattened, without_bcc
from mailbackends.client.login import Login
from mailbackends.errors import (
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from mailbackends.known_errors import INJECTED
from mailbackends.protocol import envelope, hints
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.negotiation import size_refusal
from mailbackends.transport.dial import own_name
from mailbackends.transport.stream import Stream
from mailbackends.transport.waiting import Deadline, run

__all__ = ["SMTP", "Refused", "under_tls"]

Refused = dict[str, CodeAndText]
"""Refused recipients, each with the code and the text of the refusal."""


class SMTP(Login):
    """A connection to an SMTP server.

    If ``host`` is given, the constructor connects. ``timeout``, in seconds, limits connecting,
    the TLS handshake, each reply as a whole and each write; with None there is no limit, and
    by default `socket.setdefaulttimeout` decides. ``local_hostname`` is the name for EHLO, by
    default this host's. ``source_address`` is the ``(host, port)`` to bind to.

    A ``with`` block ends the connection with QUIT. Each method calls the methods that it is
    documented to use, so that a subclass may override any of them.

    Raises:
        SMTPConnectError: the greeting was a refusal.
        OSError, SMTPServerDisconnected: like `connect`.
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
        self.local_hostname: str = own_name(self.sock) if local_hostname is None else local_hostname

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
            # An exception that ended the block must reach the caller.
            if code != 221 and error is None:
                raise SMTPResponseException(code, message)
        except SMTPServerDisconnected:
            pass
        except SMTPProtocolError:
            if error is None:
                raise
        finally:
            self.close()

    def starttls(self, *, context: ssl.SSLContext | None = None) -> CodeAndText:
        """Start TLS, and forget everything that was received in clear (RFC 3207).

        The server's certificate and its name are verified with the system's authorities,
        unless ``context`` is configured otherwise.

        Raises:
            SMTPHeloError: EHLO and HELO were refused.
            SMTPNotSupportedError: the server does not offer it, or TLS is active already.
            SMTPResponseException: the server offers it, and refuses.
            SMTPProtocolError: bytes in clear followed its reply (CVE-2011-0411). The connection
                is closed.
            SMTPTLSError: the handshake failed. The connection is closed.
            SMTPCertificateError: the certificate could not be verified. Likewise.
            SMTPTimeoutError: the handshake took too long. Likewise.
        """
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("starttls"):
            error = SMTPNotSupportedError("STARTTLS extension not supported by server.")
            error.suggesting(hints.no_starttls(self._extensions()))
            add_hint(error)
            raise error
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
        """Send one message, and return the recipients that were refused, if not all were.

        Sends EHLO first if needed. `data` sends ``msg``. The size is declared, and
        ``mail_options`` and ``rcpt_options`` are sent, if the server does ESMTP. The
        connection stays usable after an exception, unless the server ended it.

        Raises:
            SMTPHeloError: EHLO and HELO were refused.
            SMTPSenderRefused: the sender was refused; with code 552, and nothing sent, if the
                message is larger than the server announced that it takes.
            SMTPRecipientsRefused: all recipients were refused.
            SMTPDataError: the content was refused.
            SMTPDeliveryUnknown: all was sent, and the connection broke before the reply.
            SMTPNotSupportedError: ``mail_options`` include SMTPUTF8, which the server lacks.
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
            refusal = SMTPSenderRefused(code, message, from_addr)
            add_hint(refusal)
            raise refusal
        try:
            refused = self._send_recipients(to_addrs, rcpt_options)
            code, message = self.data(content)
        except SMTPDataError as error:
            self._give_up(error.smtp_code)
            add_hint(error)
            raise
        except (SMTPRecipientsRefused, SMTPServerDisconnected, SMTPProtocolError) as error:
            add_hint(error)
            raise
        except Exception:
            # An address that cannot be sent, for example: the transaction is open, and the
            # next message would be refused because of it.
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
        3.6.6). Bcc fields are not sent. If an address is not ASCII, SMTPUTF8 and BODY=8BITMIME
        are requested, and header fields are sent in UTF-8 (RFC 6531).

        Raises:
            SMTPNotSupportedError: an address is not ASCII, and the server lacks SMTPUTF8.
            InvalidMessageError: no sender is given, a header field contains a line break, or
                the message has more than one Resent- block.
            SMTPException: like `sendmail`.
        """
        self.ehlo_or_helo_if_needed()
        sender, recipients = envelope.addresses_of(msg, from_addr, to_addrs, envelope.SMTPLIB_RULES)
        outgoing = without_bcc(msg)
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
        content = flattened(outgoing, policy)
        return self.sendmail(sender, recipients, content, mail_options, rcpt_options)

    def quit(self) -> CodeAndText:
        """End the session with QUIT and close the connection."""
        try:
            reply = self.docmd("quit")
            self._forget_hello()
            return reply
        finally:
            self.close()

    # The parts of sendmail

    def _check_size(self, size: int, from_addr: str) -> None:
        announced = Extensions({"SIZE": self.esmtp_features.get("size", "")})
        if (refusal := size_refusal(size, announced)) is not None:
            # `Mailer` raises SMTPDataError. The server would refuse MAIL, which programs
            # written for smtplib expect.
            raise SMTPSenderRefused(refusal.code, refusal.message, from_addr)

    def _send_recipients(self, to_addrs: str | Iterable[str], options: Sequence[str]) -> Refused:
        """Send RCPT for each, and return the refused ones, if not all were refused.

        Raises:
            SMTPRecipientsRefused: all were refused. The transaction is over.
        """
        refused: Refused = {}
        is_any_accepted = False
        for address in [to_addrs] if isinstance(to_addrs, str) else to_addrs:
            code, message = self.rcpt(address, options)
            if code in (250, 251):
                is_any_accepted = True
            else:
                refused[address] = code, message
            if code == 421:
                self.close()
                raise SMTPRecipientsRefused(refused)
        if not is_any_accepted:
            self._rset()
            raise SMTPRecipientsRefused(refused)
        return refused

    def _after_content(self, code: int, message: bytes, refused: Refused) -> Refused:
        """Return what `sendmail` returns for this reply to the content, or raise its exception."""
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
        """Send RSET after a refusal. A broken connection is found by the next command."""
        with contextlib.suppress(SMTPServerDisconnected, SMTPProtocolError):
            self.rset()

    def _start_tls(self, context: ssl.SSLContext) -> None:
        sock, self.sock = self._replies().sock, None
        self.sock = under_tls(context, sock, self._host, after_starttls=True)


def under_tls(
    context: ssl.SSLContext, sock: socket.socket, host: str, *, after_starttls: bool = False
) -> socket.socket:
    """The socket under TLS, with its timeout; closed if the handshake fails."""
    timeout = sock.gettimeout()
    stream = Stream(sock)
    deadline = Deadline.after(timeout, "the TLS handshake")
    try:
        run(stream.start_tls(context, host, deadline, after_starttls=after_starttls))
    except SMTPException as error:
        add_hint(error)
        stream.abort()
        raise
    except BaseException:
        stream.abort()
        raise
    stream.sock.settimeout(timeout)
    return stream.sock
