"""The server that all clients send to: a separate process, written for speed.

It stores each message as it arrives, and examines it only on request, after the measured time.
Requests are lines of JSON: open a port, begin, or check what has arrived.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.checking import Arrived, check
from bench.lines import serve

__all__ = ["LOGIN"]

LOGIN = ("shop", "correct horse")

_RECEIVE = 256 * 1024
_SIZE = 64 * 1024 * 1024
_KEYWORDS = ["PIPELINING", f"SIZE {_SIZE}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
_OK = b"250 2.0.0 Ok\r\n"


@dataclass(frozen=True, slots=True)
class Face:
    """What the sink announces on a port."""

    security: str
    login: bool
    chunking: bool


class Sink:
    """All ports, and the messages that arrived."""

    def __init__(self, certificate: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.arrived: list[Arrived] = []
        self.connections = 0
        self._ports: dict[Any, int] = {}

    def handle(self, question: dict[str, Any]) -> Mapping[str, Any]:
        """Handle one request."""
        match question.pop("do"):
            case "listen":
                return {"port": self._port(Face(**question), _Conversation)}
            case "listen for probes":
                return {"port": self._port("probe", _Probe)}
            case "begin":
                self.arrived, self.connections = [], 0
                return {}
            case "check":
                arrived = self.arrived
                result = check(arrived, question["sample"], question["count"], question["warm"])
                return {**result, "connections": self.connections}
            case unknown:
                raise ValueError(unknown)

    def _port(self, face: Any, kind: Any) -> int:
        if face not in self._ports:
            listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self._ports[face] = listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(listener, face, kind), daemon=True).start()
        return self._ports[face]

    def _accept(self, listener: socket.socket, face: Any, kind: Any) -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=self._run, args=(kind(self, sock, face),), daemon=True).start()

    def _run(self, conversation: Any) -> None:
        # A client may close the connection: its messages are checked later.
        with contextlib.suppress(OSError):
            conversation.run()
        with contextlib.suppress(OSError):
            conversation.sock.close()


class _Conversation:
    """One connection. The replies to everything in one read are sent in one write."""

    def __init__(self, sink: Sink, sock: socket.socket, face: Face) -> None:
        self.sink, self.sock, self.face = sink, sock, face
        self.is_tls = self.is_in = False
        self.replies: list[bytes] = []
        self.sender, self.recipients = b"", list[bytes]()
        self.chunks: list[bytes | bytearray] = []

    def run(self) -> None:
        """Serve until the client closes the connection."""
        if self.face.security == "tls":
            self._start_tls()
        self.sock.sendall(b"220 sink.example ESMTP\r\n")
        buffer = b""
        while data := self.sock.recv(_RECEIVE):
            buffer = self._act(buffer + data if buffer else data)
            if self.replies:
                self._flush()

    def _flush(self) -> None:
        replies, self.replies = self.replies, []
        self.sock.sendall(b"".join(replies))

    def _act(self, data: bytes) -> bytes:
        """Handle each complete line. Returns the rest."""
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            line, position = data[position:end], end + 2
            verb = line[:4].upper()
            if verb == b"RCPT":
                self.recipients.append(line)
                self.replies.append(_OK)
            elif verb == b"MAIL":
                self.sender = line
                needs_login = self.face.login and not self.is_in
                self.replies.append(b"530 5.7.0 Log in first\r\n" if needs_login else _OK)
            elif verb == b"BDAT" and self.face.chunking:
                position = self._chunk(line, data, position)
            elif verb == b"DATA":
                self.replies.append(b"354 Go on\r\n")
                self._flush()
                self._content(data[position:])
                return b""
            else:
                self._rare(verb, line)
                if self.sock.fileno() < 0:
                    return b""
        return data[position:]

    def _chunk(self, line: bytes, data: bytes, position: int) -> int:
        """The position of the next line, which may follow the chunk in the same read."""
        size, _, last = line[5:].partition(b" ")
        missing = int(size)
        content: bytes | bytearray = data[position : position + missing]
        if len(content) < missing:
            content = self._rest_of_chunk(content, missing)
        self.chunks.append(content)
        if last:
            self._arrived(self.chunks, dot_stuffed=False)
        else:
            self.replies.append(_OK)
        return position + missing

    def _rest_of_chunk(self, begun: bytes | bytearray, size: int) -> bytearray:
        content = bytearray(size)
        content[: len(begun)] = begun
        view, filled = memoryview(content), len(begun)
        while filled < size:
            received = self.sock.recv_into(view[filled:])
            if not received:
                raise ConnectionError
            filled += received
        return content

    def _content(self, begun: bytes) -> None:
        # Nothing may follow the dot (RFC 2920 section 3.1), so it ends a read.
        chunks = [begun]
        tail = b"\r\n" + begun[-5:]
        while not tail.endswith(b"\r\n.\r\n"):
            data = self.sock.recv(_RECEIVE)
            if not data:
                raise ConnectionError
            chunks.append(data)
            tail = tail[-5:] + data if len(data) < 5 else data[-5:]
        self._arrived(chunks, dot_stuffed=True)

    def _arrived(self, chunks: list[Any], *, dot_stuffed: bool) -> None:
        message = Arrived(self.sender, self.recipients, chunks, dot_stuffed)
        self.recipients, self.chunks = [], []
        self.sink.arrived.append(message)
        self.replies.append(b"250 2.0.0 Taken\r\n")

    def _rare(self, verb: bytes, line: bytes) -> None:
        if verb == b"EHLO":
            self.replies.append(self._keywords())
        elif verb == b"HELO":
            self.replies.append(b"250 sink.example\r\n")
        elif verb == b"STAR" and self.face.security == "starttls" and not self.is_tls:
            self.replies.append(b"220 2.0.0 Go ahead\r\n")
            self._flush()
            self._start_tls()
        elif verb == b"AUTH" and self.face.login:
            given = base64.b64decode(line.partition(b" PLAIN ")[2]).decode().split("\0")[1:]
            self.is_in = tuple(given) == LOGIN
            self.replies.append(b"235 2.7.0 In\r\n" if self.is_in else b"535 5.7.8 No\r\n")
        elif verb in (b"RSET", b"NOOP"):
            self.recipients, self.chunks = [], []
            self.replies.append(_OK)
        elif verb == b"QUIT":
            self.replies.append(b"221 2.0.0 Bye\r\n")
            self._flush()
            self.sock.close()
        else:
            self.replies.append(b"500 5.5.2 What?\r\n")

    def _keywords(self) -> bytes:
        words = ["sink.example", *_KEYWORDS]
        if self.face.chunking:
            words.append("CHUNKING")
        if self.face.security == "starttls" and not self.is_tls:
            words.append("STARTTLS")
        elif self.face.login:
            words.append("AUTH PLAIN")
        return "".join(f"250{'-' if w is not words[-1] else ' '}{w}\r\n" for w in words).encode()

    def _start_tls(self) -> None:
        self.sock = self.sink.context.wrap_socket(self.sock, server_side=True)
        self.is_tls = True


class _Probe:
    """Echoes each byte; after ``!`` and a length in eight bytes, reads that many, sends one."""

    def __init__(self, sink: Sink, sock: socket.socket, face: Any) -> None:
        self.sock = sock

    def run(self) -> None:
        while (data := self.sock.recv(1)) and data != b"!":
            self.sock.sendall(data)
        missing = int.from_bytes(self.sock.recv(8, socket.MSG_WAITALL))
        buffer = bytearray(_RECEIVE)
        while missing and (received := self.sock.recv_into(buffer, min(missing, _RECEIVE))):
            missing -= received
        self.sock.sendall(b"!")


if __name__ == "__main__":
    serve(Sink(sys.argv[1]).handle)
