"""A look at whether there is anything to read, by one system call."""

from __future__ import annotations

import select
import socket
import ssl
from types import BuiltinFunctionType
from typing import Any

__all__ = ["poll_of"]


def poll_of(sock: socket.socket) -> Any:
    """A function of a timeout that tells whether there is anything to read from ``sock``.

    None where that cannot be had: on Windows; with gevent, whose own turns to the other
    greenlets; and where a class of somebody else's may keep bytes in a place of its own.
    """
    poll = getattr(select, "poll", None)
    is_plain = type(sock) in (socket.socket, ssl.SSLSocket)
    if not is_plain or not isinstance(poll, BuiltinFunctionType) or sock.fileno() < 0:
        return None
    waiting: Any = poll()
    waiting.register(sock, select.POLLIN)
    return waiting.poll
