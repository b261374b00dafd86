"""The certificates between a server's own and the authority that is trusted here."""

from __future__ import annotations

import ssl
from typing import Any

__all__ = ["verified_chain"]


def verified_chain(sock: ssl.SSLSocket) -> list[dict[str, Any]]:
    """The authorities behind the certificate, the root last, each as ``getpeercert`` tells it.

    Empty where the context verified nothing.
    """
    found: list[dict[str, Any]] = []
    for der in _encoded(sock)[1:]:
        # The one public way of the ssl module to read a certificate that is no peer's: a
        # store tells what authorities it holds.
        store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        store.load_verify_locations(cadata=der)
        found += [dict(each) for each in store.get_ca_certs()]
    return found


def _encoded(sock: ssl.SSLSocket) -> list[bytes]:
    """The verified chain in DER, the server's own certificate first."""
    if hasattr(sock, "get_verified_chain"):  # Python 3.13
        return list(sock.get_verified_chain() or ())
    # Before, the same stands one level below, without a public name.
    inner: Any = getattr(sock, "_sslobj", None)
    chain = inner.get_verified_chain() if hasattr(inner, "get_verified_chain") else None
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain or ()]
