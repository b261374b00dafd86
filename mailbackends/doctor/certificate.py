"""What the certificate of a server shows."""

from __future__ import annotations

import ssl
import time
from typing import Any

from mailbackends.transport.tls import verified_chain

__all__ = ["certificate_of"]

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
