"""TLS on a connected socket, and its faults as the documented exceptions."""

from __future__ import annotations

import contextlib
import socket
import ssl

from mailbackends.errors import SMTPServerDisconnected, SMTPTimeoutError
from mailbackends.transport.tls import explained

__all__ = ["wrap"]

_TRUST = "in context=ssl.create_default_context(cafile=...)"


def wrap(context: ssl.SSLContext, sock: socket.socket, host: str) -> ssl.SSLSocket:
    """``sock`` under TLS, the handshake done; where that fails it is closed.

    ``host`` is the name that the certificate must have, where ``context`` checks names.

    Raises:
        SMTPCertificateError: the certificate could not be verified.
        SMTPTLSError: no TLS connection could be agreed on.
        SMTPTimeoutError: the handshake took too long.
        SMTPServerDisconnected: the connection broke.
    """
    try:
        # A name may end with a dot where it is looked up, but not in a certificate.
        return context.wrap_socket(sock, server_hostname=host.removesuffix(".") or None)
    except ssl.SSLError as error:
        _close(sock)
        raise explained(error, host, trust=_TRUST) from error
    except TimeoutError as error:
        _close(sock)
        raise SMTPTimeoutError(f"the TLS handshake did not end: {error}") from error
    except OSError as error:
        _close(sock)
        raise SMTPServerDisconnected(
            f"the connection broke in the TLS handshake: {error}"
        ) from error
    except BaseException:
        _close(sock)
        raise


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()
