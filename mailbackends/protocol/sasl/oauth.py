"""The mechanisms with an OAuth 2.0 access token: OAUTHBEARER, XOAUTH2."""

from __future__ import annotations

import re
from collections.abc import Generator

from mailbackends.protocol.sasl.credentials import Credentials
from mailbackends.protocol.sasl.errors import SASLCredentialsError
from mailbackends.protocol.sasl.gs2 import gs2_header
from mailbackends.protocol.sasl.mechanism import Mechanism
from mailbackends.protocol.sasl.saslprep import saslprep

__all__ = ["OAuthBearer", "XOAuth2"]

# RFC 6749 appendix A.12 without the space, which no bearer token has (RFC 6750 section
# 2.1). Control characters above all: %x01 would begin a field of its own.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class _BearerMechanism(Mechanism):
    sends_secret_in_clear = True
    uses_token = True

    def _identity(self) -> str:
        """Return the mailbox that the token is for."""
        credentials = self._credentials
        who = credentials.authorization_identity or credentials.username
        return saslprep(who, what="the user name")

    def _authorization(self) -> bytes:
        provider = self._credentials.token_provider
        token = provider() if provider is not None else ""
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return b"auth=Bearer " + token.encode() + b"\x01\x01"
        del token
        raise SASLCredentialsError(
            "the token provider gave no usable token: "
            "it takes visible ASCII characters without a space (RFC 6750 section 2.1)"
        )


class OAuthBearer(_BearerMechanism):
    """OAUTHBEARER (RFC 7628). Host and port, which only signed tokens need, are left out."""

    name = "OAUTHBEARER"

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a token provider. The token may say who the user is."""
        return credentials.token_provider is not None

    def _exchange(self) -> Generator[bytes, bytes, None]:
        is_named = self._credentials.authorization_identity or self._credentials.username
        header = gs2_header(self._identity() if is_named else "")
        self.refusal = yield header + b"\x01" + self._authorization()
        # RFC 7628 section 3.2.3: the server fails the exchange once it has this answer.
        yield b"\x01"


class XOAuth2(_BearerMechanism):
    """XOAUTH2, which Google and Microsoft made before OAUTHBEARER, and still ask for."""

    name = "XOAUTH2"

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a token provider, and a name for the mailbox."""
        is_named = credentials.authorization_identity or credentials.username
        return credentials.token_provider is not None and bool(is_named)

    def _exchange(self) -> Generator[bytes, bytes, None]:
        user = b"user=" + self._identity().encode() + b"\x01"
        self.refusal = yield user + self._authorization()
        # The server sends its 535 once it has this answer.
        yield b""
