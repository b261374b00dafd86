"""The limit: prepared bytes replayed over a socket; replies are only counted."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from bench.clients.base import Client, Work
from bench.samples import SENDER, WARM_UP, Sample

__all__ = ["make"]


def make(manner: str) -> Client:
    """``one flight`` (PIPELINING, CHUNKING) or ``two flights`` (PIPELINING)."""
    return _Replay(manner)


class _Replay(Client):
    def prepare(self, work: Work) -> int:
        self.sock = socket.create_connection((work.host, work.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._say(b"", 1)
        self._say(b"EHLO client.example\r\n", 1)
        if work.security == "starttls":
            self._say(b"STARTTLS\r\n", 1)
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=work.host)
            self._say(b"EHLO client.example\r\n", 1)
        if work.login:
            secret = base64.b64encode("\0".join(("", *work.login)).encode())
            self._say(b"AUTH PLAIN " + secret + b"\r\n", 1)
        self.send(work, [self._flights(WARM_UP)])
        return 1

    def make(self, work: Work, count: int) -> Sequence[Any]:
        return [self._flights(work.sample)] * count

    def _flights(self, sample: Sample) -> list[tuple[bytes, int]]:
        """What to write, and the number of replies to it."""
        content = sample.wire_bytes()
        rcpts = b"".join(f"RCPT TO:<{r}>\r\n".encode() for r in sample.recipients)
        envelope = f"MAIL FROM:<{SENDER}> SIZE={len(content)}\r\n".encode() + rcpts
        replies = len(sample.recipients) + 2
        if self.manner == "one flight":
            flight = envelope + b"BDAT %d LAST\r\n" % len(content) + content
            return [(flight, replies)]
        stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        return [(envelope + b"DATA\r\n", replies), (stuffed, 1)]

    def send(self, work: Work, messages: Sequence[Any]) -> None:
        say = self._say
        for flights in messages:
            for flight, replies in flights:
                say(flight, replies)

    def finish(self) -> None:
        self._say(b"QUIT\r\n", 1)
        self.sock.close()

    def _say(self, flight: bytes, replies: int) -> None:
        self.sock.sendall(flight)
        while replies:
            data = self.sock.recv(65536)
            if not data or data[:1] > b"3":
                raise ConnectionError(data)
            # Each line ends a reply, except those with a hyphen, which only EHLO gets here.
            replies -= data.count(b"\r\n") - data.count(b"250-")
