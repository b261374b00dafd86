"""EXTERNAL: who the client is shows outside of SASL, by its TLS certificate."""

from __future__ import annotations

from collections.abc import Generator

from mailbackends.protocol.sasl.credentials import Credentials
from mailbackends.protocol.sasl.mechanism import Mechanism

__all__ = ["External"]


class External(Mechanism):
    """EXTERNAL (RFC 4422 appendix A): nothing but whom to act as, if not the client itself.

    Chosen only if it is asked for. Servers announce it to every client that has shown a
    certificate, and that it should be used to log in cannot be seen from here.
    """

    name = "EXTERNAL"
    sends_secret_in_clear = False
    only_if_asked = True

    @classmethod
    def is_usable_with(cls, credentials: Credentials) -> bool:
        """Return True: the certificate stands outside the credentials."""
        return True

    def _exchange(self) -> Generator[bytes, bytes, None]:
        yield self._authorization_identity()
