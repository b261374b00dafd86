"""The name of this host, for EHLO."""

from __future__ import annotations

import contextlib
import re
import socket

__all__ = ["address_literal", "own_name"]

# RFC 5321 section 4.1.2: servers refuse EHLO with "_" in the name, or a hyphen at its edge. The
# last label is not a number: the resolver may give an address for want of a name.
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}")


def own_name(sock: socket.socket | None) -> str:
    """Return this host's fully qualified domain name or, if it has none, an address literal.

    The literal is that of the host name's IPv4 address, or else that of `address_literal`
    (RFC 5321 sections 4.1.1.1 and 4.1.3). May wait for the resolver.
    """
    name = socket.getfqdn()
    if _NAME.fullmatch(name):
        return name
    with contextlib.suppress(OSError):
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    return address_literal(sock)


def address_literal(sock: socket.socket | None) -> str:
    """Return the local address of ``sock``, or else of the loopback, as EHLO has it."""
    if sock is not None and sock.family == socket.AF_INET6:
        return f"[IPv6:{sock.getsockname()[0].partition('%')[0]}]"
    if sock is not None and sock.family == socket.AF_INET:
        return f"[{sock.getsockname()[0]}]"
    return "[127.0.0.1]"
