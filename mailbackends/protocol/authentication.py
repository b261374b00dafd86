"""Logging in: which mechanisms are tried, and the course of one AUTH exchange.

Both are generators that know neither a session nor a socket. `attempts` yields the mechanism
to try next; `exchange` yields the commands of one attempt and receives the replies. `dialogue`
runs them over a `Session`, and `mailbackends.client.login` through the methods of `SMTP`.
"""

from __future__ import annotations

import binascii
import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias

from mailbackends.errors import SMTPAuthenticationError, SMTPException, SMTPProtocolError
from mailbackends.protocol import sasl
from mailbackends.protocol.command import Command
from mailbackends.reply import Reply
from mailbackends.secret import without_frames

__all__ = ["SMTPLIB_RULES", "Exchange", "ExchangeRules", "Responder", "attempts", "exchange"]

# SCRAM needs three responses, and one more to the server's proof; LOGIN needs two.
_MAX_RESPONSES = 6
# RFC 4954 section 4: an AUTH command line has at most 12288 octets, in base64.
_MAX_INITIAL_RESPONSE = 9_000

Exchange: TypeAlias = Generator[Command, Reply, Reply]
"""Yields the commands of one attempt, receives their replies, and returns the last one."""


class Responder(Protocol):
    """What `exchange` uses of a `sasl.Mechanism`."""

    @property
    def name(self) -> str:
        """As in the AUTH command."""

    def initial_response(self) -> bytes | None:
        """What goes with the AUTH command, or None."""

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge."""

    def finish(self, reply_text: bytes = b"") -> None:
        """Check that the server's success can be trusted."""


@dataclass(frozen=True, slots=True)
class ExchangeRules:
    """The rules of an AUTH exchange that differ between `Mailer` and the `smtplib` interface."""

    success: frozenset[int]
    """The reply codes that mean success."""
    decode: Callable[[bytes], bytes]
    """The challenge in the text of a 334 reply; raises `sasl.SASLServerError`."""
    endless: Callable[[], SMTPException]
    """The error for challenges without end."""


def _decode_leniently(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except binascii.Error:
        pass
    raise sasl.SASLServerError("the server's challenge is not base64")


def _decode_prompt(text: bytes) -> bytes:
    """A prompt for people, which some servers send without base64."""
    try:
        return sasl.decode_challenge(text)
    except sasl.SASLServerError:
        return text[: sasl.MAX_CHALLENGE]


RULES = ExchangeRules(
    success=frozenset({235}),
    decode=sasl.decode_challenge,
    endless=lambda: SMTPProtocolError(500, b"the AUTH exchange does not end"),
)
"""RFC 4954 to the letter."""

SMTPLIB_RULES = ExchangeRules(
    success=frozenset({235, 503}),
    decode=_decode_leniently,
    endless=lambda: SMTPException("Server AUTH mechanism infinite loop: the connection is closed"),
)
"""Like the standard library: 503 means "already logged in"; a challenge may contain anything."""


def attempts(
    advertised: Iterable[str],
    credentials: sasl.Credentials,
    allowed: Sequence[str] | None = None,
) -> Generator[sasl.Mechanism, SMTPAuthenticationError, NoReturn]:
    """Yield the mechanisms to try, from strong to weak, and receive the refusal of each.

    Some servers announce mechanisms that they have no secrets for (SCRAM, while passwords are
    stored as bcrypt), so a refusal is not final while another mechanism is left. A token
    provider is called again, once, after a 535: the token may just have expired.

    Raises:
        SMTPNotSupportedError: no mechanism in common.
        SMTPAuthenticationError: the last refusal; or the server broke the mechanism, and may
            be an impostor that must not get the password by a weaker one.
    """
    for mechanism in sasl.choose(advertised, credentials, allowed):
        for _ in range(2 if mechanism.uses_token else 1):
            refusal = yield mechanism(credentials)
            if _may_start_again(mechanism, refusal):
                again = mechanism(credentials)
                again.sends_initial_response = False
                refusal = yield again
            cause = refusal.__cause__
            if isinstance(cause, sasl.SASLServerError):
                raise refusal
            if refusal.smtp_code != 535 or isinstance(cause, sasl.SASLError):
                break
            if mechanism.uses_token:
                credentials.reject_token()
    raise refusal


def _may_start_again(mechanism: type[sasl.Mechanism], refusal: SMTPAuthenticationError) -> bool:
    """True if the server may have stumbled over the initial response, which LOGIN lacks."""
    if mechanism.reads_challenges:
        return False
    cause = refusal.__cause__
    return isinstance(cause, sasl.SASLRestartError) or (
        cause is None and refusal.smtp_code in (501, 502, 504)
    )


def exchange(
    mechanism: Responder,
    close: Callable[[], object],
    *,
    use_initial_response: bool = True,
    rules: ExchangeRules = RULES,
) -> Exchange:
    """Yield the commands of one AUTH exchange, and return the last reply (RFC 4954 section 4).

    ``close`` is called as soon as the server cannot be trusted any more. An exception of the
    mechanism's reaches the caller after the exchange was cancelled: otherwise the server would
    read the next command as a response.

    Raises:
        SMTPAuthenticationError: refused. It has a `sasl.SASLCredentialsError` as its cause if
            nothing was sent, and a `sasl.SASLServerError` if the server broke the mechanism:
            then the connection is closed, since it may be an impostor.
        SMTPProtocolError, SMTPException: the server sends challenges without end. The connection
            is closed.
    """
    use_initial_response = use_initial_response and getattr(
        mechanism, "sends_initial_response", True
    )
    decode = rules.decode if getattr(mechanism, "reads_challenges", True) else _decode_prompt
    opening, held_back = _opening(mechanism, use_initial_response=use_initial_response)
    responses = int(opening.is_secret)
    reply = yield opening
    while reply.code == 334:
        if responses == _MAX_RESPONSES:
            close()
            del reply  # A server may quote a secret in a challenge, too.
            raise rules.endless()
        responses += 1
        try:
            # A long initial response waits for the first challenge, which is empty.
            response = held_back or _response(mechanism, decode(reply.message))
        except Exception as error:
            del reply
            without_frames(error)
            yield from _cancel(close)
            if isinstance(error, sasl.SASLError):
                raise _refusal(error, close) from error
            raise
        held_back = None
        reply = yield response
    if reply.code not in rules.success:
        raise SMTPAuthenticationError(reply.code, reply.message)
    if reply.code == 235:
        try:
            mechanism.finish(reply.message)
        except sasl.SASLServerError as error:
            raise _refusal(error, close) from error
    return reply


def _refusal(error: sasl.SASLError, close: Callable[[], object]) -> SMTPAuthenticationError:
    if isinstance(error, sasl.SASLServerError):
        close()
    return SMTPAuthenticationError(535, str(error).encode())


# No local variable contains a secret: error reports show the variables of each frame.


def _opening(mechanism: Responder, *, use_initial_response: bool) -> tuple[Command, Command | None]:
    """The AUTH command, and the initial response if that is too long for its line."""
    try:
        initial = mechanism.initial_response() if use_initial_response else None
    except sasl.SASLCredentialsError as error:
        raise SMTPAuthenticationError(535, str(error).encode()) from error
    if initial is None:
        return Command("AUTH", mechanism.name), None
    if len(initial) > _MAX_INITIAL_RESPONSE:
        return Command("AUTH", mechanism.name), _secret(sasl.encode_response(initial))
    encoded = sasl.encode_initial_response(initial).decode("ascii")
    return Command("AUTH", f"{mechanism.name} {encoded}", is_secret=True), None


def _response(mechanism: Responder, challenge: bytes) -> Command:
    return _secret(sasl.encode_response(mechanism.respond(challenge)))


def _secret(line: bytes) -> Command:
    return Command("", line.decode("ascii"), is_secret=True)


def _cancel(close: Callable[[], object]) -> Generator[Command, Reply, None]:
    """End the exchange; what went wrong before counts, even if the server hangs up now."""
    with contextlib.suppress(SMTPException):
        reply = yield Command("*")
        if reply.code < 400:
            close()
