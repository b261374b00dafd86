"""What is said around a message: greeting, EHLO, STARTTLS, AUTH, QUIT.

Each is a generator that queues commands in the session and yields what it waits for; a
driver runs it (`mailbackends.transport`), or a test, with replies and no socket.
"""

from __future__ import annotations

import contextlib
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
from mailbackends.protocol import extensions, sasl
from mailbackends.protocol.command import Command
from mailbackends.protocol.session import Dialogue, Session, State, Want
from mailbackends.reply import Reply

__all__ = [
    "ask", "authenticate", "greeting", "hello", "login", "quit_now", "see_it_close", "starttls",
]  # fmt: skip

# SCRAM needs three exchanges and one more for the server's word; LOGIN two.
_MAX_CHALLENGES = 8
# RFC 4954 section 4: an AUTH command line has at most 12288 octets, of base64 by then.
_MAX_INITIAL_RESPONSE = 9_000


def ask(session: Session, command: Command) -> Dialogue[Reply]:
    """The reply to one command."""
    session.send(command)
    reply: Reply = yield Want.REPLY
    return reply


def greeting(session: Session) -> Dialogue[Reply]:
    """Wait for the server to speak first (RFC 5321 section 3.1).

    Raises:
        SMTPConnectError: it does not want us now.
    """
    reply: Reply = yield Want.REPLY
    if reply.code != 220:
        session.close()
        raise SMTPConnectError(reply.code, reply.message)
    return reply


def hello(session: Session, name: str) -> Dialogue[Reply]:
    """EHLO, or HELO where the server does not know it; LHLO for LMTP.

    ``name`` is our host name or address literal (RFC 5321 section 4.1.4).

    Raises:
        SMTPHeloError: both were refused.
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
    """STARTTLS, the handshake, and EHLO anew, for nothing said before counts (RFC 3207).

    Raises:
        SMTPNotSupportedError: the server does not offer it; nothing more goes out in clear.
        SMTPResponseException: it offers it and refuses. The session is closed.
        SMTPProtocolError: bytes came in clear behind its reply. The session is closed.
    """
    if "STARTTLS" not in session.extensions:
        session.close()
        raise SMTPNotSupportedError("STARTTLS extension not supported by server.")
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
    """AUTH with each mechanism that both sides know, from strong to weak, until one works.

    Some servers announce mechanisms that they have no secrets for (SCRAM with passwords
    kept as bcrypt), so a refusal is not the last word while another mechanism is left.
    A token provider is asked anew, once, after a 535: the token may just have expired.

    Raises:
        SMTPNotSupportedError: no AUTH, or no mechanism in common.
        SMTPAuthenticationError: the last refusal.
    """
    if "AUTH" not in session.extensions:
        raise SMTPNotSupportedError("SMTP AUTH extension not supported by server.")
    refusal = SMTPAuthenticationError(535, b"no mechanism was tried")
    for mechanism in sasl.choose(session.extensions.auth_mechanisms, credentials, allowed):
        for _ in range(2 if mechanism.uses_token else 1):
            try:
                return (yield from authenticate(session, mechanism(credentials)))
            except sasl.SASLCredentialsError as error:
                refusal = SMTPAuthenticationError(535, str(error).encode())
                break
            except SMTPAuthenticationError as error:
                refusal = error
            if session.state is State.CLOSED:
                raise refusal
            if refusal.smtp_code != 535:
                break
    raise refusal


def authenticate(session: Session, mechanism: sasl.Mechanism) -> Dialogue[Reply]:
    """One AUTH exchange (RFC 4954 section 4).

    Raises:
        SASLCredentialsError: nothing was sent.
        SMTPAuthenticationError: refused. Where the server's own part of the exchange was
            wrong the session is closed: it may be an impostor.
        SMTPProtocolError: the server never came to an end. The session is closed.
    """
    opening, held_back = _opening(mechanism)
    reply = yield from ask(session, opening)
    try:
        for _ in range(_MAX_CHALLENGES):
            if reply.code != 334:
                break
            # A long initial response waits for the first challenge, which is empty.
            answer = held_back or _answer(mechanism, reply)
            held_back = None
            reply = yield from ask(session, answer)
        else:
            session.close()
            raise SMTPProtocolError(500, b"the AUTH exchange does not end")
        if reply.code != 235:
            raise SMTPAuthenticationError(reply.code, reply.message)
        mechanism.finish(reply.message)
    except sasl.SASLServerError as error:
        if reply.code == 334:
            # What the server did before is what counts, also if it hangs up now.
            with contextlib.suppress(SMTPException):
                yield from ask(session, Command("*"))
        session.close()
        raise SMTPAuthenticationError(535, str(error).encode()) from error
    return reply


# No local variable holds a secret: error reports show those of each frame.


def _opening(mechanism: sasl.Mechanism) -> tuple[Command, Command | None]:
    """The AUTH command, and the initial response where that is too long for its line."""
    initial = mechanism.initial_response()
    if initial is None:
        return Command("AUTH", mechanism.name), None
    if len(initial) > _MAX_INITIAL_RESPONSE:
        return Command("AUTH", mechanism.name), _secret(sasl.encode_response(initial))
    encoded = sasl.encode_initial_response(initial).decode("ascii")
    return Command("AUTH", f"{mechanism.name} {encoded}", is_secret=True), None


def _answer(mechanism: sasl.Mechanism, reply: Reply) -> Command:
    return _secret(sasl.encode_response(mechanism.respond(sasl.decode_challenge(reply.message))))


def _secret(line: bytes) -> Command:
    return Command("", line.decode("ascii"), is_secret=True)


def quit_now(session: Session) -> None:
    """Queue QUIT. Its reply need not be waited for: nothing depends on it."""
    session.send(Command("QUIT"))


def see_it_close() -> Dialogue[bool]:
    """Behind a 421: True where the server does hang up, and takes nothing of what it was sent."""
    try:
        while not (yield Want.REPLY).is_positive:
            pass
    except (SMTPTimeoutError, SMTPProtocolError):
        return False
    except SMTPServerDisconnected:
        return True
    return False
