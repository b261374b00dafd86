"""Challenges and responses as they stand on the wire (RFC 4954 section 4)."""

from __future__ import annotations

import binascii

from mailbackends.protocol.sasl.errors import SASLServerError

__all__ = [
    "MAX_CHALLENGE",
    "decode_challenge",
    "encode_initial_response",
    "encode_response",
]

# RFC 4954 section 4 calls lines of 12288 octets enough for all deployed mechanisms.
# Base64 makes four octets of three.
_MAX_ENCODED = 12288
MAX_CHALLENGE = _MAX_ENCODED // 4 * 3
"""The longest challenge that is accepted, in octets before base64."""


def decode_challenge(text: bytes) -> bytes:
    """Return the challenge in the text of a 334 reply.

    Raises:
        SASLServerError: it is too long, or is not base64. RFC 4954 section 4 wants
            the exchange cancelled then, for one stray character too.
    """
    # Servers are seen to pad an empty challenge with more than the one space.
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

    An empty one is written ``=``, to tell it from none at all (RFC 4954 section 4).
    """
    return encode_response(response) or b"="
