"""The mechanisms of one or two messages: PLAIN, LOGIN, CRAM-MD5, EXTERNAL and OAuth 2.0."""

from __future__ import annotations

import hmac
import re
from collections.abc import Generator

from mailbackends.protocol.sasl.errors import (
    SASLCredentialsError,
    SASLRestartError,
    SASLServerError,
)
from mailbackends.protocol.sasl.mechanism import Credentials, Mechanism
from mailbackends.protocol.sasl.saslprep import saslprep
from mailbackends.protocol.sasl.scram import gs2_header

__all__ = ["CramMD5", "External", "Login", "OAuthBearer", "Plain", "XOAuth2"]

# RFC 6749 appendix A.12 without the space, which a bearer token never contains (RFC 6750
# section 2.1). Control characters above all: %x01 would begin another field.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Plain(Mechanism):
    """PLAIN: the password in clear, in one message (RFC 4616)."""

    name = "PLAIN"
    sends_secret_in_clear = True

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name and a password."""
        return credentials.has_password

    def _exchange(self) -> Generator[bytes, bytes, None]:
        yield b"\0".join((self._authorization_identity(), self._username(), self._password()))


class Login(Mechanism):
    """LOGIN: user name and password in clear, each in a message (draft-murchison-sasl-login).

    The user name is sent as initial response, which saves a round trip. The draft has none,
    but servers take it, because the standard library has always sent it. The prompts are free
    text. If the first one asks for neither user name nor password in English, the server may
    not have taken the initial response: the exchange starts again without one, and then only
    the order counts.
    """

    name = "LOGIN"
    sends_secret_in_clear = True
    reads_challenges = False

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name and a password, and nothing else to carry."""
        return credentials.has_password and not credentials.authorization_identity

    def _exchange(self) -> Generator[bytes, bytes, None]:
        self._password()  # A password that cannot be sent is found before the user name is sent.
        prompt = yield self._username()
        if self.sends_initial_response and b"pass" not in prompt.lower():
            if b"user" not in prompt.lower():
                raise SASLRestartError("the server may not have taken the initial response")
            yield self._username()
        yield self._password()


class CramMD5(Mechanism):
    """CRAM-MD5: a digest of the password and the server's challenge (RFC 2195).

    The password is not sent, but anybody who sees the exchange can try passwords against it.
    """

    name = "CRAM-MD5"
    sends_secret_in_clear = False
    is_client_first = False

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name and a password, nothing else to carry, and MD5.

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
        # The response to an empty challenge could be replayed to any other server of that kind.
        if not challenge:
            raise SASLServerError("the server's CRAM-MD5 challenge is empty")
        digest = hmac.digest(self._password(), challenge, "md5").hex().encode()
        yield self._username() + b" " + digest


class External(Mechanism):
    """EXTERNAL: the client's TLS certificate identifies it (RFC 4422 appendix A).

    Nothing is sent but the identity to act as, if it is not the client's. Used only if it is
    asked for: servers announce it to every client that has shown a certificate, and it cannot
    be seen from here whether the certificate is for logging in.
    """

    name = "EXTERNAL"
    sends_secret_in_clear = False
    only_if_asked = True

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return True: the certificate is not part of the credentials."""
        return True

    def _exchange(self) -> Generator[bytes, bytes, None]:
        yield self._authorization_identity()


class _BearerMechanism(Mechanism):
    sends_secret_in_clear = True
    uses_token = True

    def _identity(self) -> str:
        """Return the mailbox that the token is for."""
        credentials = self._credentials
        name = credentials.authorization_identity or credentials.username
        return saslprep(name, what="the user name")

    def _authorization(self) -> bytes:
        provider = self._credentials.token_provider
        token = provider() if provider is not None else ""
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return b"auth=Bearer " + token.encode() + b"\x01\x01"
        del token
        raise SASLCredentialsError(
            "the token provider gave no usable token: return visible ASCII characters "
            "without a space (RFC 6750 section 2.1)"
        )


class OAuthBearer(_BearerMechanism):
    """OAUTHBEARER (RFC 7628), without host and port, which only signed tokens need."""

    name = "OAUTHBEARER"

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a token provider. The token may identify the user."""
        return credentials.token_provider is not None

    def _exchange(self) -> Generator[bytes, bytes, None]:
        is_named = self._credentials.authorization_identity or self._credentials.username
        header = gs2_header(self._identity() if is_named else "")
        self.refusal: bytes | None = yield header + b"\x01" + self._authorization()
        # RFC 7628 section 3.2.3: the server sends its 535 after this response.
        yield b"\x01"


class XOAuth2(_BearerMechanism):
    """XOAUTH2, which Google and Microsoft used before OAUTHBEARER, and still ask for."""

    name = "XOAUTH2"

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a token provider, and a name for the mailbox."""
        is_named = credentials.authorization_identity or credentials.username
        return credentials.token_provider is not None and bool(is_named)

    def _exchange(self) -> Generator[bytes, bytes, None]:
        user = b"user=" + self._identity().encode() + b"\x01"
        self.refusal: bytes | None = yield user + self._authorization()
        # The server sends its 535 after this response.
        yield b""
