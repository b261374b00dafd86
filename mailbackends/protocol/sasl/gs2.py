"""The head of the messages of SCRAM and OAUTHBEARER (RFC 5801 section 4)."""

from __future__ import annotations

__all__ = ["gs2_header", "saslname"]


def saslname(name: str) -> bytes:
    """Return ``name`` with the two characters written otherwise that part the fields."""
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def gs2_header(authorization_identity: str) -> bytes:
    """Return the header of a client without channel binding.

    "n" and not "y": "y" would have to be true of this server (RFC 5802 section 6), and
    Python's TLS offers no binding for TLS 1.3 (RFC 9266) to take part in.
    """
    if not authorization_identity:
        return b"n,,"
    return b"n,a=" + saslname(authorization_identity) + b","
