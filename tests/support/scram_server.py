"""A small SCRAM server (RFC 5802), written from the RFC's formulas without the client's code.

It stores only StoredKey and ServerKey, as a server does, and not the password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field


def hi(password: bytes, salt: bytes, iterations: int, hash_name: str) -> bytes:
    """Hi() of RFC 5802 section 2.2, by its definition."""
    block = hmac.digest(password, salt + (1).to_bytes(4, "big"), hash_name)
    total = int.from_bytes(block, "big")
    for _ in range(iterations - 1):
        block = hmac.digest(password, block, hash_name)
        total ^= int.from_bytes(block, "big")
    return total.to_bytes(len(block), "big")


@dataclass
class ScramServer:
    """One account, and one exchange at a time.

    ``first`` takes the client's first message and returns the server's; ``final`` takes
    the client's final one and returns ``v=...``, or ``e=...`` where the proof is wrong.
    """

    hash_name: str
    password: bytes
    salt: bytes = b"sixteen octets!!"
    iterations: int = 4096
    nonce: str = "3rfcNHYJY1ZVvWVs7j"
    stored_key: bytes = field(init=False)
    server_key: bytes = field(init=False)
    username: str = field(default="", init=False)
    authorization_identity: str = field(default="", init=False)

    def __post_init__(self) -> None:
        salted = hi(self.password, self.salt, self.iterations, self.hash_name)
        client_key = hmac.digest(salted, b"Client Key", self.hash_name)
        self.stored_key = hashlib.new(self.hash_name, client_key).digest()
        self.server_key = hmac.digest(salted, b"Server Key", self.hash_name)

    def first(self, message: bytes) -> bytes:
        flag, authorization, user, nonce = message.decode().split(",")
        assert flag == "n"
        assert user.startswith("n=")
        assert nonce.startswith("r=")
        self.header = f"{flag},{authorization},".encode()
        self.authorization_identity = self._name(authorization.removeprefix("a="))
        self.username = self._name(user.removeprefix("n="))
        self.bare = f"{user},{nonce}"
        self.full_nonce = nonce.removeprefix("r=") + self.nonce
        salt = base64.b64encode(self.salt).decode()
        self.said = f"r={self.full_nonce},s={salt},i={self.iterations}"
        return self.said.encode()

    def final(self, message: bytes) -> bytes:
        without_proof, _, proof = message.decode().rpartition(",p=")
        header = base64.b64encode(self.header).decode()
        assert without_proof == f"c={header},r={self.full_nonce}"
        authed = f"{self.bare},{self.said},{without_proof}".encode()
        signature = hmac.digest(self.stored_key, authed, self.hash_name)
        pairs = zip(base64.b64decode(proof, validate=True), signature, strict=True)
        client_key = bytes(a ^ b for a, b in pairs)
        if hashlib.new(self.hash_name, client_key).digest() != self.stored_key:
            return b"e=invalid-proof"
        return b"v=" + base64.b64encode(hmac.digest(self.server_key, authed, self.hash_name))

    @staticmethod
    def _name(written: str) -> str:
        assert "=" not in written.replace("=2C", "").replace("=3D", "")
        return written.replace("=2C", ",").replace("=3D", "=")
