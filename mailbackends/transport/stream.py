"""A non-blocking socket, with or without TLS: every wait goes through a `Waiter`."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from types import BuiltinFunctionType
from typing import Any

from mailbackends.errors import SMTPTimeoutError
from mailbackends.protocol.gates import Buffer
from mailbackends.transport.tls import explained
from mailbackends.transport.waiting import BLOCKING, Deadline, Waiter

__all__ = ["Stream", "poll_of"]

# A read allocates all of it; the replies to fifty recipients take a few kilobytes.
_RECEIVE = 8 * 1024
# One TLS record holds 16 KiB: joining up to that costs less than the records it saves.
_TLS_WRITE = 64 * 1024
_TLS_MOST = 256 * 1024
# IOV_MAX is 1024 on Linux; a flight has a command for each recipient.
_MAX_BUFFERS = 512


class Stream:
    """Takes over a connected socket. Not thread-safe: one caller at a time may use it."""

    def __init__(self, sock: socket.socket, waiter: Waiter = BLOCKING) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Without it the second of two small writes waits for the ACK of the first. On some
            # systems it fails once the server has hung up; the next read reports that.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiter = waiter
        self._use(sock)
        # TLS may have to read before it can write, and the other way round.
        self._writing_waits_to_read = False
        self._reading_waits_to_write = False

    def _use(self, sock: socket.socket) -> None:
        self._sock = sock
        # What TLS has read already.
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else None
        # Windows has no sendmsg(), and TLS neither.
        self._sendmsg: Callable[[Sequence[Buffer]], int] | None = (
            getattr(sock, "sendmsg", None) if self._pending is None else None
        )
        # The poll object that looks for bytes, and the function that made it.
        self._poll: tuple[Any, Any] = (None, None)

    @property
    def sock(self) -> socket.socket:
        """The socket; an `ssl.SSLSocket` once TLS is on."""
        return self._sock

    def send_some(self, buffers: Sequence[Buffer]) -> int:
        """Hand over as many bytes as the operating system takes now: 0 where it takes none.

        Raises:
            OSError: the connection is broken.
        """
        self._writing_waits_to_read = False
        try:
            if self._sendmsg is None:
                return self._sock.send(_joined(buffers))
            if len(buffers) > _MAX_BUFFERS:
                buffers = buffers[:_MAX_BUFFERS]
            return self._sendmsg(buffers)
        except ssl.SSLWantReadError:
            self._writing_waits_to_read = True
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        return 0

    def receive_some(self) -> bytes | None:
        """The bytes that are there; empty at the end of the stream; None if none are there.

        Raises:
            OSError: the connection is broken.
        """
        self._reading_waits_to_write = False
        try:
            return self._sock.recv(_RECEIVE)
        except ssl.SSLWantWriteError:
            self._reading_waits_to_write = True
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        return None

    def wait(self, deadline: Deadline, *, for_writing: bool = False) -> Coroutine[Any, Any, None]:
        """Wait for bytes to read, or also for room to write.

        Raises:
            SMTPTimeoutError: neither in time.
        """
        # A socket that has room all the time would end the wait at once, for ever.
        for_writing = for_writing and not self._writing_waits_to_read
        for_writing = for_writing or self._reading_waits_to_write
        return self._wait(deadline, reading=True, writing=for_writing)

    async def start_tls(
        self,
        context: ssl.SSLContext,
        server_hostname: str,
        deadline: Deadline,
        *,
        after_starttls: bool = False,
    ) -> None:
        """Do the TLS handshake as the client.

        Raises:
            SMTPCertificateError, SMTPTLSError: with the reason and the fix.
            SMTPTimeoutError: it took too long.
        """
        try:
            # No certificate has names such as "[::1]" or one with a trailing dot.
            name = server_hostname.strip("[]").rstrip(".")
            # wrap_socket() encodes it too, but loses the socket where that fails.
            name.encode("idna")
            tls = context.wrap_socket(
                self._sock, server_hostname=name or None, do_handshake_on_connect=False
            )
            self._use(tls)
            while True:
                try:
                    return tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._wait(deadline, reading=True)
                except ssl.SSLWantWriteError:
                    await self._wait(deadline, writing=True)
        except SMTPTimeoutError:
            raise
        except (OSError, ValueError) as error:
            raise explained(error, server_hostname, after_starttls=after_starttls) from error

    def is_quiet(self) -> bool:
        """True if nothing came since the last reply: no byte, no end of stream, no error.

        Costs one system call, mostly, and no round trip. A byte that is there is consumed:
        nobody asked for it, and the connection is of no more use.
        """
        try:
            if self._pending is None or not self._pending():
                # With TLS, to look costs a third of an attempt to read.
                look = self._reading()
                if look is not None and not look(0):
                    return True
            # With TLS what came may be for TLS itself: a new session ticket, say.
            return self.receive_some() is None
        except OSError:
            return False

    def _reading(self) -> Any:
        """As `poll_of` the socket, which is asked once, unless poll() is replaced."""
        made_by = getattr(select, "poll", None)
        if self._poll[0] is not made_by:
            self._poll = made_by, poll_of(self._sock)
        return self._poll[1]

    def abort(self) -> None:
        """Close the descriptor. Not a byte goes out, not even TLS's close_notify."""
        self._poll = (None, None)
        self.waiter.forget(self._sock)
        with contextlib.suppress(OSError):
            self._sock.close()

    async def _wait(
        self, deadline: Deadline, *, reading: bool = False, writing: bool = False
    ) -> None:
        if self._pending is not None and self._pending():
            return
        seconds = deadline.remaining()
        if seconds is not None and seconds < 0.0:
            seconds = 0.0
        if not writing and self.waiter is BLOCKING and (look := self._reading()) is not None:
            # What `ready` would do, with the same poll object each time.
            is_ready = look(None if seconds is None else seconds * 1000)
        else:
            is_ready = await self.waiter.ready(
                self._sock, reading=reading, writing=writing, seconds=seconds
            )
        if not is_ready:
            raise SMTPTimeoutError(deadline.exceeded())


def poll_of(sock: socket.socket) -> Any:
    """A function of a timeout that returns whether there is anything to read from ``sock``.

    None if that cannot be had: on Windows; with gevent, whose own poll() switches to other
    greenlets; and for another class of sockets, which may keep bytes elsewhere.
    """
    poll = getattr(select, "poll", None)
    is_plain = type(sock) in (socket.socket, ssl.SSLSocket)
    if not is_plain or not isinstance(poll, BuiltinFunctionType) or sock.fileno() < 0:
        return None
    waiting: Any = poll()
    waiting.register(sock, select.POLLIN)
    return waiting.poll


def _joined(buffers: Sequence[Buffer]) -> Buffer:
    if len(buffers) == 1 or len(buffers[0]) >= _TLS_WRITE:
        # OpenSSL would encrypt as much as the socket takes: several megabytes, which is long for
        # an event loop. After it took nothing, the same bytes are offered again, as it requires.
        return memoryview(buffers[0])[:_TLS_MOST]
    taken: list[Buffer] = []
    size = 0
    for buffer in buffers:
        # Of a large one only the beginning is copied.
        taken.append(buffer if len(buffer) <= _TLS_WRITE else memoryview(buffer)[:_TLS_WRITE])
        size += len(taken[-1])
        if size >= _TLS_WRITE:
            break
    # A memoryview shows no bytes where an error report prints the variables of a frame.
    return memoryview(b"".join(taken))
