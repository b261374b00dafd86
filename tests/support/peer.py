"""A server's end of one raw connection, and a listener with a thread for each of them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable

__all__ = ["ClientGone", "Listener", "Peer"]

# A thread must not wait forever for a client that a failing test left open.
PATIENCE = 30.0


class ClientGone(Exception):
    """The client closed the connection, or the server is being stopped."""


class Peer:
    """One connection, blocking. All bytes are recorded, without TLS."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.sock = sock
        self.index = index
        """The number of this connection, from 0."""
        self.buffer = bytearray()
        """The bytes received and not yet read."""
        self.received = bytearray()
        self.sent = bytearray()
        self.is_tls = False
        self._last_words = b""
        self._wake, self._waker = socket.socketpair()
        sock.settimeout(PATIENCE)

    def fill(self) -> bytes:
        """Wait for more bytes. Raises `ClientGone` at the end of them."""
        try:
            if not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                self._wait()
            data = self.sock.recv(262_144)
        except OSError as error:
            raise ClientGone from error
        if not data:
            raise ClientGone
        self.buffer += data
        self.received += data
        return data

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self.sock, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        ready = {fd for fd, _ in waiting.poll(PATIENCE * 1000)}
        if self._wake.fileno() in ready:
            raise ClientGone

    def read_line(self) -> bytes:
        """The next line without its CRLF."""
        return self.read_until(b"\r\n")

    def read_until(self, end: bytes) -> bytes:
        """The bytes before ``end``, which is dropped."""
        searched = 0
        while (found := self.buffer.find(end, searched)) < 0:
            searched = max(0, len(self.buffer) - len(end))
            self.fill()
        data = bytes(self.buffer[:found])
        del self.buffer[: found + len(end)]
        return data

    def read_exactly(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        while len(self.buffer) < count:
            self.fill()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_to_end(self) -> bytes:
        """All that the client sends until it closes."""
        with contextlib.suppress(ClientGone):
            while True:
                self.fill()
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.sent += data
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise ClientGone from error

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the TLS handshake; bytes that the client sent in clear before it are dropped."""
        self.buffer.clear()
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except OSError as error:
            raise ClientGone from error
        self.is_tls = True

    def close(self) -> None:
        """Close with FIN, without TLS's close_notify."""
        self.sock.close()

    def reset(self) -> None:
        """Close with RST: the client's kernel discards what was not read."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def interrupt(self, last_words: bytes = b"") -> None:
        """End the conversation from another thread; the connection's thread sends the last
        words.
        """
        # Not by a write from here: TLS allows one thread at a time. Nor by an end of reading:
        # OpenSSL would then not write.
        self._last_words = last_words
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
            if not last_words:  # it may be writing to a client that does not read
                # Not the method of SSLSocket, which forgets its TLS state.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def finish(self) -> None:
        """Close, at the end of the conversation's thread."""
        words, self._last_words = self._last_words, b""
        if words:
            with contextlib.suppress(ClientGone):
                self.send(words)
        for sock in (self.sock, self._wake, self._waker):
            sock.close()


class Listener:
    """Listens on 127.0.0.1, or on a Unix socket, and calls ``serve`` in a thread per client."""

    host = "127.0.0.1"

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.port = 0
        self.peers: list[Peer] = []
        """The connections, in order."""
        self.errors: list[BaseException] = []
        """Exceptions that ``serve`` raised, except `ClientGone`."""
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def accepted(self, peer: Peer) -> None:
        """Called in the listening thread for each connection, in order, before `serve`."""

    def serve(self, peer: Peer) -> None:
        """Serve one client. The connection is closed afterwards."""
        raise NotImplementedError

    def start(self) -> None:
        """Listen; ``port`` stays the same when started again."""
        family = socket.AF_INET if self.path is None else socket.AF_UNIX
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if self.path is None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((self.host, self.port))
            self.port = self._listener.getsockname()[1]
        else:
            self._listener.bind(self.path)
        self._listener.listen(128)
        self._stopping = False
        self._acceptor = self._start_thread(self._accept)

    def stop(self) -> None:
        """Close all connections and wait for their threads."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._connect().close()  # wakes accept()
        self._acceptor.join()
        for peer in self.peers:
            peer.interrupt()
        while self._threads:
            self._threads.pop().join()
        if self.path is not None:
            os.unlink(self.path)

    def _connect(self) -> socket.socket:
        if self.path is None:
            return socket.create_connection((self.host, self.port))
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self.path)
        return client

    def _start_thread(self, target: Callable[..., None], *args: Peer) -> threading.Thread:
        name = f"{type(self).__name__} {len(self.peers)}"
        thread = threading.Thread(target=target, args=args, daemon=True, name=name)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with self._listener:
            while True:
                sock, _ = self._listener.accept()
                if self._stopping:
                    sock.close()
                    return
                if self.path is None:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer(sock, len(self.peers))
                self.peers.append(peer)
                self.accepted(peer)
                self._start_thread(self._serve, peer)

    def _serve(self, peer: Peer) -> None:
        try:
            self.serve(peer)
        except ClientGone:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            peer.finish()
