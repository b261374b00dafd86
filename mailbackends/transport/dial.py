"""A connected socket: all addresses of a name, side by side (RFC 8305), or a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from mailbackends.errors import SMTPTimeoutError
from mailbackends.transport.deadline import Deadline

__all__ = ["dial", "dial_unix"]

Address: TypeAlias = tuple[socket.AddressFamily, Any]

# RFC 8305 section 8 recommends 250 ms before the next address is tried beside the first.
_NEXT_ATTEMPT = 0.25
# How long to wait before a Unix socket with a full queue is tried again, in seconds.
_FULL_QUEUE = 0.02


def dial(
    host: str, port: int, deadline: Deadline, *, source_address: tuple[str, int] | None = None
) -> socket.socket:
    """A TCP socket connected to the first address of ``host`` that answers; non-blocking.

    Each address gets a quarter of a second before the next is tried beside it, so that one
    that swallows packets costs no whole timeout.

    Raises:
        OSError: the name does not resolve (`socket.gaierror`), or no address answered:
            the error of the first one.
        SMTPTimeoutError: no address answered in time.
    """
    addresses = _interleaved(_resolved(host, port, deadline))
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
                ready = _ready(attempts, wait)
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


def dial_unix(path: str, deadline: Deadline) -> socket.socket:
    """A connected Unix socket; non-blocking.

    Raises:
        OSError: nobody listens there.
        SMTPTimeoutError: the server did not take the connection in time.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            if (left := deadline.remaining()) is not None and left <= 0:
                raise SMTPTimeoutError(f"{deadline.exceeded()} to {path}")
            try:
                sock.connect(path)
            except BlockingIOError:
                # The server's queue is full, and nothing tells when it no longer is.
                time.sleep(_FULL_QUEUE)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _resolved(host: str, port: int, deadline: Deadline) -> list[Address]:
    """The addresses of a name, or the error that the resolver gave, within the deadline.

    The system's resolver takes no time limit, and waits half a minute for a name server
    that is silent: it is asked in a thread, which is left alone where it takes too long.
    """
    with contextlib.suppress(OSError, UnicodeError):
        # An address is its own answer, and costs no thread.
        return _lookup(host, port, socket.AI_NUMERICHOST)
    answer: list[list[Address] | OSError] = []
    done = threading.Event()

    def ask() -> None:
        try:
            answer.append(_lookup(host, port))
        except OSError as error:
            answer.append(error)
        except ValueError as error:  # a label that is empty or too long, a NUL
            answer.append(socket.gaierror(socket.EAI_NONAME, str(error)))
        finally:
            done.set()

    threading.Thread(target=ask, name="mailbackends-resolver", daemon=True).start()
    seconds = deadline.remaining()
    if not done.wait(None if seconds is None else max(0.0, seconds)):
        raise SMTPTimeoutError(f"{deadline.exceeded()}: looking up {host}")
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


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


def _ready(attempts: Iterable[socket.socket], deadline: Deadline) -> list[socket.socket]:
    """Those that are connected or have failed; none where the time was up first."""
    seconds = deadline.remaining()
    seconds = None if seconds is None else max(0.0, seconds)
    if not hasattr(select, "poll"):
        everyone = list(attempts)
        _, writable, failed = select.select([], everyone, everyone, seconds)
        return list({*writable, *failed})
    poll = select.poll()
    by_descriptor = {sock.fileno(): sock for sock in attempts}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLOUT)
    return [by_descriptor[fd] for fd, _ in poll.poll(None if seconds is None else seconds * 1000)]


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """First one of each family in turn, so that a broken IPv6 route holds nothing up."""
    families = list(dict.fromkeys(family for family, _ in addresses))
    columns = [[a for a in addresses if a[0] == family] for family in families]
    return [a for row in itertools.zip_longest(*columns) for a in row if a is not None]
