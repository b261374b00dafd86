"""Connections that are not the pool's: what subclasses of Django's backend bring along.

Recipes for Django's own backend override ``open()``, ``connection_class`` or ``_send()``
and put an `smtplib.SMTP`, or something like it, into ``backend.connection``. Messages then
go through its ``sendmail``, one after the other.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Mapping
from email.generator import BytesGenerator
from email.message import Message
from smtplib import SMTPException, SMTPServerDisconnected
from typing import TYPE_CHECKING, Any

from django.core.mail import DNS_NAME

from django_integration.addresses import prep_address
from django_integration.connection import PooledConnection
from django_integration.logs import logger
from mailbackends import SMTP, SMTP_SSL, Receipt, Reply, Submission, WrittenMessage

if TYPE_CHECKING:
    from django_integration.backend import EmailBackend

__all__ = ["connect", "connection_class", "default_context", "hang_up", "is_ours", "sender"]


def is_ours(connection: Any) -> bool:
    """True for the pool's, unless a test has put a ``sendmail`` of its own on it."""
    return isinstance(connection, PooledConnection) and "sendmail" not in vars(connection)


def connection_class(backend: EmailBackend) -> type[SMTP]:
    """The class that `connect` makes, unless a subclass of the backend has another."""
    return SMTP_SSL if backend.use_ssl else SMTP


def default_context(backend: EmailBackend) -> ssl.SSLContext:
    """A context that verifies the server, with the client certificate where there is one."""
    context = ssl.create_default_context(cafile=backend._configuration.further.get("ssl_cafile"))
    if backend.ssl_certfile:
        context.load_cert_chain(backend.ssl_certfile, backend.ssl_keyfile)
    return context


def connect(backend: EmailBackend) -> Any:
    """A connection of ``backend.connection_class``, encrypted and logged in."""
    arguments: dict[str, Any] = {"local_hostname": DNS_NAME.get_fqdn()}
    arguments["timeout"] = backend.options.timeout
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


def hang_up(connection: Any, *, silently: bool) -> None:
    """Say QUIT; a server that is gone already does not mind."""
    try:
        connection.quit()
    except (ssl.SSLError, SMTPServerDisconnected):
        connection.close()
    except SMTPException:
        if not silently:
            raise


def sender(connection: Any) -> Callable[[Submission], Receipt]:
    """A function that sends one message through ``connection.sendmail``."""

    def send(submission: Submission) -> Receipt:
        recipients = [prep_address(address) for address in submission.to_addrs or ()]
        sent_from = prep_address(submission.from_addr) if submission.from_addr else ""
        answer = connection.sendmail(sent_from, recipients, _serialised(submission.message))
        refused = {
            address: Reply(code, tuple(text.split(b"\n")))
            for address, (code, text) in (answer if isinstance(answer, Mapping) else {}).items()
        }
        accepted = tuple(address for address in recipients if address not in refused)
        receipt = Receipt(accepted, Reply(250), refused)
        if refused:
            logger.warning("partial refusal: %s", receipt)
        return receipt

    return send


def _serialised(message: Message[Any, Any] | WrittenMessage | bytes) -> bytes:
    if isinstance(message, bytes):
        return message
    if isinstance(message, WrittenMessage):
        message = message.build()
    buffer = io.BytesIO()
    policy = message.policy.clone(linesep="\r\n")
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(message)
    return buffer.getvalue()
