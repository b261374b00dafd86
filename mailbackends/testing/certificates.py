"""A temporary certificate authority, and a certificate for loopback. Needs trustme."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
from functools import cache
from pathlib import Path

try:
    import trustme
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        'mailbackends.testing needs trustme for TLS: python -m pip install "mailbackends[testing]"',
        name="trustme",
    ) from _error

__all__ = ["cafile", "server_context"]


@cache
def _authority() -> trustme.CA:
    return trustme.CA(organization_name="mailbackends testing")


@cache
def cafile() -> str:
    """The file with the authority, for clients to trust; deleted when Python ends."""
    folder = Path(tempfile.mkdtemp(prefix="mailbackends-testing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "ca.pem"
    _authority().cert_pem.write_to_path(str(path))
    return str(path)


@cache
def server_context() -> ssl.SSLContext:
    """A server's context, with a certificate for localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context
