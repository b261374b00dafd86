"""What ``backend.connection`` can be: the pool, or a third party's SMTP connection.

Recipes for Django's own backend override ``open()``, ``connection_class`` or ``_send()``
and put an `smtplib.SMTP`, or something like it, into ``backend.connection``. Messages are
then sent through its ``sendmail``, one after the other.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.generator import BytesGenerator
from email.message import Message
from smtplib import SMTPException, SMTPServerDisconnected
from typing import Any

from django_integration.addresses import prep_address
from django_integration.logs import logger
from django_integration.registry import MailerKey, registry
from mailbackends import Email, Receipt, RecipientsSuppressed, Reply, Submission
from mailbackends.integration import WrittenMessage, checked_policy

__all__ = [
    "PooledConnection",
    "connect",
    "default_context",
    "is_pooled",
    "quit_connection",
    "send_through",
]


class PooledConnection:
    """The Mailer of one configuration, with the methods of an `smtplib` connection that send.

    For code that uses ``backend.connection`` of Django's own backend. It keeps none of the
    pool's connections to itself: each call takes one and returns it, so a backend that is
    never closed does not block others.
    """

    def __init__(self, key: MailerKey) -> None:
        self._key = key

    @property
    def timeout(self) -> float | None:
        """The longest wait for one reply, in seconds."""
        return self._key.servers[0].timeout

    @property
    def local_hostname(self) -> str | None:
        """The name sent in EHLO; None means this machine's name."""
        return self._key.servers[0].local_hostname

    def open(self) -> bool:
        """Make sure that the pool has an open connection; True if a new one was made.

        Raises: as `mailbackends.Mailer.send_message`.
        """
        with registry.mailer(self._key) as mailer:
            return mailer.open()

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """As `smtplib.SMTP.sendmail`: the refused recipients, each with reply code and text.

        Raises: as `mailbackends.Mailer.send_message`; UnicodeEncodeError for text that is
            not ASCII.
        """
        content = msg.encode("ascii") if isinstance(msg, str) else msg
        receipt = self.send_message(content, from_addr, to_addrs, mail_options, rcpt_options)
        return {address: (reply.code, reply.message) for address, reply in receipt.refused.items()}

    def send_message(
        self,
        msg: Message[Any, Any] | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Receipt:
        """As `mailbackends.Mailer.send_message`."""
        with registry.mailer(self._key) as mailer:
            return mailer.send_message(msg, from_addr, to_addrs, mail_options, rcpt_options)

    def quit(self) -> None:
        """Do nothing: the pool closes its connections."""

    close = quit

    def __repr__(self) -> str:
        return f"<PooledConnection to {self._key.servers[0].server}>"


def is_pooled(connection: Any) -> bool:
    """True for a `PooledConnection`, unless a test has replaced its ``sendmail``."""
    return isinstance(connection, PooledConnection) and "sendmail" not in vars(connection)


def default_context(
    cafile: str | None, certfile: str | None, keyfile: str | None
) -> ssl.SSLContext:
    """A context that verifies the server and, with ``certfile``, has a client certificate."""
    context = ssl.create_default_context(cafile=cafile)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    return context


def connect(backend: Any, **arguments: Any) -> Any:
    """A new ``backend.connection_class``, encrypted and logged in as Django's backend does it."""
    if backend.use_ssl:
        arguments["context"] = backend.ssl_context
    connection = backend.connection_class(backend.host, backend.port, **arguments)
    try:
        if backend.use_tls and not backend.use_ssl:
            connection.starttls(context=backend.ssl_context)
        if backend.username and backend.password:
            connection.login(backend.username, backend.password)
    except BaseException:
        connection.close()
        raise
    return connection


def quit_connection(connection: Any, *, silently: bool) -> None:
    """End a third party's connection with QUIT; that the server is gone is not an error."""
    try:
        connection.quit()
    except (ssl.SSLError, SMTPServerDisconnected):
        connection.close()
    except SMTPException:
        if not silently:
            raise


def send_through(connection: Any) -> Callable[[Submission], Receipt]:
    """A function that sends one message through ``connection.sendmail``."""

    def send(submission: Submission) -> Receipt:
        suppressed = dict(submission.suppressed or {})
        given = [address for address in submission.to_addrs or () if address not in suppressed]
        if suppressed and not given:
            raise RecipientsSuppressed(suppressed)
        recipients = [prep_address(address) for address in given]
        sender = prep_address(submission.from_addr) if submission.from_addr else ""
        result = connection.sendmail(sender, recipients, _as_bytes(submission.message))
        refused = {
            address: Reply.of(code, text)
            for address, (code, text) in (result if isinstance(result, Mapping) else {}).items()
        }
        accepted = tuple(address for address in recipients if address not in refused)
        receipt = Receipt(accepted, Reply(250), refused, suppressed=suppressed)
        if refused:
            logger.warning("Partial refusal: %s", receipt)
        return receipt

    return send


def _as_bytes(message: Message[Any, Any] | Email | WrittenMessage | bytes) -> bytes:
    if isinstance(message, Email):
        message = message.as_email_message()
    if isinstance(message, bytes):
        return message
    if isinstance(message, WrittenMessage):
        message = message.build()
    buffer = io.BytesIO()
    policy = checked_policy(message.policy, linesep="\r\n")
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(message)
    return buffer.getvalue()
