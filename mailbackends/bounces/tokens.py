"""Signed marks in the envelope, by which a report is known to be about a message of ours."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode
from collections.abc import Iterable

from mailbackends.errors import ConfigurationError
from mailbackends.secret import Secret

__all__ = ["BounceTokens"]

_REFERENCE = re.compile(r"[a-z0-9_]{1,36}")
# RFC 5321 section 4.5.3.1.1: a local part may have 64 octets.
_LONGEST_LOCAL_PART = 64
# 80 bits: forging needs 2**79 attempts, each of them a message.
_SIGNATURE_LENGTH = 16
_TOKEN = re.compile(r"([a-z0-9_]{1,36})-([A-Z2-7]{16})", re.IGNORECASE | re.ASCII)


class BounceTokens:
    """Marks messages by a reference of the application, and reads it from reports.

    A reference is up to 36 lower-case letters, digits and underscores; one for each message and
    recipient, such as a primary key. ``key`` is a secret of at least 16 characters. Marks that were
    made with one of the ``fallbacks``, keys that were replaced, are still read.

    Raises:
        ConfigurationError: the key is too short.
    """

    def __init__(self, key: str | Secret, *, fallbacks: Iterable[str | Secret] = ()) -> None:
        # A traceback shows the variables of this frame.
        self._keys = (Secret(key), *map(Secret, fallbacks))
        del key, fallbacks
        if any(len(each.reveal()) < 16 for each in self._keys):
            raise ConfigurationError("the key of BounceTokens must have at least 16 characters")

    def token(self, reference: str) -> str:
        """The reference with its signature.

        Raises:
            ConfigurationError: the reference contains another character, or is too long.
        """
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            raise ConfigurationError(
                "a reference must be 1 to 36 lower-case letters, digits and underscores, "
                f"got {str(reference)[:80]!r}"
            )
        return f"{reference}-{_signature(self._keys[0], reference)}"

    def envelope_sender(self, address: str, reference: str) -> str:
        """The address for reports with the token in it (VERP): ``bounces+token@example.com``.

        Give it as the envelope's sender; the server must deliver ``bounces+anything`` to one
        mailbox.

        Raises:
            ConfigurationError: ``address`` is not one, or the local part becomes too long.
        """
        local, at, domain = address.rpartition("@")
        if not at or not local or not domain:
            raise ConfigurationError(f"{address!r} is not an address: write bounces@example.com")
        made = f"{local}+{self.token(reference)}"
        if len(made) > _LONGEST_LOCAL_PART:
            raise ConfigurationError(
                f"{made!r} has more than {_LONGEST_LOCAL_PART} characters: "
                "use a shorter address or reference"
            )
        return f"{made}@{domain}"

    def reference_in(self, *texts: str | None) -> str | None:
        """The reference of the first genuine token in the texts: addresses, or an envelope id."""
        # Some servers change the case of local parts.
        found = [
            (match[1].lower(), match[2].upper())
            for text in texts
            for match in _TOKEN.finditer(text or "")
        ]
        for key in self._keys:
            for reference, signature in found:
                if hmac.compare_digest(_signature(key, reference), signature):
                    return reference
        return None


def _signature(key: Secret, reference: str) -> str:
    text = b"mailbackends.bounces:" + reference.encode("ascii")
    secret = key.reveal().encode("utf-8", "surrogatepass")
    digest = hmac.new(secret, text, hashlib.sha256).digest()
    return b32encode(digest).decode("ascii")[:_SIGNATURE_LENGTH]
