"""SCRAM: both sides prove that they know the password, and neither sends it (RFC 5802)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from mailbackends.protocol.sasl.errors import SASLServerError
from mailbackends.protocol.sasl.mechanism import (
    Credentials,
    Mechanism,
    decode_challenge,
    encode_response,
)
from mailbackends.protocol.sasl.saslprep import saslprep

__all__ = ["MAX_ITERATIONS", "MIN_ITERATIONS", "ScramSHA1", "ScramSHA256", "gs2_header"]

MIN_ITERATIONS = 4096
"""The minimum of RFC 5802 section 5.1 and RFC 7677 section 4. With fewer, an impostor would
get a proof against which it can try passwords that much faster."""

MAX_ITERATIONS = 1_000_000
"""The server chooses the number, and a hostile one could waste the client's time with it:
a million take a third of a second (measured). Real servers ask for 4096 to 600,000."""

# RFC 5802 section 7; a number of up to ten digits is already beyond the maximum.
_SERVER_FIRST = re.compile(
    rb"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)"
    rb",s=(?P<salt>[A-Za-z0-9+/=]+)"
    rb",i=(?P<iterations>[1-9][0-9]{0,9})"
    rb"(?:,[A-Za-z]=[^,\0]+)*"
)
_SERVER_FINAL = re.compile(rb"v=(?P<signature>[A-Za-z0-9+/=]+)(?:,[A-Za-z]=[^,\0]+)*")


@dataclass(frozen=True, slots=True)
class _ServerFirst:
    """The server's first message, checked."""

    nonce: bytes
    salt: bytes
    iterations: int

    @classmethod
    def parse(cls, message: bytes, client_nonce: bytes) -> _ServerFirst:
        found = _SERVER_FIRST.fullmatch(message)
        if found is None:
            # "m=" announces an extension that the client must know: none exists.
            raise SASLServerError("the server's first SCRAM message is malformed")
        nonce = found["nonce"]
        # A server that adds nothing to the nonce could replay an old exchange.
        if not nonce.startswith(client_nonce) or nonce == client_nonce:
            raise SASLServerError("the server's SCRAM nonce does not extend the client's")
        salt = decode_challenge(found["salt"])
        iterations = int(found["iterations"])
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise SASLServerError(
                f"the server asks for {iterations} SCRAM iterations; "
                f"allowed are {MIN_ITERATIONS} to {MAX_ITERATIONS}"
            )
        return cls(nonce, salt, iterations)


def saslname(name: str) -> bytes:
    """Return ``name`` with the two characters escaped that separate the fields."""
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def gs2_header(authorization_identity: str) -> bytes:
    """Return the header of a client without channel binding (RFC 5801 section 4).

    "n" and not "y": "y" would have to be true of this server (RFC 5802 section 6), and
    Python's TLS offers no binding for TLS 1.3 (RFC 9266).
    """
    if not authorization_identity:
        return b"n,,"
    return b"n,a=" + saslname(authorization_identity) + b","


class _Scram(Mechanism):
    sends_secret_in_clear = False
    hash_name: ClassVar[str]

    def __init__(self, credentials: Credentials, *, nonce: str | None = None) -> None:
        """``nonce`` replaces the random one, for tests: printable ASCII without a comma."""
        super().__init__(credentials)
        self._nonce = (secrets.token_urlsafe(24) if nonce is None else nonce).encode()
        self._signature: bytes | None = None
        self._is_verified = False

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return whether there is a user name and a password."""
        return credentials.has_password

    def _username(self) -> bytes:
        return saslname(saslprep(self._credentials.username, what="the user name"))

    def _password(self) -> bytes:
        # RFC 5802 section 2.2 prepares it as a stored string.
        return saslprep(
            self._credentials.password_text, what="the password", is_stored=True
        ).encode()

    def _exchange(self) -> Generator[bytes, bytes, None]:
        self._password()  # A password that cannot be used is found before anything is sent.
        header = gs2_header(self._authorization_identity().decode())
        client_first = b"n=" + self._username() + b",r=" + self._nonce
        server_first = yield header + client_first
        first = _ServerFirst.parse(server_first, self._nonce)
        client_final = b"c=" + encode_response(header) + b",r=" + first.nonce
        auth_message = b",".join((client_first, server_first, client_final))
        server_final = yield client_final + b",p=" + self._proof(first, auth_message)
        if server_final.startswith(b"e="):
            # The refusal itself is the 535 that follows the empty response.
            self.refusal: bytes | None = server_final
        else:
            self._verify(server_final)
        yield b""

    def _proof(self, first: _ServerFirst, auth_message: bytes) -> bytes:
        """Return ClientProof in base64, and store ServerSignature (RFC 5802 section 3)."""
        name = self.hash_name
        salted = hashlib.pbkdf2_hmac(name, self._password(), first.salt, first.iterations)
        client_key = hmac.digest(salted, b"Client Key", name)
        stored_key = hashlib.new(name, client_key).digest()
        signature = hmac.digest(stored_key, auth_message, name)
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", name), auth_message, name)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return encode_response(proof)

    def _verify(self, server_final: bytes) -> None:
        found = _SERVER_FINAL.fullmatch(server_final)
        if found is None:
            raise SASLServerError("the server's final SCRAM message is malformed")
        signature = decode_challenge(found["signature"])
        if not hmac.compare_digest(signature, self._signature or b""):
            raise SASLServerError(
                "the server's SCRAM signature is wrong: it does not know the password"
            )
        self._is_verified = True

    def _is_server_proven(self, reply_text: bytes) -> bool:
        if self._signature is not None and not self._is_verified:
            for word in reply_text.split():
                self._verify_word(word)
        return self._is_verified

    def _verify_word(self, word: bytes) -> None:
        try:
            message = decode_challenge(word)
        except SASLServerError:
            return
        if message.startswith(b"v="):
            self._verify(message)


class ScramSHA256(_Scram):
    """SCRAM-SHA-256 (RFC 7677)."""

    name = "SCRAM-SHA-256"
    hash_name = "sha256"


class ScramSHA1(_Scram):
    """SCRAM-SHA-1 (RFC 5802). The known weaknesses of SHA-1 do not affect its use in HMAC."""

    name = "SCRAM-SHA-1"
    hash_name = "sha1"
