"""The commands before and after messages: greeting, EHLO, STARTTLS, AUTH, QUIT.

Each is a generator that queues commands in the session and yields what it waits for. A driver
runs it (`mailbackends.transport`), or a test, with replies and without a socket.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailbackends.errors import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPProtocolError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.protocol import authentication, extensions, hints, sasl
from mailbackends.protocol.command import Command
from mailbackends.protocol.session import Session, State, Want
from mailbackends.protocol.state import Dialogue
from mailbackends.reply import Reply

__all__ = [
    "ask", "authenticate", "greeting", "hello", "login", "quit_now", "starttls", "wait_for_close",
]  # fmt: skip


def ask(session: Session, command: Command) -> Dialogue[Reply]:
    """Send one command, and return its reply."""
    session.send(command)
    reply: Reply = yield Want.REPLY
    return reply


def greeting(session: Session) -> Dialogue[Reply]:
    """Wait for the greeting, with which the server begins (RFC 5321 section 3.1).

    Raises:
        SMTPConnectError: the greeting is a refusal. The session is closed.
    """
    try:
        reply: Reply = yield Want.REPLY
    except (SMTPServerDisconnected, SMTPTimeoutError) as error:
        if error.hint is None and (fix := hints.no_greeting(session)):
            error.suggesting(fix)
        raise
    except SMTPProtocolError as error:
        raise error.suggesting(hints.NOT_SMTP)  # noqa: B904 - it is the same error
    if reply.code != 220:
        session.close()
        raise SMTPConnectError(reply.code, reply.message)
    return reply


def hello(session: Session, name: str) -> Dialogue[Reply]:
    """EHLO, or HELO if the server refuses it; LHLO for LMTP.

    ``name`` is the host name or address literal of this host (RFC 5321 section 4.1.4).

    Raises:
        SMTPHeloError: both were refused. The session is closed.
    """
    reply = yield from ask(session, Command("LHLO" if session.is_lmtp else "EHLO", name))
    if reply.is_positive:
        session.extensions = extensions.parse(reply)
    elif not session.is_lmtp and session.state is not State.CLOSED:
        reply = yield from ask(session, Command("HELO", name))
        session.extensions = extensions.Extensions()
    if not reply.is_positive:
        session.close()
        raise SMTPHeloError(reply.code, reply.message)
    return reply


def starttls(session: Session, name: str) -> Dialogue[None]:
    """STARTTLS, the handshake, and a second EHLO; what the server sent in clear is discarded (RFC
    3207).

    The session is closed if it fails, so that nothing more is sent in clear.

    Raises:
        SMTPNotSupportedError: the server does not offer STARTTLS.
        SMTPResponseException: the server offers STARTTLS, and refuses it.
        SMTPProtocolError: bytes in clear followed its reply.
    """
    if "STARTTLS" not in session.extensions:
        session.close()
        error = SMTPNotSupportedError("STARTTLS extension not supported by server")
        raise error.suggesting(hints.no_starttls(session.extensions))
    reply = yield from ask(session, Command("STARTTLS"))
    if reply.code != 220:
        session.close()
        raise SMTPResponseException(reply.code, reply.message)
    session.check_nothing_buffered()
    yield Want.TLS
    session.start_tls()
    yield from hello(session, name)


def login(
    session: Session, credentials: sasl.Credentials, allowed: Sequence[str] | None = None
) -> Dialogue[Reply]:
    """AUTH with each mechanism in common, from strong to weak, until one succeeds.

    Raises:
        SMTPNotSupportedError: the server offers no AUTH, or no mechanism in common.
        SMTPAuthenticationError: the last refusal.
        SMTPProtocolError: the server sends challenges without end. The session is closed.
    """
    if "AUTH" not in session.extensions:
        unsupported = SMTPNotSupportedError("SMTP AUTH extension not supported by server")
        raise unsupported.suggesting(hints.no_login(session.extensions, is_tls=session.is_tls))
    session.masking.exempt(credentials.username, credentials.authorization_identity)
    attempts = authentication.attempts(session.extensions.auth_mechanisms, credentials, allowed)
    mechanism = next(attempts)
    while True:
        try:
            return (yield from authenticate(session, mechanism))
        except SMTPAuthenticationError as error:
            error.username = credentials.username
            if session.state is State.CLOSED:
                raise
            refusal = error
        mechanism = attempts.send(refusal)


def authenticate(session: Session, mechanism: sasl.Mechanism) -> Dialogue[Reply]:
    """One AUTH exchange: `authentication.exchange` over this session."""
    exchange = authentication.exchange(mechanism, session.close)
    command = next(exchange)
    try:
        while True:
            try:
                reply = yield from ask(session, command)
            except SMTPException as error:
                command = exchange.throw(error)
            else:
                command = exchange.send(reply)
    except StopIteration as end:
        done: Reply = end.value
        return done


def quit_now(session: Session) -> None:
    """Queue QUIT. Nothing depends on its reply, which need not be awaited."""
    session.send(Command("QUIT"))


def wait_for_close() -> Dialogue[bool]:
    """After a 421: True if the server does close, and so accepts nothing of what it was sent.

    Refusals prove nothing: the 421 may have come unasked, so that one reply is left.
    """
    try:
        while not (yield Want.REPLY).is_positive:
            pass
    except (SMTPTimeoutError, SMTPProtocolError):
        return False
    except SMTPServerDisconnected:
        return True
    return False
