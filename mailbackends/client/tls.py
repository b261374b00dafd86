"""TLS on a connected socket, and its faults as the documented exceptions."""

from __future__ import annotations

import contextlib
import socket
import ssl

from mailbackends.errors import SMTPCertificateError, SMTPTLSError
from mailbackends.transport.tls import explained

__all__ = ["wrap"]


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
        failure = _failure(error, host)
        # What a program written for `ssl` looks at: reason, library, verify_code, ...
        vars(failure).update(vars(error))
        raise failure from error
    except BaseException:
        _close(sock)
        raise


def _failure(error: ssl.SSLError, host: str) -> SMTPTLSError:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return explained(error, host)
    return SMTPCertificateError(
        f"the certificate of {host} cannot be verified: {error.verify_message}; connect to the "
        "name that it was issued for, or give context=ssl.create_default_context(cafile=...) "
        "with the authority that signed it"
    )


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()
