"""Certificates as files, for servers that are other programs: good ones, and each kind of bad."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

__all__ = ["KINDS", "authority", "write"]

KINDS = ("good", "expired", "self-signed", "wrong name", "wrong CA")


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=f"mailbackends interop ({name})")


def authority(folder: Path) -> str:
    """The file of the CA that signed the good one."""
    path = folder / "ca.pem"
    _authority("trusted").cert_pem.write_to_path(path)
    return str(path)


def write(folder: Path, kind: str = "good") -> tuple[Path, Path]:
    """A certificate chain and its key in ``folder``, for loopback unless ``kind`` is a bad one."""
    cert, key = folder / f"{kind}.crt".replace(" ", "-"), folder / f"{kind}.key".replace(" ", "-")
    if kind == "self-signed":
        subprocess.run(  # noqa: S603
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",  # noqa: S607
             "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(key), "-out", str(cert)],
            check=True, capture_output=True,
        )  # fmt: skip
        return cert, key
    now = datetime.now(UTC)
    made = _authority("unknown" if kind == "wrong CA" else "trusted").issue_cert(
        *(("elsewhere.test",) if kind == "wrong name" else ("localhost", "127.0.0.1")),
        not_before=now - timedelta(days=9),
        not_after=now - timedelta(days=1) if kind == "expired" else now + timedelta(days=2),
    )
    made.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    return cert, key
