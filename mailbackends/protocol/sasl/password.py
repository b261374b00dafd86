"""The older mechanisms with a password: PLAIN, LOGIN, CRAM-MD5."""

from __future__ import annotations

import hmac
from collections.abc import Generator

from mailbackends.protocol.sasl.credentials import Credentials
from mailbackends.protocol.sasl.errors import SASLServerError
from mailbackends.protocol.sasl.mechanism import Mechanism

__all__ = ["CramMD5", "Login", "Plain"]


class Plain(Mechanism):
    """PLAIN: the password as it is, in one message (RFC 4616)."""

    name = "PLAIN"
    sends_secret_in_clear = True

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name with a password."""
        return credentials.has_password

    def _exchange(self) -> Generator[bytes, bytes, None]:
        yield b"\0".join((self._authorization_identity(), self._username(), self._password()))


class Login(Mechanism):
    """LOGIN: user name and password as they are, each asked for (draft-murchison-sasl-login).

    The user name goes as initial response, which saves a round trip. The draft has none,
    but servers take it, as the standard library has always sent it.
    """

    name = "LOGIN"
    sends_secret_in_clear = True

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name with a password, and nothing else to carry."""
        return credentials.has_password and not credentials.authorization_identity

    def _exchange(self) -> Generator[bytes, bytes, None]:
        self._password()  # What cannot be sent is found before the user name is.
        prompt = yield self._username()
        # Prompts are free text, and go by their order. But a server that overlooked the
        # initial response asks for the user name now.
        if b"user" in prompt.lower() and b"pass" not in prompt.lower():
            yield self._username()
        yield self._password()


class CramMD5(Mechanism):
    """CRAM-MD5: a digest of the password and the server's challenge (RFC 2195).

    The password stays here, but who sees the exchange can try passwords against it.
    """

    name = "CRAM-MD5"
    sends_secret_in_clear = False
    is_client_first = False

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name with a password, nothing else to carry, and MD5.

        A Python built for FIPS 140 has no MD5.
        """
        if not credentials.has_password or credentials.authorization_identity:
            return False
        try:
            hmac.digest(b"key", b"", "md5")
        except ValueError:
            return False
        return True

    def _exchange(self) -> Generator[bytes, bytes, None]:
        self._username()
        self._password()
        challenge = yield b""
        # An answer to nothing could be played back to any other server of that kind.
        if not challenge:
            raise SASLServerError("the server's CRAM-MD5 challenge is empty")
        digest = hmac.digest(self._password(), challenge, "md5").hex().encode()
        yield self._username() + b" " + digest
