"""`SMTP_SSL`: like `SMTP`, with TLS from the first byte."""

from __future__ import annotations

import socket
import ssl

from mailbackends.client.channel import DEFAULT_TIMEOUT, SourceAddress
from mailbackends.client.smtp import SMTP, under_tls

__all__ = ["SMTP_SSL", "SMTP_SSL_PORT"]

SMTP_SSL_PORT = 465


class SMTP_SSL(SMTP):
    """A connection to an SMTP server with TLS from the first byte (RFC 8314).

    The default port is 465. ``context`` is as in `SMTP.starttls`; the rest is as in `SMTP`.

    Raises:
        SMTPTLSError: the TLS handshake failed.
        SMTPCertificateError: the certificate could not be verified.
        SMTPTimeoutError: the handshake took too long.
    """

    default_port = SMTP_SSL_PORT

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: SourceAddress | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.context = context or ssl.create_default_context()
        super().__init__(host, port, local_hostname, timeout, source_address)

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        if self.debuglevel > 0:
            self._print_debug("connect:", (host, port))
        return under_tls(self.context, super()._get_socket(host, port, timeout), self._host)
