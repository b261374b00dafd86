"""TLS on a connected socket, and its faults as the documented exceptions."""

from __future__ import annotations

import contextlib
import socket
import ssl

from mailbackends.transport.tls import explained

__all__ = ["wrap"]

_TRUST = "in context=ssl.create_default_context(cafile=...)"


def wrap(context: ssl.SSLContext, sock: socket.socket, host: str) -> ssl.SSLSocket:
    """``sock`` under TLS, the handshake done; where that fails it is closed.

    ``host`` is the name that the certificate must have, where ``context`` checks names.

    Raises:
        SMTPCertificateError: the certificate could not be verified.
        SMTPTLSError: no TLS connection could be agreed on.
        OSError: the connection broke; `TimeoutError` where the handshake took too long.
    """
    try:
        # A name may end with a dot where it is looked up, but not in a certificate.
        return context.wrap_socket(sock, server_hostname=host.removesuffix(".") or None)
    except ssl.SSLError as error:
        _close(sock)
        raise explained(error, host, trust=_TRUST) from error
    except BaseException:
        _close(sock)
        raise


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()
