"""A certificate for loopback for one run."""

from __future__ import annotations

from pathlib import Path

import trustme

__all__ = ["write"]


def write(directory: Path) -> tuple[str, str]:
    """Create an authority and a certificate. Returns the paths of both, the latter with its key."""
    authority = trustme.CA(organization_name="mailbackends benchmarks")
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    cafile, server = directory / "authority.pem", directory / "server.pem"
    authority.cert_pem.write_to_path(cafile)
    certificate.private_key_and_cert_chain_pem.write_to_path(server)
    return str(cafile), str(server)
