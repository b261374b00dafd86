"""What every SASL mechanism shares: credentials, base64, and the course of one exchange."""

from __future__ import annotations

import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import ClassVar

from mailbackends.protocol.sasl.errors import SASLServerError
from mailbackends.protocol.sasl.saslprep import saslprep, unprepared
from mailbackends.secret import Secret

__all__ = [
    "MAX_CHALLENGE",
    "Credentials",
    "Mechanism",
    "decode_challenge",
    "encode_initial_response",
    "encode_response",
]

# RFC 4954 section 4 calls lines of 12288 octets enough for all deployed mechanisms.
# Base64 makes four octets of three.
_MAX_ENCODED = 12288
MAX_CHALLENGE = _MAX_ENCODED // 4 * 3
"""The longest challenge that is accepted, in octets before base64."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The identity to log in as, and its secret. ``repr()`` shows no secret.

    ``token_provider`` returns a valid OAuth 2.0 access token. It is called for each attempt,
    so that a second attempt after a 535 carries a new one; if it has a method ``reject``, that
    is called in between. What it raises reaches the caller unchanged.

    ``authorization_identity`` is the identity to act as, if it is not the user who logs in
    (RFC 4422 section 3.4.1). Mechanisms that cannot carry it are not used.
    """

    username: str | None = None
    password: str | Secret | None = field(default=None, repr=False)
    """Stored as a `Secret`."""
    token_provider: Callable[[], str] | None = field(default=None, repr=False)
    authorization_identity: str | None = None

    def __post_init__(self) -> None:
        if self.password is not None:
            object.__setattr__(self, "password", Secret(self.password))

    @property
    def password_text(self) -> str | None:
        """The password, for the bytes that are made of it."""
        return self.password.reveal() if isinstance(self.password, Secret) else None

    @property
    def has_password(self) -> bool:
        """True if there is a user name and a password, which may be empty."""
        return self.username is not None and self.password is not None

    def reject_token(self) -> None:
        """Report that the server refused the provider's last token."""
        reject = getattr(self.token_provider, "reject", None)
        if callable(reject):
            reject()


def decode_challenge(text: bytes) -> bytes:
    """Return the challenge in the text of a 334 reply (RFC 4954 section 4).

    Raises:
        SASLServerError: it is too long, or is not base64. RFC 4954 section 4 wants the
            exchange cancelled then, even for one stray character.
    """
    # Some servers pad an empty challenge with more than the one space.
    encoded = text.strip(b" \t")
    if len(encoded) > _MAX_ENCODED:
        raise SASLServerError(f"the server's challenge is longer than {_MAX_ENCODED} octets")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        pass
    raise SASLServerError("the server's challenge is not base64")


def encode_response(response: bytes) -> bytes:
    """Return the line that answers a challenge, without its CRLF."""
    return binascii.b2a_base64(response, newline=False)


def encode_initial_response(response: bytes) -> bytes:
    """Return what follows the mechanism's name in the AUTH command.

    An empty response is written ``=``, to distinguish it from none (RFC 4954 section 4).
    """
    return encode_response(response) or b"="


class Mechanism(ABC):
    """One authentication exchange (RFC 4422): bytes in, bytes out, before base64.

    Make a new one for each attempt. Call `initial_response` once, then `respond` with each
    challenge, then `finish` when the server replies 235. A mechanism answers a limited number
    of challenges.

    After a `SASLError` the exchange is over: `respond` gives no further answer.
    """

    name: ClassVar[str]
    """As in the AUTH keyword of the EHLO reply, and in the AUTH command."""

    sends_secret_in_clear: ClassVar[bool]
    """True if anybody who reads the exchange, or poses as the server, can then log in."""

    is_client_first: ClassVar[bool] = True
    """False if the server sends the first message, so that there is no initial response."""

    uses_token: ClassVar[bool] = False
    """True if it calls the token provider, whose token may have expired."""

    only_if_asked: ClassVar[bool] = False
    """True if the mechanism is used only when it is allowed by name."""

    reads_challenges: ClassVar[bool] = True
    """False if the challenges are prompts for people, in any words and any encoding."""

    sends_initial_response: bool = True
    """False for an attempt in which the server asks first."""

    refusal: bytes | None = None
    """The reason that the server gave in a challenge: raw and unchecked, for a log only."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._turns = self._exchange()
        self._has_begun = False

    @classmethod
    @abstractmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether ``credentials`` contain what this mechanism needs."""

    @abstractmethod
    def _exchange(self) -> Generator[bytes, bytes, None]:
        """Yield the initial response, and then one response for each challenge.

        If the server sends the first message, the first value is dropped. The credentials are
        checked before it. Local variables never contain a secret where this may raise.
        """

    def initial_response(self) -> bytes | None:
        """Return what goes with the AUTH command; None if the server sends the first message.

        If it is too long for the command line, keep it back and send it as the response to the
        empty challenge that the server then sends (RFC 4954 section 4).

        Raises:
            SASLCredentialsError: the credentials cannot be used with this mechanism.
            RuntimeError: it was called before.
            Exception: whatever the token provider raises.
        """
        if self._has_begun:
            raise RuntimeError("a mechanism serves one attempt: make a fresh one for each")
        self._has_begun = True
        opening = next(self._turns)
        return opening if self.is_client_first else None

    def respond(self, challenge: bytes) -> bytes:
        """Return the response to ``challenge``. Both may be empty.

        If `initial_response` was not called, the first challenge is taken as the empty one
        that asks for it (RFC 4422 section 5.1).

        Raises:
            SASLServerError: the mechanism does not allow this challenge here.
            SASLCredentialsError, Exception: as `initial_response`, if that was not called.
        """
        if len(challenge) > MAX_CHALLENGE:
            self._has_begun = True
            self._turns.close()
            raise SASLServerError(f"the server's challenge is longer than {MAX_CHALLENGE} octets")
        if not self._has_begun:
            self.sends_initial_response = False
            opening = self.initial_response()
            if opening is not None:
                return opening
        try:
            return self._turns.send(challenge)
        except StopIteration:
            pass
        raise SASLServerError(f"the server continues {self.name} beyond its end")

    def finish(self, reply_text: bytes = b"") -> None:
        """Check that the server's success can be trusted. Call it after the 235.

        SMTP has no place for a mechanism's data in the 235 (RFC 4954 section 4): it comes in a
        last challenge. Some servers put it in the 235 in base64 instead, so ``reply_text``, the
        text of the 235, is searched for data that has not come.

        Raises:
            SASLServerError: the server did not prove its identity. It may be an impostor:
                close the connection.
        """
        if not self._is_server_proven(reply_text):
            raise SASLServerError(
                "the server accepted the login without a proof that it knows the password"
            )

    def _is_server_proven(self, reply_text: bytes) -> bool:
        """Return whether the server gave every proof that the mechanism asks of it."""
        return True

    def _username(self) -> bytes:
        return unprepared(self._credentials.username, what="the user name")

    def _password(self) -> bytes:
        return unprepared(self._credentials.password_text, what="the password")

    def _authorization_identity(self) -> bytes:
        """Return the identity to act as; empty if it is the user who logs in."""
        identity = self._credentials.authorization_identity
        if not identity:
            return b""
        # RFC 4954 section 4: in SMTP it is a "simple username", and is prepared.
        return saslprep(identity, what="the authorization identity").encode()
