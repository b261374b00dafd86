"""Connecting to any address of a server (RFC 8305), or to a Unix socket; and this host's name."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

from mailbackends.errors import SMTPTimeoutError
from mailbackends.transport.waiting import BLOCKING, Deadline, Waiter

__all__ = ["address_literal", "dial", "dial_unix", "own_name"]

Address: TypeAlias = tuple[socket.AddressFamily, Any]

# RFC 8305 section 8 recommends 250 ms before the next address is tried beside the first.
_NEXT_ATTEMPT = 0.25
# How long to wait before a Unix socket with a full queue is tried again, in seconds.
_FULL_QUEUE = 0.02


async def dial(
    host: str,
    port: int,
    deadline: Deadline,
    *,
    source_address: tuple[str, int] | None = None,
    waiter: Waiter = BLOCKING,
) -> socket.socket:
    """A TCP socket connected to the first address of ``host`` that answers; non-blocking.

    Each address gets a quarter of a second before the next is tried beside it, so that one
    that swallows packets costs no whole timeout.

    Raises:
        OSError: the name does not resolve (`socket.gaierror`), or no address answered:
            the error of the first one.
        SMTPTimeoutError: no address answered in time.
    """
    addresses = _interleaved(await _resolved(host, port, deadline, waiter))
    attempts: dict[socket.socket, None] = {}
    first_error: OSError | None = None
    try:
        for address in itertools.chain(addresses, [None]):
            if (left := deadline.remaining()) is not None and left <= 0:
                break
            if address is not None:
                try:
                    attempts[_start(address, source_address)] = None
                except OSError as error:
                    first_error = first_error or error
            wait = Deadline.after(
                _NEXT_ATTEMPT if address is not None else None, deadline.phase, latest=deadline.at
            )
            while attempts:
                seconds = wait.remaining()
                ready = await waiter.connected(
                    attempts, None if seconds is None else max(0.0, seconds)
                )
                for sock in ready:
                    del attempts[sock]
                    if not (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                        return sock
                    sock.close()
                    first_error = first_error or OSError(code, os.strerror(code))
                if not ready:
                    break
        else:
            if not attempts:
                raise first_error or OSError(errno.EHOSTUNREACH, f"{host} has no address")
        raise SMTPTimeoutError(f"{deadline.exceeded()} to {host}:{port}")
    finally:
        for sock in attempts:
            sock.close()


async def dial_unix(path: str, deadline: Deadline, waiter: Waiter = BLOCKING) -> socket.socket:
    """A connected Unix socket; non-blocking.

    Raises:
        OSError: no server listens there.
        SMTPTimeoutError: the server did not take the connection in time.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "this system has no Unix sockets: use host and port")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            if (left := deadline.remaining()) is not None and left <= 0:
                raise SMTPTimeoutError(f"{deadline.exceeded()} to {path}")
            try:
                sock.connect(path)
            except BlockingIOError:
                # The server's queue is full, and nothing reports when it no longer is.
                await waiter.sleep(_FULL_QUEUE)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


async def _resolved(host: str, port: int, deadline: Deadline, waiter: Waiter) -> list[Address]:
    """The addresses of a name within the deadline, or the error that the resolver gave.

    The system's resolver takes no time limit, and waits half a minute for a name server
    that is silent: it is asked in a thread, which is abandoned where it takes too long.
    """
    with contextlib.suppress(OSError, UnicodeError):
        # An address needs no resolver and no thread.
        return _lookup(host, port, socket.AI_NUMERICHOST)
    seconds = deadline.remaining()
    try:
        return await waiter.call(
            lambda: _lookup(host, port), None if seconds is None else max(0.0, seconds)
        )
    except TimeoutError:
        raise SMTPTimeoutError(f"{deadline.exceeded()}: looking up {host}") from None
    except RuntimeError as error:
        # Without a thread the lookup could take longer than the deadline.
        raise OSError(errno.EAGAIN, f"no thread can be started for the lookup: {error}") from error
    except socket.gaierror:
        # With no descriptor left the resolver reports that the name does not exist.
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
        raise
    except ValueError as error:  # a label that is empty or too long, a NUL
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error


def _lookup(host: str, port: int, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    return [(family, address) for family, _, _, _, address in found]


def _start(address: Address, source_address: tuple[str, int] | None) -> socket.socket:
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source_address:
            sock.bind(source_address)
        code = sock.connect_ex(address[1])
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """First one of each family in turn, so that a broken IPv6 route holds nothing up."""
    families = list(dict.fromkeys(family for family, _ in addresses))
    columns = [[a for a in addresses if a[0] == family] for family in families]
    return [a for row in itertools.zip_longest(*columns) for a in row if a is not None]


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
