"""A socket, with or without TLS, that never blocks by itself: every wait has its limit."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Sequence

from mailbackends.errors import SMTPTimeoutError
from mailbackends.protocol.session import Buffer
from mailbackends.transport.deadline import Deadline
from mailbackends.transport.poll import poll_of
from mailbackends.transport.tls import explained

__all__ = ["Stream"]

_RECEIVE = 64 * 1024
# One TLS record holds 16 KiB: joining up to that costs less than the records it saves.
_TLS_WRITE = 64 * 1024
# IOV_MAX is 1024 on Linux; a flight has a command for each recipient.
_MAX_BUFFERS = 512


class Stream:
    """Takes over a connected socket. Not thread-safe: one thread at a time may use it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Without it the second of two small writes waits for the first one's ACK. On
            # some systems it fails where the server has hung up already; reading tells that.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        # TLS may have to read before it can write, and the other way round.
        self._writing_waits_to_read = False
        self._reading_waits_to_write = False

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
            if isinstance(self._sock, ssl.SSLSocket):
                return self._sock.send(_joined(buffers))
            if len(buffers) > _MAX_BUFFERS:
                buffers = buffers[:_MAX_BUFFERS]
            return self._sock.sendmsg(buffers)
        except ssl.SSLWantReadError:
            self._writing_waits_to_read = True
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        return 0

    def receive_some(self) -> bytes | None:
        """The bytes that are there; empty at the end of the stream; None where none are there.

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

    def wait(self, deadline: Deadline, *, for_writing: bool = False) -> None:
        """Wait for bytes to read, or also for room to write.

        Raises:
            SMTPTimeoutError: neither in time.
        """
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return
        # A socket that has room all the time would end the wait at once, for ever.
        for_writing = for_writing and not self._writing_waits_to_read
        for_writing = for_writing or self._reading_waits_to_write
        self._poll(deadline, for_reading=True, for_writing=for_writing)

    def start_tls(
        self,
        context: ssl.SSLContext,
        server_hostname: str,
        deadline: Deadline,
        *,
        trust: str = "as ssl_cafile",
    ) -> None:
        """Do the TLS handshake as the client.

        ``trust`` says, in the words of the caller's interface, how to trust another authority.

        Raises:
            SMTPCertificateError, SMTPTLSError: with the reason and the mend.
            SMTPTimeoutError: it took too long.
        """
        try:
            # "[::1]" and a trailing dot are no names of a certificate.
            name = server_hostname.strip("[]").rstrip(".")
            # As wrap_socket() does it, which would lose the socket over a name that is none.
            name.encode("idna")
            self._sock = tls = context.wrap_socket(
                self._sock, server_hostname=name or None, do_handshake_on_connect=False
            )
            while True:
                try:
                    return tls.do_handshake()
                except ssl.SSLWantReadError:
                    self._poll(deadline, for_reading=True)
                except ssl.SSLWantWriteError:
                    self._poll(deadline, for_writing=True)
        except SMTPTimeoutError:
            raise
        except (OSError, ValueError) as error:
            raise explained(error, server_hostname, trust=trust) from error

    def is_quiet(self) -> bool:
        """True where nothing came since the last reply: no byte, no end of stream, no error.

        Costs one system call, mostly, and no round trip. A byte that is there is consumed:
        whatever it is, nobody asked for it, and the connection is of no more use.
        """
        try:
            if self._nothing_came():
                return True
            # With TLS what came may be for TLS itself: a new session ticket, say.
            return self.receive_some() is None
        except OSError:
            return False

    def _nothing_came(self) -> bool:
        """True where that is sure: with TLS, this costs a third of an attempt to read."""
        look = poll_of(self._sock)
        if look is None or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return False
        return not look(0)

    def abort(self) -> None:
        """Close the descriptor. Not a byte goes out, not even TLS's farewell."""
        with contextlib.suppress(OSError):
            self._sock.close()

    def _poll(
        self, deadline: Deadline, *, for_reading: bool = False, for_writing: bool = False
    ) -> None:
        seconds = deadline.remaining()
        # Looked up at each call, so that gevent's monkey patching is honoured.
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._sock, select.POLLIN * for_reading | select.POLLOUT * for_writing)
            ready = bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))
        else:
            reading = [self._sock] if for_reading else []
            writing = [self._sock] if for_writing else []
            ready = any(select.select(reading, writing, reading or writing, seconds))
        if not ready:
            raise SMTPTimeoutError(deadline.exceeded())


def _joined(buffers: Sequence[Buffer]) -> Buffer:
    if len(buffers) == 1 or len(buffers[0]) >= _TLS_WRITE:
        return buffers[0]
    taken, size = 0, 0
    while taken < len(buffers) and size < _TLS_WRITE:
        size += len(buffers[taken])
        taken += 1
    # A memoryview shows no bytes where an error report prints the variables of a frame.
    return memoryview(b"".join(buffers[:taken]))
