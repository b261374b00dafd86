"""The TXT record with a public key (RFC 6376 section 3.6.1): written, looked up, compared."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mailbackends.dkim.keys import ED25519, RSA, PublicKey, public_key_from
from mailbackends.errors import ConfigurationError, SMTPConnectionError

__all__ = [
    "Comparison",
    "Resolver",
    "compared",
    "look_up",
    "published_key",
    "record_of",
    "zone_lines",
]

Resolver: TypeAlias = Callable[[str], Sequence[str]]
"""Returns the TXT records of a name, the strings of each joined; none is an empty list.

Raises OSError if that cannot be found out.
"""

# RFC 1035 section 3.3: the longest string; a record consists of several.
_LONGEST_STRING = 255
_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=\s*([^;]*?)\s*", re.DOTALL)
_KINDS = {RSA: "rsa", ED25519: "ed25519"}


def record_of(key: PublicKey) -> str:
    """The text of the record."""
    return f"v=DKIM1; k={_KINDS[key.algorithm]}; p={key.base64}"


def zone_lines(name: str, record: str) -> str:
    """The record for a zone file, in strings of at most 255 characters (RFC 1035 section 5.1)."""
    parts = [record[i : i + _LONGEST_STRING] for i in range(0, len(record), _LONGEST_STRING)]
    if len(parts) == 1:
        return f'{name}. IN TXT "{record}"'
    lines = "\n".join(f'  "{part}"' for part in parts)
    return f"{name}. IN TXT (\n{lines}\n)"


def look_up(name: str) -> list[str]:
    """The TXT records of a name, asked of the system's resolvers by ``dnspython``.

    Raises:
        ConfigurationError: dnspython is not installed.
        SMTPConnectionError: no resolver answered.
    """
    try:
        import dns.exception
        import dns.resolver
    except ImportError:
        raise ConfigurationError(
            "DKIM records are looked up by the package dnspython: "
            'python -m pip install "mailbackends[dkim]"'
        ) from None
    try:
        answer: Any = dns.resolver.resolve(name, "TXT", lifetime=10.0)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise SMTPConnectionError(
            f"{name} cannot be looked up: {error}: check the resolvers of this machine"
        ) from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is wrong with what is published."""

    error: str = ""
    """Why no signature can be verified; empty if nothing prevents that."""
    warnings: tuple[str, ...] = ()


def published_key(records: Sequence[str]) -> tuple[PublicKey | None, Comparison]:
    """The key in the TXT records of a name, and what is wrong with them."""
    found = [tags for text in records if (tags := _tags(text)) is not None]
    if not found:
        what = "no TXT record" if not records else f"no DKIM key in {records[0][:80]!r}"
        return None, Comparison(f"{what} is published")
    warnings: list[str] = []
    if len(found) > 1:
        return None, Comparison(f"{len(found)} DKIM records are published: remove all but one")
    tags = found[0]
    if "email" not in _listed(tags.get("s", "*")) and "*" not in _listed(tags.get("s", "*")):
        return None, Comparison(f"the record is not for mail: s={tags['s']}: remove the tag s")
    if "h" in tags and "sha256" not in _listed(tags["h"]):
        return None, Comparison(f"the record does not allow SHA-256: h={tags['h']}: remove it")
    if "y" in _listed(tags.get("t", "")):
        warnings.append("the record says that the domain is testing DKIM: remove y from the tag t")
    if not tags.get("p"):
        return None, Comparison("the key is revoked: p= is empty")
    key = _decoded(tags.get("k", "rsa").lower(), tags["p"])
    if key is None:
        return None, Comparison("the published key cannot be read: publish it again")
    if key.algorithm == RSA and key.bits < 2048:
        warnings.append(f"the key has {key.bits} bits: make one with 2048 (RFC 8301)")
    return key, Comparison("", tuple(warnings))


def compared(key: PublicKey, records: Sequence[str]) -> Comparison:
    """What is wrong with the TXT records that are published for this key."""
    published, comparison = published_key(records)
    if published is None:
        return comparison
    if published != key:
        return Comparison(
            f"another key is published ({published}), so that every signature fails",
            comparison.warnings,
        )
    return comparison


def _tags(text: str) -> dict[str, str] | None:
    """The tags of a record (section 3.2), or None if it is not one for DKIM."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        match = _TAG.fullmatch(part)
        if match is None:
            return None
        tags.setdefault(match[1], match[2])
    if tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return None
    return tags


def _listed(value: str) -> list[str]:
    return [each.strip().lower() for each in value.split(":")]


def _decoded(kind: str, text: str) -> PublicKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        data = base64.b64decode("".join(text.split()), validate=True)
        if kind == "ed25519":
            return public_key_from(Ed25519PublicKey.from_public_bytes(data))
        if kind == "rsa":
            key = load_der_public_key(data)
            return public_key_from(key) if isinstance(key, RSAPublicKey) else None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return None
