"""The name of this host, for EHLO."""

from __future__ import annotations

import contextlib
import re
import socket

__all__ = ["own_name"]

# A resolver's answer goes into a command. What a command cannot contain is not used.
_NAME = re.compile(r"[!-~]+\.[!-~]*")


def own_name(sock: socket.socket | None) -> str:
    """Return this host's fully qualified domain name or, if it has none, an address literal.

    The literal is that of the host name's IPv4 address, or else of the local address of
    ``sock``, IPv6 included, or else of the loopback (RFC 5321 sections 4.1.1.1 and 4.1.3).
    """
    name = socket.getfqdn()
    if _NAME.fullmatch(name):
        return name
    with contextlib.suppress(OSError):
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    if sock is not None and sock.family == socket.AF_INET6:
        return f"[IPv6:{sock.getsockname()[0].partition('%')[0]}]"
    if sock is not None and sock.family == socket.AF_INET:
        return f"[{sock.getsockname()[0]}]"
    return "[127.0.0.1]"
