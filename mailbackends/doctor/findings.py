"""Findings and warnings on a server's certificate, an access token and a key for DKIM."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import time
from collections.abc import Sequence
from typing import Any

from mailbackends.dkim import DKIM
from mailbackends.dkim.keys import verifies
from mailbackends.dkim.record import (
    Comparison,
    Resolver,
    compared,
    look_up,
    published_key,
    record_of,
    zone_lines,
)
from mailbackends.dkim.signer import checked_signature
from mailbackends.errors import ConfigurationError, SigningError, SMTPConnectionError
from mailbackends.secret import Secret
from mailbackends.texts import one_line
from mailbackends.transport.tls import verified_chain

__all__ = ["certificate_of", "describe_token", "examine_key"]

# Most certificates are renewed a month before they expire: three weeks before, a renewal
# has failed already.
_SOON = 21 * 86400


def certificate_of(sock: ssl.SSLSocket) -> tuple[list[str], list[str]]:
    """Findings and warnings on the certificate of the other end."""
    findings: list[str] = []
    warnings: list[str] = []
    # Empty if the application's own context does not verify.
    certificate: dict[str, Any] = dict(sock.getpeercert() or {})
    if not certificate:
        warnings.append("the certificate is not verified: ssl_context does not require it")
        return findings, warnings
    names = [value for _, value in certificate.get("subjectAltName", ())]
    findings.append(f"certificate for {', '.join(names[:5]) or 'no name'}")
    findings.append(f"issued by {_name(certificate.get('issuer', ()))}")
    for authority in verified_chain(sock):
        findings.append(
            f"chain: {_name(authority.get('subject', ()))}, until {authority['notAfter']}"
        )
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    findings.append(f"good until {certificate['notAfter']} ({left / 86400:.0f} days)")
    if left < _SOON:
        warnings.append(f"the certificate expires in {left / 86400:.0f} days: renew it")
    return findings, warnings


def _name(parts: Any) -> str:
    """The organization of a distinguished name as `ssl` represents it, or its common name."""
    named = dict(pair for part in parts for pair in part)
    return str(named.get("organizationName") or named.get("commonName") or "(no name)")


_CLAIMS = (("aud", "audience"), ("roles", "roles"), ("scp", "scopes"), ("scope", "scopes"))


def describe_token(token: Secret) -> tuple[list[str], list[str]]:
    """Findings and warnings about a token, without any part of it.

    A JSON Web Token (RFC 7519), such as Microsoft's, has claims: audience, roles or scopes,
    and expiry. Its signature is not checked. Other tokens, such as Google's, are opaque.
    """
    claims = _claims(token)
    if claims is None:
        return [f"an opaque token of {len(token.reveal())} characters"], []
    found, warnings = [], []
    for name, title in _CLAIMS:
        if claims.get(name):
            value = claims[name]
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append(f"{title}: {one_line(words)[:200]}")
    expiry = claims.get("exp")
    if isinstance(expiry, int | float):
        left = expiry - time.time()
        found.append(f"expires in {left / 60:.0f} minutes")
        if left <= 0:
            warnings.append("the token has expired: check the clocks of both machines")
    audience = str(claims.get("aud", ""))
    if (
        "outlook.office" in audience
        and "roles" in claims
        and not any("SMTP.SendAsApp" in str(role) for role in _list(claims["roles"]))
    ):
        warnings.append("the role SMTP.SendAsApp is missing: grant it to the application")
    return found, warnings


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _claims(token: Secret) -> dict[str, Any] | None:
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def examine_key(key: DKIM, resolver: Resolver | None = None) -> tuple[list[str], list[str]]:
    """Findings and warnings on one key of the option ``dkim``.

    Raises:
        ConfigurationError: no signature by it can be verified. The text has the record to
            publish.
        SigningError: the application's callable failed.
        OSError: the record cannot be looked up.
    """
    signing_key = key.signing_key
    findings = [f"{key.record_name}, {signing_key.public or signing_key.algorithm}"]
    if key.senders:
        findings.append(f"signs mail from {', '.join(key.senders)}")
    warnings: list[str] = []
    public = signing_key.public
    publish = ""
    if public is not None:
        record = zone_lines(key.record_name, record_of(public))
        publish = f": publish {' '.join(record.split())}"
        if public.algorithm == "rsa-sha256" and public.bits < 2048:
            warnings.append(f"the key has {public.bits} bits: make one with 2048 (RFC 8301)")
    try:
        records = (resolver or look_up)(key.record_name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.args[0]}{publish}") from error
    except OSError as error:
        raise SMTPConnectionError(f"{error}{publish}") from error
    comparison = _tried(key, records) if public is None else compared(public, records)
    if comparison.error:
        raise ConfigurationError(f"{key.record_name}: {comparison.error}{publish}")
    findings.append("the published key matches")
    return findings, list(dict.fromkeys([*warnings, *comparison.warnings]))


def _tried(key: DKIM, records: Sequence[str]) -> Comparison:
    """What is wrong with the record, if only a callable can sign: whether it verifies that."""
    published, comparison = published_key(records)
    if published is None:
        return comparison
    digest = hashlib.sha256(b"mailbackends doctor").digest()
    try:
        signed = key.signing_key.sign(digest)
        signature = checked_signature(signed, key.signing_key.algorithm, key.record_name)
    except Exception as error:
        text = (
            str(error) if isinstance(error, SigningError) else f"it raised {type(error).__name__}"
        )
        return Comparison(f"sign does not work: {text}")
    if published.algorithm != key.signing_key.algorithm or not verifies(
        published, digest, signature
    ):
        return Comparison("the published key does not verify a signature by sign")
    return comparison
