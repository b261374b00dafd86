"""What all mechanisms have in common: one exchange, driven from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import ClassVar

from mailbackends.protocol.sasl.codec import MAX_CHALLENGE
from mailbackends.protocol.sasl.credentials import Credentials
from mailbackends.protocol.sasl.errors import SASLServerError
from mailbackends.protocol.sasl.saslprep import prepared, saslprep

__all__ = ["Mechanism"]


class Mechanism(ABC):
    """One authentication exchange (RFC 4422): bytes in, bytes out, before base64.

    Make a fresh one for each attempt. Call `initial_response` once, then `respond` with
    each challenge, then `finish` when the server says 235. The number of challenges that
    get an answer is bounded by the mechanism.

    After a `SASLError` the exchange is over: `respond` gives no further answer.
    """

    name: ClassVar[str]
    """As in the EHLO reply's AUTH keyword and in the AUTH command."""

    sends_secret_in_clear: ClassVar[bool]
    """True where whoever reads the exchange, or plays the server, can log in with it."""

    is_client_first: ClassVar[bool] = True
    """False where the server speaks first, and there is no initial response."""

    uses_token: ClassVar[bool] = False
    """True where it asks the token provider, whose token may have expired by then."""

    only_if_asked: ClassVar[bool] = False
    """True where the mechanism is chosen only when it is allowed by name."""

    refusal: bytes | None = None
    """What the server gave as its reason in a challenge: raw, unchecked, for a log only."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._turns = self._exchange()
        self._is_begun = False

    @classmethod
    @abstractmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether ``credentials`` have what this mechanism needs."""

    @abstractmethod
    def _exchange(self) -> Generator[bytes, bytes, None]:
        """Yield the initial response, and then one response for each challenge.

        The first of a mechanism where the server speaks first is dropped. The credentials
        are checked before it. Local variables never hold a secret where this may raise.
        """

    def initial_response(self) -> bytes | None:
        """Return what goes with the AUTH command; None if the server speaks first.

        Where it is too long for the command line, keep it back and give it in answer to
        the empty challenge that the server then sends (RFC 4954 section 4).

        Raises:
            SASLCredentialsError: the credentials cannot be used with this mechanism.
            RuntimeError: it was called before.
            Exception: whatever the token provider raises.
        """
        if self._is_begun:
            raise RuntimeError("a mechanism serves one attempt: make a fresh one for each")
        self._is_begun = True
        opening = next(self._turns)
        return opening if self.is_client_first else None

    def respond(self, challenge: bytes) -> bytes:
        """Return the response to ``challenge``, which may be empty, as may the response.

        If `initial_response` was not called, the first challenge is taken as the empty
        one that asks for it (RFC 4422 section 5.1).

        Raises:
            SASLServerError: the challenge is none that this mechanism allows here.
            SASLCredentialsError, Exception: as `initial_response`, where that was not
                called.
        """
        if len(challenge) > MAX_CHALLENGE:
            self._is_begun = True
            self._turns.close()
            raise SASLServerError(f"the server's challenge is longer than {MAX_CHALLENGE} octets")
        if not self._is_begun:
            opening = self.initial_response()
            if opening is not None:
                return opening
        try:
            return self._turns.send(challenge)
        except StopIteration:
            pass
        raise SASLServerError(f"the server goes on with {self.name} beyond its end")

    def finish(self, reply_text: bytes = b"") -> None:
        """Check that the server's success may be believed. Call it after the 235.

        SMTP has no place for a mechanism's data in the 235 (RFC 4954 section 4): it comes
        in a last challenge. Some servers put it there all the same, in base64, and so
        ``reply_text``, the text of the 235, is looked through where data is missing.

        Raises:
            SASLServerError: the server did not prove who it is. It may be an impostor:
                close the connection.
        """
        if not self._is_server_proven(reply_text):
            raise SASLServerError(
                "the server accepted the login without a proof that it knows the password"
            )

    def _is_server_proven(self, reply_text: bytes) -> bool:
        """Return whether the server gave all the proof that the mechanism asks of it."""
        return True

    def _username(self) -> bytes:
        return prepared(self._credentials.username, what="the user name").encode()

    def _password(self) -> bytes:
        return prepared(self._credentials.password, what="the password").encode()

    def _authorization_identity(self) -> bytes:
        """Return whom to act as; empty where that is the user who logs in."""
        identity = self._credentials.authorization_identity
        if not identity:
            return b""
        # RFC 4954 section 4: in SMTP it is a "simple username", and goes prepared.
        return saslprep(identity, what="the authorization identity").encode()
