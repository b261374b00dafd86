"""A throw-away certificate authority and certificates, made once per process."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

__all__ = ["cafile", "server_context", "untrusted_cafile"]

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@cache
def _directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="mailbackends-certs-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=f"mailbackends tests ({name})")


@cache
def _cafile(name: str) -> str:
    path = _directory() / f"{name}.pem"
    _authority(name).cert_pem.write_to_path(path)
    return str(path)


def cafile() -> str:
    """The file with the authority that signed `server_context`'s certificates."""
    return _cafile("trusted")


def untrusted_cafile() -> str:
    """The file with an authority that has signed no certificate."""
    return _cafile("untrusted")


@cache
def server_context(*names: str, expired: bool = False) -> ssl.SSLContext:
    """A server's TLS context with a certificate for ``names``, by default for loopback.

    ``expired``: the certificate expired yesterday.
    """
    now = datetime.now(UTC)
    start, end = (now - timedelta(days=9), now + timedelta(days=1))
    certificate = _authority("trusted").issue_cert(
        *(names or LOCAL_NAMES),
        not_before=start,
        not_after=now - timedelta(days=1) if expired else end,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
