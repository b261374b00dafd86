"""Private keys: read from PEM text, checked, made anew. Needs the package ``cryptography``."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mailbackends.errors import ConfigurationError
from mailbackends.secret import Secret

__all__ = [
    "ED25519",
    "RSA",
    "PublicKey",
    "SigningKey",
    "generate",
    "load_key",
    "public_key_from",
    "service_key",
    "verifies",
]

RSA = "rsa-sha256"
ED25519 = "ed25519-sha256"

# RFC 8301 section 3.2: signers must use at least 1024 bits, and verifiers need not support more
# than 4096.
_SMALLEST, _LARGEST = 1024, 4096

_INSTALL = 'dkim needs the package cryptography: python -m pip install "mailbackends[dkim]"'
_MAKE = "make one with: mailbackends dkim-key"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What is published in the DNS."""

    algorithm: str
    """``"rsa-sha256"`` or ``"ed25519-sha256"``."""
    data: bytes
    """The DER of an RSA key (SubjectPublicKeyInfo), or the 32 bytes of an Ed25519 key."""
    bits: int

    def __str__(self) -> str:
        return f"RSA with {self.bits} bits" if self.algorithm == RSA else "Ed25519"

    @property
    def base64(self) -> str:
        """The value of ``p=`` in the record (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; neither `repr` nor a traceback shows it."""

    algorithm: str
    sign: Callable[[bytes], bytes]
    """The signature of a SHA-256 digest: PKCS #1 v1.5 for RSA, PureEdDSA (RFC 8463 section 3)."""
    public: PublicKey | None
    """None where only a key management service has the key."""


@lru_cache(maxsize=256)
def load_key(pem: Secret) -> SigningKey:
    """The private key in a PEM text, checked once for each text.

    Raises:
        ConfigurationError: it is not a key that may sign. The text says why, without the key,
            and continues a sentence: "dkim: the key ...".
    """
    loaded = _loaded(pem)
    if isinstance(loaded, str):  # raised here, where no variable contains the text
        raise ConfigurationError(loaded)
    return loaded


def _loaded(pem: Secret) -> SigningKey | str:
    """The key, or what is wrong with it. Never raises, and shows nothing of the key."""
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        return _INSTALL
    text = pem.reveal().strip()
    if "\\n" in text and "\n" not in text:  # as environment variables often have it
        text = text.replace("\\n", "\n")
    if problem := _not_a_private_key(text):
        return problem
    try:
        key: Any = serialization.load_pem_private_key(text.encode("utf-8"), password=None)
    except TypeError:
        return f"is encrypted: remove its passphrase with: openssl pkey -in KEY, or {_MAKE}"
    except Exception as error:
        # Of cryptography's texts only those about the size are plain enough to be shown.
        size = f" ({error})" if "key_size" in str(error) or "bit" in str(error) else ""
        return f"cannot be read: the PEM text is damaged, or the key is not valid{size}: {_MAKE}"
    return _signing_key(key)


def _not_a_private_key(text: str) -> str | None:
    first = text.partition("\n")[0].strip()
    if not first.startswith("-----BEGIN "):
        return f"is not PEM text, which begins with '-----BEGIN PRIVATE KEY-----': {_MAKE}"
    label = first.removeprefix("-----BEGIN ").removesuffix("-----")
    if label in ("PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"):
        return f"is a {label.lower()}: give the private key that belongs to it"
    if label == "OPENSSH PRIVATE KEY":
        return f"is in OpenSSH's format: {_MAKE}"
    return None


def _signing_key(key: Any) -> SigningKey | str:
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    public = public_key_from(key.public_key()) if hasattr(key, "public_key") else None
    if isinstance(key, rsa.RSAPrivateKey):
        if not _SMALLEST <= key.key_size <= _LARGEST:
            return (
                f"has {key.key_size} bits, and must have from {_SMALLEST} to {_LARGEST} "
                f"(RFC 8301), better 2048: {_MAKE}"
            )
        scheme, algorithm = padding.PKCS1v15(), Prehashed(SHA256())
        return SigningKey(RSA, lambda digest: key.sign(digest, scheme, algorithm), public)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SigningKey(ED25519, key.sign, public)
    kind = type(key).__name__.removesuffix("PrivateKey")
    return f"is of the kind {kind}, and must be RSA or Ed25519 (RFC 8463): {_MAKE}"


def public_key_from(key: Any) -> PublicKey | None:
    """A public key of ``cryptography``, or None for one that DKIM does not have."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, rsa.RSAPublicKey):
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return PublicKey(RSA, data, key.key_size)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(ED25519, key.public_bytes(Encoding.Raw, PublicFormat.Raw), 256)
    return None


def verifies(key: PublicKey, digest: bytes, signature: bytes) -> bool:
    """True if the signature of a SHA-256 digest is by the private key of this one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        if key.algorithm == ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(key.data).verify(signature, digest)
        else:
            public: Any = load_der_public_key(key.data)
            if not isinstance(public, rsa.RSAPublicKey):
                return False
            public.verify(signature, digest, padding.PKCS1v15(), Prehashed(SHA256()))
    except InvalidSignature:
        return False
    return True


def generate(algorithm: str = RSA, *, bits: int = 2048) -> Secret:
    """A new private key as PEM text (PKCS #8); ``bits`` is for RSA.

    Raises:
        ConfigurationError: ``bits`` is too small or too large, or ``cryptography`` is missing.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )
    except ImportError:
        raise ConfigurationError(_INSTALL) from None
    if algorithm == RSA and not _SMALLEST <= bits <= _LARGEST:
        raise ConfigurationError(
            f"bits must be from {_SMALLEST} to {_LARGEST} (RFC 8301), got {bits}: use 2048"
        )
    key: Any
    if algorithm == RSA:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secret(pem.decode("ascii"))


def service_key(algorithm: str, sign: Callable[[bytes], bytes]) -> SigningKey:
    """The key that only a callable can sign with: see `DKIM.sign`."""
    return SigningKey(algorithm, sign, None)
