"""DKIM signatures (RFC 6376, RFC 8463): the option ``dkim`` of a Mailer.

- ``settings``: `DKIM`, one key and which mail it signs.
- ``keys``: private keys from PEM text, by the package ``cryptography`` (extra ``dkim``).
- ``canonicalization``: the canonical forms of header and body, and the hash of a body.
- ``signer``: the signature in front of a content, over the bytes that are sent.
- ``record``: the TXT record with the public key, and its comparison with what is published.
"""

from mailbackends.dkim.settings import DKIM
from mailbackends.dkim.signer import Signer

__all__ = ["DKIM", "Signer"]
